"""A torch module as an ONNX file, for runtimes without torch."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from cxr.errors import RunError
from cxr.learning import predictions


def onnx(
    path: Path, module: nn.Module, image_size: tuple[int, int], told: Mapping[str, str]
) -> Path:
    """Write `image` (B, 1, H, W) → `probabilities` (B, L), whole or not at all; B is free.

    Args:
        path: Of the file.
        module: On the CPU, in eval mode.
        image_size: (H, W)
        told: The file's metadata.

    Raises:
        RunError: ONNX cannot express this module.
    """
    import onnx as format_

    # torch 2.13 tells of torchvision's absence, and calls what it deprecates itself; the
    # others tell of every node they simplify
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        try:
            program = torch.onnx.export(
                module,
                (torch.zeros(2, 1, *image_size),),
                dynamo=True,
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().partition("\n")[0]
            raise RunError(f"{path}: this net cannot be written as ONNX: {reason}") from error
    if program is None:
        raise RunError(f"{path}: this net cannot be written as ONNX")
    proto = program.model_proto
    format_.helper.set_model_props(proto, dict(told))
    predictions.replace_bytes(path, proto.SerializeToString())
    return path
