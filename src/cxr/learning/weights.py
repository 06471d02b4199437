"""Weights from files: a run's own, as they are.

Files are read as tensors alone, never as code.
"""

import pickle
from pathlib import Path

import torch
from torch import nn

from cxr.errors import RunError

_NET = "net."  # what the net is called in a Classifier


def restore(net: nn.Module, checkpoint: Path) -> None:
    """Put the weights of a run's checkpoint into the net it was made with, all of them.

    Raises:
        RunError: It is missing, torn, of another net, or holds more than tensors.
    """
    if not checkpoint.exists():
        raise RunError(f"{checkpoint}: expected a checkpoint, met none; the run did not finish")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        net.load_state_dict(
            {k.removeprefix(_NET): v for k, v in state.items() if k.startswith(_NET)}
        )
    except pickle.UnpicklingError as error:
        raise RunError(f"{checkpoint}: expected tensors alone, met other objects") from error
    except (RuntimeError, KeyError, EOFError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{checkpoint}: expected weights of the net in run.json: {reason}"
        ) from error
