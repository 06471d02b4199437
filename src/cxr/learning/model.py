"""Net, loss, optimizer and schedule as one LightningModule; and nets built from config.

The net gives logits (B, L), one per label in label order; nothing here knows which net it is.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxr.errors import ConfigError, DataError, RunError
from cxr.learning import losses, metrics, ranks, schedules, score
from cxr.learning.dataset import Batch
from cxr.learning.schedules import Schedule

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

NETS = ("monai.networks.nets.", "cxr.")
OPTIMIZERS = ("torch.optim.",)
_TARGET = "_target_"


def build_net(config: Mapping[str, Any], out_channels: int, *, seed: int = 42) -> nn.Module:
    """Make a net with one output per label and weights that follow from the seed.

    Args:
        config: `_target_`, a class or function of `monai.networks.nets` or `cxr`, and its other
            arguments; the width comes from the labels and must not be among them.
        out_channels: Labels L.
        seed: Of the initial weights; the global generator is left as it was.

    Raises:
        ConfigError: Another target, one that does not exist, or arguments it does not take.
    """
    make = _locate(config, NETS)
    # MONAI names the width by two names
    takes = inspect.signature(make).parameters
    width = "out_channels" if "out_channels" in takes else "num_classes"
    if width in config:
        raise ConfigError(f"model.net.{width}: expected none, the labels say it")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _call(make, config, {width: out_channels})()
    if not isinstance(net, nn.Module):
        raise ConfigError(f"{config[_TARGET]!r}: expected a net, met {type(net).__name__}")
    return net


def try_net(net: nn.Module, image_size: tuple[int, int], out_channels: int) -> None:
    """Ask a net about one image, for whether it takes such images shows in no argument.

    Args:
        net: From `build_net`; it is left evaluating.
        image_size: (H, W) in pixels.
        out_channels: Labels L it was built with.

    Raises:
        ConfigError: It cannot, or does not answer (1, L).
    """
    height, width = image_size
    try:
        with torch.inference_mode():
            given = net.eval()(torch.zeros(1, 1, height, width))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"model.net: expected a net that takes images of 1 x {height} x {width}, met one that "
            f"cannot: {reason}"
        ) from error
    if not isinstance(given, Tensor) or given.shape != (1, out_channels):
        met = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ConfigError(
            f"model.net: expected a net that answers one number a label, (1, {out_channels}), "
            f"met {met}"
        )


def build_optimizer(config: Mapping[str, Any]) -> OptimizerFactory:
    """Make what turns parameters into an optimizer; fused where it can be, four times faster.

    Args:
        config: `_target_`, a class of `torch.optim`, and its other arguments, such as `lr`.

    Raises:
        ConfigError: As `build_net`.
    """
    make = _locate(config, OPTIMIZERS)
    takes = inspect.signature(make).parameters
    return _call(make, config, {"fused": True} if "fused" in takes else {})


def _locate(config: Mapping[str, Any], allowed: Sequence[str]) -> Callable[..., Any]:
    target = str(config.get(_TARGET, ""))
    module, _, name = target.rpartition(".")
    # a config may come from elsewhere, so it must not be able to call just anything
    if not target.startswith(tuple(allowed)) or name.startswith("_"):
        raise ConfigError(
            f"{_TARGET}: expected something in {' or '.join(a.rstrip('.') for a in allowed)}, "
            f"met {target!r}"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{_TARGET}: there is no {target!r}") from error
    if not callable(found):
        raise ConfigError(f"{_TARGET}: expected a class or function, met {target!r}")
    return found  # type: ignore[no-any-return]


def _call(
    make: Callable[..., Any], config: Mapping[str, Any], extra: Mapping[str, Any]
) -> Callable[..., Any]:
    """Bind arguments; what `make` does not take becomes a ConfigError when it is called."""
    arguments = {**extra, **{str(k): v for k, v in config.items() if k != _TARGET}}

    @functools.wraps(make, updated=())
    def call(*positional: Any) -> Any:
        try:
            return make(*positional, **arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{config[_TARGET]}: {error}") from error

    return call


def _by_row(rows: Sequence[int]) -> list[str]:
    return [f"row {row}" for row in rows]


class Classifier(pl.LightningModule):
    """Train a net on weighted targets, and say after each epoch how well it ranks the truth.

    Logs `train/loss`, `val/loss`, `val/auroc/<label>` (see `score.metric_name`) for labels with
    both classes, and `val/auroc_macro`. `val/loss` is masked binary cross-entropy against the
    truth whatever is trained by, so that runs and epochs can be compared.
    """

    def __init__(
        self,
        net: nn.Module,
        names: Sequence[str],
        *,
        optimizer: OptimizerFactory,
        loss: losses.Loss | None = None,
        schedule: Schedule = "one_cycle",
        warmup: float = 0.3,
        objective: str = "val/auroc_macro",
        excluded_from_macro: Collection[str] = (),
        named: Callable[[Sequence[int]], Sequence[str]] = _by_row,
        fewest: int = score.ENOUGH,
    ) -> None:
        """Take a net and how to train it.

        Args:
            net: (B, 1, H, W) → logits (B, L).
            names: L label names.
            optimizer: From `build_optimizer`.
            loss: Prepared, from `losses.build`; None is masked binary cross-entropy.
            schedule: As in `schedules.build`.
            warmup: Part of all steps in which it rises.
            objective: The metric the schedule `plateau` watches.
            excluded_from_macro: Labels reported but never averaged, such as No Finding.
            named: Says how images are called where something is wrong with them, by their rows.
            fewest: Positives, and negatives, in val below which a label is not averaged; where
                no label has as many, every label with both classes is.
        """
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = losses.Bce() if loss is None else loss
        self.names = tuple(names)
        self._optimizer, self._schedule, self._warmup = optimizer, schedule, warmup
        self._objective = objective
        self._averaged = [n not in excluded_from_macro for n in names]
        self._fewest, self._named = fewest, named
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._behind = torch.zeros(())  # the weight of the entries behind the next step

    def forward(self, image: Tensor) -> Tensor:
        """Give logits (B, L) for images (B, 1, H, W).

        Raises:
            DataError: The net gives another number of logits.
        """
        logits: Tensor = self.net(image.contiguous(memory_format=torch.channels_last))
        if logits.shape != (len(image), len(self.names)):
            raise DataError(
                f"expected {len(self.names)} logits per image from the net, one a label, "
                f"met {tuple(logits.shape[1:])}"
            )
        return logits

    def on_train_epoch_start(self) -> None:
        """Tell the loss which epoch begins."""
        self.loss.begin(self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of one batch, such that a step is by the mean over all its entries."""
        weights = batch["weights"]
        loss: Tensor = self.loss(self(batch["image"]), batch["targets"], weights)
        own = weights.sum()
        total, lost = ranks.total(torch.stack([own, (~loss.isfinite()).to(own.dtype)]))
        if lost:
            raise RunError(self._not_finite(batch, float(loss.detach())))
        # Lightning averages over processes, which may not have as many targets each
        share = own * ranks.world() / torch.where(total > 0, total, 1)
        self.log(
            "train/loss", (loss * share).detach(),
            on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["image"]),
        )  # fmt: skip
        batches = self.trainer.accumulate_grad_batches
        if batches == 1:
            return loss * share
        # and over the batches of a step, as if the last of an epoch were as many
        self._behind = self._behind + total
        return loss * own * ranks.world() * batches

    def _not_finite(self, batch: Batch, loss: float) -> str:
        """Say which images the loss of a batch cannot be computed of, in all processes."""
        (rows,) = ranks.gathered((batch["index"].cpu(),))
        loop = self.trainer.fit_loop.epoch_loop
        return (
            f"the loss is {loss} in epoch {self.current_epoch + 1}, batch {loop.batch_idx + 1}; "
            "lower model.optimizer.lr or trainer.gradient_clip, or look for what is odd about its "
            f"images: {', '.join(self._named(rows.tolist()))}"
        )

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Divide what the batches of a step add up to by what they have targets for."""
        if self.trainer.accumulate_grad_batches > 1:
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            torch._foreach_div_(gradients, self._behind.clamp(min=1e-6))
            self._behind = torch.zeros((), device=self.device)

    def on_train_epoch_end(self) -> None:
        """Let a schedule that watches the objective know it."""
        schedule = self.lr_schedulers()
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(self.trainer.callback_metrics[self._objective])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep logits until the epoch's end: AUROC is no mean over batches."""
        logits = self(batch["image"]).float()
        self._seen.append((logits.cpu(), batch["truth"].cpu(), batch["mask"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log loss and AUROC over all of val, that of all processes.

        Raises:
            RunError: The net's outputs are no numbers any more.
        """
        own = tuple(torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        logits, truth, mask = ranks.gathered(own)
        if not logits.isfinite().all():
            raise RunError(
                f"the net's outputs are not finite after epoch {self.current_epoch + 1}; "
                "lower the learning rate"
            )
        # of several processes each has computed the same; Lightning asks to be told so
        self.log("val/loss", losses.Bce()(logits, truth, mask.float()), sync_dist=True)
        for name, value in self._aurocs(logits, truth, mask).items():
            self.log(name, value, sync_dist=True)

    def _aurocs(self, logits: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
        p, y, m = logits.sigmoid().numpy(), truth.numpy(), mask.numpy()
        single = metrics.aurocs(p, y, m)
        enough = metrics.aurocs(p, y, m, minimum=self._fewest)
        values = {
            score.metric_name("val", "auroc", name): value
            for name, value in zip(self.names, single, strict=True)
            if value is not None
        }
        macro = None
        for choice in (enough, single):
            if macro is None:
                macro = metrics.macro(np.array(choice, dtype=object)[self._averaged])
        return values | ({} if macro is None else {"val/auroc_macro": macro})

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the norm of the gradient.

        Lightning 2.6 refuses to clip for a fused optimizer under autocast, because of float16's
        loss scale; bfloat16 has none.
        """
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and the schedule over all steps of the fit."""
        return schedules.build(
            self._schedule,
            self._optimizer(self.net.parameters()),
            steps=int(self.trainer.estimated_stepping_batches),
            warmup=self._warmup,
            objective=self._objective,
        )
