"""What a fit keeps after each epoch, and how it comes to disk whole.

`best.ckpt` holds the weights that are kept: of the best epoch, or of the last one, and the running
mean where there is one. `last.ckpt` holds all that a resume needs, those weights too;
`previous.ckpt` is the one before, for the day when that is torn. Each is replaced in one step, so
whatever ends a process leaves the ones before.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from cxr.errors import RunError
from cxr.infra import checkpoints
from cxr.learning import predictions
from cxr.learning.averaging import Averaging

BEST = "best.ckpt"
Keep = Literal["best", "last"]


class Keeper(Checkpoint):
    """Writes the checkpoints of each epoch, after all that watches a metric has had its say.

    Attributes:
        score: Of the epoch that is kept, in the objective; None before the first.
        epoch: That epoch, from 1.
        epochs: Epochs run.
        finished: Whether none is to follow.
    """

    def __init__(self, folder: Path, objective: str, *, keep: Keep) -> None:
        """Say where and which.

        Args:
            folder: Of the run.
            objective: The metric that says which epoch is best; a loss is minimised.
            keep: `best`, or `last` whatever the metric says.
        """
        self.score: float | None = None
        self.epoch = self.epochs = 0
        self.finished = False
        self._folder, self._objective, self._keep = folder, objective, keep
        self._weights: dict[str, Tensor] | None = None

    def takes(self, score: float) -> bool:
        """Say whether an epoch with this score is kept in place of the one before."""
        if self._keep == "last" or self.score is None:
            return True
        return score < self.score if minimised(self._objective) else score > self.score

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is kept, then all that a resume needs."""
        score = float(trainer.callback_metrics[self._objective])
        self.epochs = trainer.current_epoch + 1
        self.finished = trainer.should_stop or self.epochs == trainer.max_epochs
        if self.takes(score):
            self.score, self.epoch = score, self.epochs
            self._weights = _weights(trainer, pl_module)
            if trainer.is_global_zero:
                self._write()
        trainer.save_checkpoint(self._folder / checkpoints.LAST)

    def _write(self) -> None:
        write(self._folder / BEST, {"epoch": self.epoch - 1, "state_dict": self._weights})

    def state_dict(self) -> dict[str, Any]:
        """Say what is kept, for a resume."""
        names = ("score", "epoch", "epochs", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know again what is kept."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the kept weights beside the last ones, unless they are the same."""
        checkpoint["kept"] = None if self.epoch == self.epochs else self._weights

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the kept weights from there: the file of their own may be of a later epoch."""
        self.load_state_dict(checkpoint["callbacks"][self.state_key])
        self._weights = _kept(checkpoint)
        if trainer.is_global_zero:
            self._write()


def minimised(objective: str) -> bool:
    """Say whether less of this metric is better."""
    return objective == "val/loss"


def finished(last: Path, folder: Path) -> Keeper | None:
    """Give what a finished fit kept, and write its weights where they are not; None goes on.

    Args:
        last: The checkpoint that would be resumed.
        folder: Of the run.

    Raises:
        RunError: It says nothing of what was kept.
    """
    checkpoint = torch.load(last, map_location="cpu", weights_only=True)
    keeper = Keeper(folder, "", keep="best")
    if keeper.state_key not in checkpoint.get("callbacks", {}):
        raise RunError(f"{last}: written by another version of cxr; train under a new name")
    keeper.load_state_dict(checkpoint["callbacks"][keeper.state_key])
    if not keeper.finished:
        return None
    if not _is_of_epoch(folder / BEST, keeper.epoch):
        write(folder / BEST, {"epoch": keeper.epoch - 1, "state_dict": _kept(checkpoint)})
    return keeper


def _kept(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = checkpoint["kept"] or checkpoint["state_dict"]
    return {name: value.detach().cpu().clone() for name, value in kept.items()}


def _is_of_epoch(path: Path, epoch: int) -> bool:
    if not checkpoints.is_whole_file(path):
        return False
    return bool(torch.load(path, map_location="cpu", weights_only=True)["epoch"] == epoch - 1)


def _weights(trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Tensor]:
    """Copy the weights of now to main memory: those of their mean where there is one."""
    watching: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set from outside
    means = [each.weights() for each in watching if isinstance(each, Averaging)]
    state = means[0] if means else module.state_dict()
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def write(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    written = io.BytesIO()
    torch.save(dict(checkpoint), written)
    path.parent.mkdir(parents=True, exist_ok=True)
    predictions.replace_bytes(path, written.getvalue())


class WholeFiles(TorchCheckpointIO):
    """Checkpoints are replaced in one step, and the one before stays.

    Lightning 2.6 writes into the folder for temporary files and moves from there, which copies
    where that is another disk: a machine taken away meanwhile would leave half a file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write `last.ckpt`, once what it held is `previous.ckpt`."""
        del storage_options
        last = Path(path)
        previous, part = last.with_name(checkpoints.PREVIOUS), last.with_name(".previous.part")
        if last.exists():
            part.unlink(missing_ok=True)
            try:
                os.link(last, part)  # so that there is a last one at every moment
                part.replace(previous)
            except OSError:  # not every disk has links
                last.replace(previous)
        write(last, checkpoint)
