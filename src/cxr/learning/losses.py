"""What training minimises, over the entries that have a target.

A loss is a module, so that what it counts and learns is kept in checkpoints. It is told once what
it trains on (`prepare`) and before each epoch which one begins (`begin`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cxr.errors import ConfigError

_TARGET = "_target_"


class Loss(nn.Module):
    """What every loss answers: (B, L) logits, targets in [0, 1] and weights >= 0 → a scalar.

    A weight of 0 means that there is no target. The result is the mean over entries by weight; 0,
    with gradients of 0, where there is no target at all.
    """

    def prepare(self, targets: Tensor, weights: Tensor) -> None:
        """Count what it needs over train, (N, L) each; called once, before the first step."""

    def begin(self, epoch: int) -> None:
        """Know which epoch begins, from 0."""

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Give the loss of one batch."""
        raise NotImplementedError


class Bce(Loss):
    """Masked binary cross-entropy."""

    def __init__(self, *, pos_weight: bool = False) -> None:
        """Say whether the positives of a label weigh, together, as much as its negatives."""
        super().__init__()
        self._balanced = pos_weight
        self.register_buffer("pos_weight", torch.ones(1))

    def prepare(self, targets: Tensor, weights: Tensor) -> None:
        """Count positives and negatives of each label."""
        if self._balanced:
            positives = (targets * weights).sum(0)
            negatives = weights.sum(0) - positives
            # a label that train has no positive of cannot be balanced
            ratio = torch.where(positives > 0, negatives / positives.clamp(min=1e-6), 1.0)
            self.pos_weight: Tensor = ratio.clamp(1e-3, 1e3)

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Give the loss of one batch."""
        # in float32: bfloat16 has too few digits to add up a batch
        each = functional.binary_cross_entropy_with_logits(
            logits.float(), targets, pos_weight=self.pos_weight, reduction="none"
        )
        return mean(each, weights)


class FirstLabel(Loss):
    """Cross-entropy on the first label that is present, all others as if they were absent.

    For nets whose sigmoids are a softmax (`one_of_many`), whose log is that of the sigmoid. An
    image on which no label is present has no class, so it counts for nothing.
    """

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Give the loss of one batch."""
        present = (targets > 0.5) & (weights > 0)
        first = present & (present.cumsum(dim=1) == 1)
        return mean(-functional.logsigmoid(logits.float()), first.float())


