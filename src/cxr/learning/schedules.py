"""How the learning rate runs over a fit.

The rate of the optimizer is the highest that is ever used.
"""

import math
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

Schedule = Literal["one_cycle", "cosine", "plateau", "constant"]

NEVER = 10**9
STALLED = 2
"""Epochs without a better objective that `plateau` bears: the next one halves the rate."""


def build(
    kind: Schedule, optimizer: Optimizer, *, steps: int, warmup: float, objective: str
) -> Any:
    """Give what a LightningModule's `configure_optimizers` gives.

    Args:
        kind: `one_cycle` rises and falls to nothing, and moves momentum the other way (Smith and
            Topin 2018); `cosine` rises along a line and falls along a cosine to nothing;
            `plateau` halves the rate where the objective stalls; `constant` stays.
        optimizer: At its highest rate.
        steps: Of the whole fit.
        warmup: Part of all steps in which `one_cycle` and `cosine` rise.
        objective: The metric `plateau` watches; `val/loss` is to fall, all else to rise.
    """
    # one_cycle needs steps to rise and to fall in
    if kind == "constant" or (kind == "one_cycle" and steps < 4):
        return optimizer
    if kind == "plateau":
        mode: Literal["min", "max"] = "min" if objective == "val/loss" else "max"
        halving = ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=STALLED)
        # Lightning 2.6 steps it after the epoch's checkpoint, which a resume would then miss; so
        # the Classifier does it before
        told = {
            "scheduler": halving, "monitor": objective, "interval": "epoch", "frequency": NEVER,
        }  # fmt: skip
    elif kind == "cosine":
        rise = round(warmup * steps)
        cosine = LambdaLR(optimizer, lambda step: _cosine(step, rise, steps))
        told = {"scheduler": cosine, "interval": "step"}
    else:
        rates = [group["lr"] for group in optimizer.param_groups]
        # a rise of one step divides by zero
        cycle = OneCycleLR(optimizer, rates, total_steps=steps, pct_start=max(warmup, 2 / steps))
        told = {"scheduler": cycle, "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": told}


def _cosine(step: int, rise: int, steps: int) -> float:
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * min(1, (step - rise) / max(1, steps - rise)))) / 2
