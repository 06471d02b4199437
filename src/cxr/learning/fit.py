"""Train a Classifier: the Trainer, its checkpoints and its line per epoch.

`best.ckpt` holds weights only, `last.ckpt` everything a resume needs; both are written whole at
the end of an epoch, so an interrupted epoch leaves the ones before. Ctrl-C comes out as
KeyboardInterrupt, SIGTERM as SystemExit(143). Under torchrun all its processes train one model,
and the first one alone writes and tells.
"""

import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cxr.errors import ConfigError, DataError
from cxr.learning import keeping, ranks
from cxr.learning.dataset import CxrData
from cxr.learning.model import Classifier

Log = Callable[[Mapping[str, float], int], None]


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves.

    Attributes:
        checkpoint_path: Weights of the best epoch.
        best_score: Of the objective.
        best_epoch: The epoch it was met in, from 1.
        epochs: Epochs run.
        seconds: Of the whole fit.
        images_per_s: Of training, without validation.
        precision: As resolved, such as `bf16-mixed`.
    """

    checkpoint_path: Path
    best_score: float
    best_epoch: int
    epochs: int
    seconds: float
    images_per_s: float
    precision: str


def fit(
    model: Classifier,
    data: CxrData,
    *,
    folder: Path,
    max_epochs: int,
    objective: str = "val/auroc_macro",
    accelerator: str = "auto",
    precision: str = "auto",
    gradient_clip: float | None = 1.0,
    patience: int | None = None,
    seed: int = 42,
    log_metrics: Log | None = None,
    resume_from: Path | None = None,
) -> Fitted:
    """Train until `max_epochs`, keeping the best epoch.

    Args:
        model: From `model.Classifier`; holds the weights of the last epoch afterwards.
        data: Train and val.
        folder: Where `best.ckpt` and `last.ckpt` go.
        max_epochs: Passes over train.
        objective: A metric the model logs in val; `val/loss` is minimised, all else maximised.
        accelerator: `auto`, `cpu`, `gpu`.
        precision: As in `resolve_precision`.
        gradient_clip: Largest gradient norm, or None.
        patience: Epochs without a better objective before stopping; None never stops early.
        seed: Of dropout and the like; order and augmentation have theirs in `data`.
        log_metrics: Called after each epoch with metrics and epoch, from 1.
        resume_from: A `last.ckpt` of the same configuration.

    Raises:
        ConfigError: As in `resolve_precision`.
        DataError: The objective cannot be computed on val.
        RunError: The net's outputs are no numbers any more.
        KeyboardInterrupt: Interrupted.
        SystemExit: 143, terminated.
    """
    resolved = resolve_precision(precision, accelerator)
    mode = "min" if objective == "val/loss" else "max"
    epochs = _Epochs(objective, mode, data.sizes["train"], log_metrics)
    here = ranks.here()
    torch.manual_seed(seed + here.rank)  # or all would drop the same units
    start = time.monotonic()
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=max_epochs,
            accelerator=accelerator,
            devices=here.on_host if here.world > 1 else 1,
            num_nodes=here.hosts,
            strategy=DDPStrategy() if here.world > 1 else "auto",  # gloo, on GPUs nccl
            use_distributed_sampler=False,  # the batches know of ranks themselves
            plugins=[keeping.WholeFiles()],
            precision=resolved,  # type: ignore[arg-type]
            gradient_clip_val=gradient_clip,
            callbacks=[epochs, *keeping.keepers(folder, objective, mode, patience)],
            default_root_dir=folder,
            logger=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        _run(trainer, model, data, resume_from)
    return Fitted(
        checkpoint_path=folder / f"{keeping.BEST}.ckpt",
        best_score=epochs.best_score,
        best_epoch=epochs.best_epoch,
        epochs=trainer.current_epoch,
        seconds=time.monotonic() - start,
        images_per_s=epochs.images_per_s,
        precision=resolved,
    )


def resolve_precision(precision: str, accelerator: str = "auto") -> str:
    """Say what `auto` is on this machine; the others stay.

    Args:
        precision: `auto`, `bf16-mixed`, `32-true`; not float16, whose loss scale is not handled.
        accelerator: As in `fit`.

    Returns:
        For `auto`, `bf16-mixed` where the processor computes bfloat16 itself, else `32-true`.

    Raises:
        ConfigError: Another precision, or a GPU where there is none.
    """
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if accelerator == "gpu" and not gpu:
        raise ConfigError(
            'trainer.accelerator: expected a GPU that torch can use for "gpu", met none; '
            "use auto or cpu"
        )
    if precision in ("bf16-mixed", "32-true"):
        return precision
    if precision != "auto":
        raise ConfigError(
            f"trainer.precision: expected auto, bf16-mixed or 32-true, met {precision!r}"
        )
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        # emulated bfloat16 is slower than float32, so ask the processor
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return "bf16-mixed" if fast else "32-true"


def _run(trainer: pl.Trainer, model: Classifier, data: CxrData, resume_from: Path | None) -> None:
    """Fit, and let Ctrl-C and SIGTERM out as what they are.

    Lightning 2.6 ends the one by exit(1) with SIGINT switched off, the other by exit(0).
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SIGTERMException:
        raise SystemExit(143) from None
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from None
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners and its advice that is not for us from the terminal."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6: batches are gathered in this process on purpose
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            # Lightning 2.6: a resume and a run folder with run.json in it are meant
            warnings.filterwarnings("ignore", ".*exists and is not empty.*")
            # Lightning 2.6 itself calls what torch 2.13 deprecates
            warnings.filterwarnings("ignore", ".*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _terminate(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)


class _Epochs(Callback):
    """One line on stderr per epoch, a bar while it lasts, and metrics to whoever tracks them."""

    def __init__(self, objective: str, mode: str, images: int, log_metrics: Log | None) -> None:
        self.best_epoch = 0
        self._objective, self._sign, self._images = objective, -1 if mode == "min" else 1, images
        self._log_metrics = log_metrics
        self._best = -float("inf")
        self._seconds, self._seen = 0.0, 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def best_score(self) -> float:
        """Of the objective, over all epochs."""
        return self._sign * self._best

    @property
    def images_per_s(self) -> float:
        """Of training so far, without validation."""
        return self._seen / self._seconds if self._seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._speaks = trainer.is_global_zero
        if trainer.world_size > 1:
            # Lightning 2.6 broadcasts in its handler, between whatever else is on its way
            signal.signal(signal.SIGTERM, _terminate)
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
        self._bar.update(self._task, epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}")
        self._epoch_start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self._bar.advance(self._task)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seconds += time.monotonic() - self._epoch_start
        self._seen += self._images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._objective not in trainer.callback_metrics:
            raise DataError(
                f'"{self._objective}" cannot be computed: expected a finding with both classes '
                "in val, met none; use more images, another fold, or val/loss as objective"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        score = values[self._objective]
        better = self._sign * score > self._best
        if better:
            self._best, self.best_epoch = self._sign * score, trainer.current_epoch + 1
        done = trainer.current_epoch + 1
        if not self._speaks:
            return
        if self._log_metrics is not None:
            self._log_metrics(values, done)
        each = (time.monotonic() - self._start) / (done - self._first)
        minutes, seconds = divmod(round(each * ((trainer.max_epochs or done) - done)), 60)
        self._bar.console.print(
            f"epoch {done}/{trainer.max_epochs}  loss {values['train/loss']:.3f}  "
            f"{self._objective} {score:.3f}{' *' if better else '  '}  "
            f"{self.images_per_s:.0f} images/s  {minutes}:{seconds:02} left"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()