class Asymmetric(Loss):
    """Masked asymmetric loss: what is easily told absent counts for little or nothing.

    Ridnik et al. (ICCV 2021), "Asymmetric Loss for Multi-Label Classification": with p the
    probability and q = max(p - clip, 0), a positive costs -(1 - p)^gamma_positive log p and a
    negative -q^gamma_negative log(1 - q); a target between 0 and 1 costs its share of each.
    """

    def __init__(
        self, *, gamma_positive: float = 0.0, gamma_negative: float = 4.0, clip: float = 0.05
    ) -> None:
        """Take the paper's three numbers; all 0 is `Bce`.

        Args:
            gamma_positive: How far easy positives are passed over.
            gamma_negative: How far easy negatives are.
            clip: Probability below which a negative costs nothing.

        Raises:
            ConfigError: A number is out of its range.
        """
        super().__init__()
        _within("gamma_positive", gamma_positive, 0, 16)
        _within("gamma_negative", gamma_negative, 0, 16)
        _within("clip", clip, 0, 0.5)
        self._of_positives, self._of_negatives = float(gamma_positive), float(gamma_negative)
        self._clip = float(clip)

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Give the loss of one batch."""
        x = logits.float()
        missed = functional.logsigmoid(-x)  # log(1 - p), which keeps its digits where p is 1
        positive = functional.logsigmoid(x) * torch.exp(self._of_positives * missed)
        if self._clip:
            # never quite 0, where a power below 1 has no gradient
            q = (x.sigmoid() - self._clip).clamp(min=1e-8)
            negative = torch.log1p(-q) * q**self._of_negatives
        else:
            negative = missed * torch.exp(self._of_negatives * functional.logsigmoid(x))
        return mean(-(targets * positive + (1 - targets) * negative), weights)


class AucMargin(Loss):
    """Masked AUC margin loss, after epochs of binary cross-entropy.

    Yuan et al. (ICCV 2021), "Large-scale Robust Deep AUC Maximization". With p the share of
    positives of a label in train, h = sigmoid(logit) and targets y, an entry costs

        (1 - p)(h - a)² y + p(h - b)² (1 - y) + 2α[p(1 - p)m + p h (1 - y) - (1 - p) h y]
        - p(1 - p)α²

    which is minimised over a and b and maximised over α >= 0. Published is to move these three by
    gradients of their own; but their best values are known: a and b are the means of h over
    positives and negatives, and α is max(0, m + b - a), so that is what they are here, over about
    the last `memory` positives and negatives of each label that were trained on. No gradient
    passes through them: at its best value, a number's own gradient is 0.
    """

    def __init__(self, *, margin: float = 1.0, warmup_epochs: int = 5, memory: int = 256) -> None:
        """Take the margin and how it is come by.

        Args:
            margin: By which the mean of positives shall lead that of negatives, m.
            warmup_epochs: Of binary cross-entropy before.
            memory: Entries of one class behind a running mean.

        Raises:
            ConfigError: A number is out of its range.
        """
        super().__init__()
        _within("margin", margin, 0, 1)
        _within("warmup_epochs", warmup_epochs, 0, 10_000)
        _within("memory", memory, 1, 1_000_000)
        self._margin, self._warmup, self._memory = float(margin), warmup_epochs, float(memory)
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))
        self.register_buffer("share", torch.full((1,), 0.5))
        self.register_buffer("means", torch.tensor([[1.0], [0.0]]))  # a, b
        self.register_buffer("seen", torch.zeros(2, 1))
        self.epoch: Tensor
        self.share: Tensor
        self.means: Tensor
        self.seen: Tensor

    def prepare(self, targets: Tensor, weights: Tensor) -> None:
        """Count the share of positives of each label, p."""
        total = weights.sum(0)
        self.share = torch.where(total > 0, (targets * weights).sum(0) / total.clamp(min=1e-6), 0.0)
        # until one was met, a leads b by 1, and α is 0
        self.means = self.means[:, :1].repeat(1, targets.shape[1])
        self.seen = self.seen[:, :1].repeat(1, targets.shape[1])

    def begin(self, epoch: int) -> None:
        """Know whether it is warm."""
        self.epoch.fill_(epoch)  # in the checkpoint, for an epoch may be resumed in its middle

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Give the loss of one batch."""
        x = logits.float()
        h = x.sigmoid()
        if self.training:
            self._remember(h.detach(), targets, weights)
        if int(self.epoch) < self._warmup:
            each = functional.binary_cross_entropy_with_logits(x, targets, reduction="none")
            return mean(each, weights)
        (a, b), p, y = self.means, self.share, targets
        alpha = (self._margin + b - a).clamp(min=0)
        spread = (1 - p) * (h - a) ** 2 * y + p * (h - b) ** 2 * (1 - y)
        lead = p * (1 - p) * self._margin + p * h * (1 - y) - (1 - p) * h * y
        return mean(spread + 2 * alpha * lead - p * (1 - p) * alpha**2, weights)

    def _remember(self, h: Tensor, targets: Tensor, weights: Tensor) -> None:
        """Move the running means towards those of a batch, by how many it has of each class."""
        classes = torch.stack([targets * weights, (1 - targets) * weights])  # (2, B, L)
        count = classes.sum(1)
        of_batch = (classes * h).sum(1) / count.clamp(min=1e-6)
        # in place, for DDP hands the first process's buffers round by reference
        self.seen.add_(count).clamp_(max=self._memory)
        rate = (count / self.seen.clamp(min=1e-6)).clamp(max=1)
        self.means.add_(torch.where(count > 0, rate * (of_batch - self.means), 0.0))


def mean(each: Tensor, weights: Tensor) -> Tensor:
    """Average (B, L) by weight."""
    total: Any = weights.sum()
    return (each * weights).sum() / torch.where(total > 0, total, 1.0)


_LOSSES = {f"{__name__}.{kind.__name__}": kind for kind in (Bce, FirstLabel, Asymmetric, AucMargin)}


def build(config: Mapping[str, Any]) -> Loss:
    """Make a loss from conf/loss.

    Args:
        config: `_target_`, a loss of this module, and its arguments.

    Raises:
        ConfigError: Another target, or arguments it does not take.
    """
    target = str(config.get(_TARGET, ""))
    if target not in _LOSSES:
        raise ConfigError(f"loss.{_TARGET}: expected one of {', '.join(_LOSSES)}, met {target!r}")
    arguments = {str(key): value for key, value in config.items() if key != _TARGET}
    try:
        return _LOSSES[target](**arguments)
    except TypeError as error:
        raise ConfigError(f"loss: {error}") from error


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"loss.{name}: expected a number from {low} to {high}, met {value}")
