"""One line on stderr per epoch, a bar while it lasts, and metrics to whoever tracks them."""

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cxr.errors import DataError
from cxr.infra import interrupts
from cxr.learning.keeping import Keeper

Log = Callable[[Mapping[str, float], int], None]


class Epochs(Callback):
    """Speaks in the first process, and counts time and images over all parts of a resumed fit."""

    def __init__(
        self, objective: str, images: int, keeper: Keeper, log_metrics: Log | None
    ) -> None:
        """Take what is told.

        Args:
            objective: The metric that each line shows.
            images: Of an epoch.
            keeper: Knows which epoch is kept.
            log_metrics: Called after each epoch with metrics and epoch, from 1.
        """
        self._objective, self._images, self._keeper = objective, images, keeper
        self._log_metrics = log_metrics
        self._seconds, self._seen, self._before = 0.0, 0, 0.0
        self._begun = time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Of the whole fit, with what came before a resume."""
        return self._before + time.monotonic() - self._begun

    @property
    def images_per_s(self) -> float:
        """Of training so far, without validation."""
        return self._seen / self._seconds if self._seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Say how long it took, for a resume."""
        return {"seconds": self._seconds, "seen": self._seen, "all_seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._seconds, self._seen = state_dict["seconds"], state_dict["seen"]
        self._before = state_dict["all_seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        self._speaks = trainer.is_global_zero
        # Lightning 2.6 waits for the batch to end, and among several processes broadcasts in its
        # handler, between whatever else is on its way
        signal.signal(signal.SIGTERM, interrupts.leave)
        # read in a log file, a bar is noise: there only the lines are written
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not (self._speaks and self._console.is_terminal),
        )
        steps = int(trainer.estimated_stepping_batches)
        self._task = self._bar.add_task("", total=steps, epoch="", completed=trainer.global_step)
        self._bar.start()
        self._first, self._start = trainer.current_epoch, time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the epoch."""
        self._bar.update(self._task, epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}")
        self._epoch_start = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Note the learning rate of a step; after the last one a schedule has none to say."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Move the bar."""
        self._bar.advance(self._task)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count what was trained."""
        self._seconds += time.monotonic() - self._epoch_start
        self._seen += self._images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a val that says nothing of the objective.

        Raises:
            DataError: It has no finding with both classes.
        """
        if self._objective not in trainer.callback_metrics:
            raise DataError(
                f'"{self._objective}" cannot be computed: expected a finding with both classes '
                "in val, met none; use more images, another fold, or val/loss as objective"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the metrics, and write the line."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values["train/lr"] = self._rate
        score = values[self._objective]
        done = trainer.current_epoch + 1
        if not self._speaks:
            return
        if self._log_metrics is not None:
            self._log_metrics(values, done)
        each = (time.monotonic() - self._start) / (done - self._first)
        minutes, seconds = divmod(round(each * ((trainer.max_epochs or done) - done)), 60)
        self._bar.console.print(
            f"epoch {done}/{trainer.max_epochs}  loss {values['train/loss']:.3f}  "
            f"{self._objective} {score:.3f}{' *' if self._keeper.takes(score) else '  '}  "
            f"{self.images_per_s:.0f} images/s  {minutes}:{seconds:02} left"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar."""
        if hasattr(self, "_bar"):
            self._bar.stop()
