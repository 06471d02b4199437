"""What a threshold does: the curve of operating points, how one is chosen, and how sure it is.

Called present means probability > threshold. Arrays are as in `metrics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.learning.metrics import Bools, Floats, select

Z = 1.959963984540054
"""How many standard errors 95 % of a normal distribution lie within."""


@dataclass(frozen=True)
class Roc:
    """Operating points of one label, from calling nothing to calling everything.

    Attributes:
        false_positive_rate: (K,) rising from 0 to 1; 1 - specificity.
        sensitivity: (K,) rising from 0 to 1.
        thresholds: (K,) falling; called present are probabilities >= this; the first is inf.
    """

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def roc_curve(probabilities: Floats, targets: Floats, mask: Bools | None = None) -> Roc | None:
    """Give every operating point, one per distinct probability; None with one class only.

    Raises:
        ValueError: As `auroc`.
    """
    p, y = select(probabilities, targets, mask)
    if y.all() or not y.any():
        return None
    values, true, false = _calls(p, y)
    return Roc(
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], true / true[-1]]),
        np.concatenate([[np.inf], values]),
    )


def youden_threshold(
    probabilities: Floats, targets: Floats, mask: Bools | None = None
) -> float | None:
    """Choose the threshold with the largest sensitivity + specificity - 1.

    It lies halfway between two probabilities that were met, so that rounding moves nobody
    across; among equals the lowest, which finds more. Choose it on val, never on test.

    Returns:
        None with one class only, or where no threshold does better than chance.

    Raises:
        ValueError: As `auroc`.

    >>> youden_threshold(np.array([0.0, 0.25, 0.75, 1.0]), np.array([0.0, 0, 1, 1]))
    0.5
    """
    p, y = select(probabilities, targets, mask)
    if y.all() or not y.any():
        return None
    values, true, false = _calls(p, y)
    # whole numbers, so that equals are equal; without the last, which calls everything
    gain = (true * false[-1] - false * true[-1])[:-1]
    if not gain.size or gain.max() <= 0:
        return None
    best = int(np.flatnonzero(gain == gain.max())[-1])
    return _below(values, best)


def target_threshold(
    probabilities: Floats,
    targets: Floats,
    mask: Bools | None = None,
    *,
    of: Literal["sensitivity", "specificity"],
    at: float,
) -> float | None:
    """Choose the threshold that reaches a sensitivity, or a specificity, and costs the other least.

    It lies halfway between two probabilities that were met, as `youden_threshold` does; the
    highest that reaches the sensitivity, the lowest that reaches the specificity. Choose it on
    val, never on test.

    Args:
        probabilities: (N,)
        targets: (N,)
        mask: (N,)
        of: What is to be reached.
        at: How much of it, in (0, 1).

    Returns:
        None with one class only, or where the target is reached only by calling everything, or
        nothing, or no better than by chance.

    Raises:
        ValueError: As `auroc`.

    >>> p, y = np.array([0.0, 0.25, 0.75, 1.0]), np.array([0.0, 1, 0, 1])
    >>> target_threshold(p, y, of="sensitivity", at=0.9)
    0.125
    """
    p, y = select(probabilities, targets, mask)
    if y.all() or not y.any():
        return None
    values, true, false = _calls(p, y)
    # 0.9 of 10 is 9, whatever the last bit of their product says
    if of == "sensitivity":
        reached = np.flatnonzero(true >= at * true[-1] - 1e-9)[:1]
    else:
        reached = np.flatnonzero(false[-1] - false >= at * false[-1] - 1e-9)[-1:]
    if not reached.size or reached[0] == values.size - 1:
        return None
    best = int(reached[0])
    return _below(values, best) if true[best] * false[-1] > false[best] * true[-1] else None


def sensitivity_specificity(
    probabilities: Floats, targets: Floats, mask: Bools | None = None, *, threshold: float
) -> tuple[float | None, float | None]:
    """Give the share of positives called and of negatives not called; None without any.

    Raises:
        ValueError: As `auroc`.

    >>> sensitivity_specificity(np.array([0.2, 0.6, 0.9]), np.array([1.0, 0, 1]), threshold=0.5)
    (0.5, 0.0)
    """
    p, y = select(probabilities, targets, mask)
    called = p > threshold
    return (
        float(called[y].mean()) if y.any() else None,
        float((~called[~y]).mean()) if not y.all() else None,
    )


def proportion_interval(
    hits: Bools, patient_ids: Sequence[str] | NDArray[Any]
) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a proportion, widened for several images of one patient.

    The number of images becomes that of `effective` ones. A bootstrap would give an interval
    without width where the proportion is 0 or 1.

    Args:
        hits: (N,) N >= 1.
        patient_ids: (N,)

    Returns:
        Lower and upper end, 0 to 1.
    """
    share, n = float(hits.mean()), effective(hits, patient_ids)
    z2 = Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = float(np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))) / (1 + z2 / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def effective(hits: Bools, patient_ids: Sequence[str] | NDArray[Any]) -> float:
    """Give the number of independent images whose proportion would vary as much as this one.

    By the linearised variance between patients (Korn and Graubard 1998); the number of patients
    where the proportion is 0 or 1.

    Args:
        hits: (N,) N >= 1.
        patient_ids: (N,)
    """
    patients, which = np.unique(np.asarray(patient_ids), return_inverse=True)
    share = float(hits.mean())
    spread = np.bincount(which, hits - share, len(patients))
    variance = float((spread**2).sum()) / hits.size**2
    if not 0 < share < 1 or variance <= 0:
        return float(len(patients))
    # images of one patient that happen to differ do not make the interval narrower
    return min(share * (1 - share) / variance, float(hits.size))


def _calls(
    p: NDArray[np.float64], y: Bools
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the distinct probabilities, falling, and positives and negatives at or above each."""
    values, which = np.unique(-p, return_inverse=True)
    true = np.cumsum(np.bincount(which[y], minlength=values.size))
    false = np.cumsum(np.bincount(which[~y], minlength=values.size))
    return 0.0 - values, true, false


def _below(values: NDArray[np.float64], place: int) -> float:
    """Give what lies halfway between one of the falling values and the next."""
    high, low = float(values[place]), float(values[place + 1])
    middle = low + (high - low) / 2
    return middle if middle < high else low
