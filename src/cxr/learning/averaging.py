"""The running mean of a net's weights over steps (EMA), which is validated and kept in its stead.

Batch norm's running statistics are averaged like the weights: they then belong to the same stretch
of training, and no further pass over the data is needed. Counters are taken as they are.
"""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class Averaging(WeightAveraging):
    """Keep the mean of the weights after each step; a checkpoint holds it as `state_dict`."""

    def __init__(self, decay: float) -> None:
        """Say how much of the mean stays at each step, in the long run.

        Args:
            decay: Below 1; it remembers about 1 / (1 - decay) steps. In the first steps less of
                the mean stays, `at_step`, or the random weights of the beginning would.
        """

        def average(mean: Sequence[Tensor], now: Sequence[Tensor], updates: Tensor | int) -> None:
            share = 1 - at_step(decay, int(updates))
            if torch.is_floating_point(mean[0]):
                torch._foreach_lerp_(list(mean), list(now), share)
            else:
                torch._foreach_copy_(list(mean), list(now))

        super().__init__(multi_avg_fn=average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the mean where the net will be: it is not there yet in Lightning 2.6."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def weights(self) -> dict[str, Tensor]:
        """Give the mean as a LightningModule's `state_dict`."""
        if self._average_model is None:
            raise RuntimeError("there is a mean while fitting only")
        state: dict[str, Tensor] = self._average_model.module.state_dict()
        return state


def at_step(decay: float, updates: int) -> float:
    """Say how much of the mean stays after so many updates.

    >>> [round(at_step(0.99, n), 2) for n in (0, 10, 100, 10_000)]
    [0.1, 0.55, 0.92, 0.99]
    """
    return min(decay, (1 + updates) / (10 + updates))
