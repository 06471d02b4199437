"""Train a Classifier: the Trainer, its checkpoints and its line per epoch.

Checkpoints are written whole at the end of an epoch (`keeping`), so an interrupted epoch leaves
the ones before. Ctrl-C comes out as
KeyboardInterrupt, SIGTERM as SystemExit(143). Under torchrun all its processes train one model,
and the first one alone writes and tells.
"""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.strategies import DDPStrategy

from cxr.errors import ConfigError, RunError
from cxr.learning import keeping, ranks
from cxr.learning.averaging import Averaging
from cxr.learning.dataset import CxrData
from cxr.learning.epochs import Epochs, Log
from cxr.learning.model import Classifier


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves.

    Attributes:
        checkpoint_path: Weights of the epoch that is kept.
        score: Its objective.
        epoch: Which one it is, from 1.
        epochs: Epochs run.
        seconds: Of the whole fit, with what came before a resume.
        images_per_s: Of training, without validation.
        precision: As resolved, such as `bf16-mixed`.
    """

    checkpoint_path: Path
    score: float
    epoch: int
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
    accumulate: int = 1,
    ema: float | None = None,
    keep: keeping.Keep = "best",
    patience: int | None = None,
    seed: int = 42,
    log_metrics: Log | None = None,
    resume_from: Path | None = None,
) -> Fitted:
    """Train until `max_epochs`, keeping one epoch.

    A fit that had finished when it was interrupted is not gone on with.

    Args:
        model: From `model.Classifier`.
        data: Train and val.
        folder: Where the checkpoints go, see `keeping`.
        max_epochs: Passes over train.
        objective: A metric the model logs in val; `val/loss` is minimised, all else maximised.
        accelerator: `auto`, `cpu`, `gpu`.
        precision: As in `resolve_precision`.
        gradient_clip: Largest gradient norm, or None.
        accumulate: Batches behind each step.
        ema: Decay of the running mean of the weights, see `averaging`; None keeps none.
        keep: Which epoch: `best` by the objective, or `last`.
        patience: Epochs without a better objective before stopping; None never stops early.
        seed: Of dropout and the like; order and augmentation have theirs in `data`.
        log_metrics: Called after each epoch with metrics and epoch, from 1.
        resume_from: A checkpoint of the same configuration, see `checkpoints.newest`.

    Raises:
        ConfigError: As in `resolve_precision`.
        DataError: The objective cannot be computed on val.
        RunError: The net's outputs are no numbers any more.
        KeyboardInterrupt: Interrupted.
        SystemExit: 143, terminated.
    """
    resolved = resolve_precision(precision, accelerator)
    if resume_from and (kept := keeping.finished(resume_from, folder)):
        return _fitted(folder, kept, resolved)
    keeper = keeping.Keeper(folder, objective, keep=keep)
    told = Epochs(objective, data.sizes["train"], keeper, log_metrics)
    callbacks: list[Callback] = [_Seeds(seed), told, keeper]
    if patience:
        mode = "min" if keeping.minimised(objective) else "max"
        callbacks.append(EarlyStopping(objective, mode=mode, patience=patience))
    if ema:
        callbacks.append(Averaging(ema))
    here = ranks.here()
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
            accumulate_grad_batches=accumulate,
            callbacks=callbacks,
            default_root_dir=folder,
            logger=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        _run(trainer, model, data, resume_from)
    return _fitted(folder, keeper, resolved, told.seconds, told.images_per_s)


def _fitted(
    folder: Path,
    keeper: keeping.Keeper,
    precision: str,
    seconds: float = 0.0,
    images_per_s: float = 0.0,
) -> Fitted:
    if keeper.score is None:
        raise RunError(f"{folder}: no epoch was run, so nothing is kept")
    return Fitted(
        checkpoint_path=folder / keeping.BEST,
        score=keeper.score,
        epoch=keeper.epoch,
        epochs=keeper.epochs,
        seconds=seconds,
        images_per_s=images_per_s,
        precision=precision,
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
    """Fit, and let Ctrl-C out as what it is.

    Lightning 2.6 ends it by exit(1), with SIGINT switched off.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from None
        raise


class _Seeds(Callback):
    """What a net draws (dropout) follows from seed, batch and rank, so a resume draws the same.

    At each batch, since Lightning 2.6 draws as well, and elsewhere in an epoch that is resumed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        torch.manual_seed(self._seed * 1_000_033 + batches + trainer.global_rank * 7_919_000_003)


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
