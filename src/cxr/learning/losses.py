"""What training minimises, over the entries that have a target.

A loss is a module, so that what it counts and learns is kept in checkpoints. It is told once what
it trains on (`prepare`) and before each epoch which one begins (`begin`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


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


def mean(each: Tensor, weights: Tensor) -> Tensor:
    """Average (B, L) by weight."""
    total: Any = weights.sum()
    return (each * weights).sum() / torch.where(total > 0, total, 1.0)
