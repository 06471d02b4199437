"""Which epochs a fit keeps, and how they come to disk: the best one's weights, the last one whole.

A checkpoint is replaced in one step at the end of an epoch, so whatever ends a process leaves
the one before.
"""

import io
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from cxr.learning import predictions

BEST, LAST = "best", "last"


def keepers(folder: Path, objective: str, mode: str, patience: int | None) -> list[Callback]:
    """Give what stops early, then what writes the best and the last epoch.

    Args:
        folder: Of the run.
        objective: The metric that says which epoch is best.
        mode: `min` or `max`.
        patience: Epochs without a better one before stopping; None never stops early.
    """
    stop = [EarlyStopping(objective, mode=mode, patience=patience)] if patience else []
    best = _checkpoint(folder, BEST, monitor=objective, mode=mode, save_weights_only=True)
    return [*stop, best, _checkpoint(folder, LAST)]


class _Keeper(ModelCheckpoint):
    """Keeps in mind what was best, wherever the run's folder lies when it is resumed.

    Lightning 2.6 forgets it in another folder, and takes the next epoch for the best.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state as one of the folder where the run lies now."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else ""

        paths = {k: here(state_dict[k]) for k in ("kth_best_model_path", "best_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved = {"dirpath": self.dirpath, "best_k_models": best, **paths}
        super().load_state_dict(state_dict | moved)


def _checkpoint(folder: Path, name: str, **kinds: Any) -> ModelCheckpoint:
    return _Keeper(
        folder,
        filename=name,
        save_top_k=1,
        enable_version_counter=False,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=True,
        **kinds,
    )


class WholeFiles(TorchCheckpointIO):
    """Checkpoints are replaced in one step.

    Lightning 2.6 writes into the folder for temporary files and moves from there, which copies
    where that is another disk: a machine taken away meanwhile would leave half a file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint whole or not at all."""
        del storage_options
        written = io.BytesIO()
        torch.save(checkpoint, written)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        predictions.replace_bytes(Path(path), written.getvalue())
