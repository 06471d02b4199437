"""How well probabilities rank and separate present from absent, with masks and intervals.

Pure numpy, so that validation each epoch and the final evaluation use the same formula: the plain
figure is the weighted one with every weight 1. A figure that cannot be had (one class only) is
None, never 0 or NaN: a zero would drag every average down.

Arrays are (N,) for one label: `probabilities` in
[0, 1] (logits rank the same), `targets` of 0 and 1, `mask` True where there is a target.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import resampling

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

LEVEL = 0.95
FEWEST_PATIENTS = 10
"""Positive (or negative) patients below which no interval is given: it would pretend."""


@dataclass(frozen=True)
class Draws:
    """One value per bootstrap draw and label; NaN where a draw met one class only.

    Attributes:
        auroc: (D, L).
        ap: (D, L).
    """

    auroc: NDArray[np.float64]
    ap: NDArray[np.float64]


def auroc(
    probabilities: Floats, targets: Floats, mask: Bools | None = None, *, minimum: int = 1
) -> float | None:
    """Give the chance that a positive ranks above a negative, ties counting half.

    Args:
        probabilities: (N,)
        targets: (N,); ignored where masked.
        mask: (N,); None takes every image.
        minimum: Positives, and negatives, below which there is no answer.

    Returns:
        0 to 1; None where there are too few of either class.

    Raises:
        ValueError: Shapes differ, a probability is not finite, or a target is neither 0 nor 1.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1]))
    0.75
    """
    p, y = select(probabilities, targets, mask)
    if min(y.sum(), (~y).sum()) < max(minimum, 1):
        return None
    return float(_areas(_rank(p, y), np.ones((y.size, 1)))[0][0])


def average_precision(
    probabilities: Floats, targets: Floats, mask: Bools | None = None, *, minimum: int = 1
) -> float | None:
    """Give the precision averaged over the positives found, from the highest probability down.

    Its floor is the prevalence, so it compares only within one set of images. Takes, returns
    and raises as `auroc`.

    >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1]))
    0.8333333333333333
    """
    p, y = select(probabilities, targets, mask)
    if min(y.sum(), (~y).sum()) < max(minimum, 1):
        return None
    return float(_areas(_rank(p, y), np.ones((y.size, 1)))[1][0])


def aurocs(
    probabilities: Floats, targets: Floats, mask: Bools | None = None, *, minimum: int = 1
) -> list[float | None]:
    """Give `auroc` of every label, in column order.

    Args:
        probabilities: (N, L)
        targets: (N, L)
        mask: (N, L); None takes every image.
        minimum: As in `auroc`.

    Raises:
        ValueError: As `auroc`.
    """
    return [
        auroc(
            probabilities[:, k], targets[:, k], None if mask is None else mask[:, k],
            minimum=minimum,
        )
        for k in range(probabilities.shape[1])
    ]  # fmt: skip


def macro(values: Iterable[float | None]) -> float | None:
    """Average over the labels that have a value; None where none has.

    >>> macro([0.5, None, 1.0])
    0.75
    """
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def bootstrap(
    probabilities: Floats,
    targets: Floats,
    mask: Bools | None,
    patient_ids: Sequence[str] | NDArray[Any],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Draws:
    """Recompute AUROC and AP of every label on patients drawn with replacement.

    A patient comes with all images or not at all; every label sees the same draws, so averages
    and differences over them are paired. Two models scored on the same patients with the same
    seed are paired too: draws depend on the sorted patients and the seed, not on row order.

    Args:
        probabilities: (N, L)
        targets: (N, L)
        mask: (N, L); None takes every image.
        patient_ids: (N,)
        draws: How many, D.
        seed: Same seed, same draws.

    Raises:
        ValueError: As `auroc`, or there is not one patient ID per image.
    """
    n, labels = probabilities.shape
    if len(patient_ids) != n:
        raise ValueError(f"expected {n} patient IDs, met {len(patient_ids)}")
    ranked = []
    for k in range(labels):
        keep = np.ones(n, bool) if mask is None else mask[:, k]
        p, y = select(probabilities[:, k], targets[:, k], keep)
        ranked.append(None if y.all() or not y.any() else _rank(p, y, np.flatnonzero(keep)))
    areas = np.full((2, draws, labels), np.nan)
    first = 0
    for weights in resampling.weights(patient_ids, draws=draws, seed=seed):
        size = weights.shape[1]
        for k, ranks in enumerate(ranked):
            if ranks is not None:
                areas[:, first : first + size, k] = _areas(ranks, weights)
        first += size
    return Draws(areas[0], areas[1])


def interval(values: Floats, level: float = LEVEL) -> tuple[float, float] | None:
    """Give the middle `level` of bootstrap values, NaN left out; None where all are NaN.

    >>> interval(np.array([np.nan, 0.5, 0.5]))
    (0.5, 0.5)
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class _Ranks:
    """Where things stand once sorted from the highest probability down.

    A group is a run of equal probabilities; only those holding a positive matter to the areas.
    """

    order: NDArray[np.intp]  # (n,) rows by falling probability
    starts: NDArray[np.intp]  # (G,) first position of each group with a positive
    ends: NDArray[np.intp]  # (G,) one past its last
    positives: NDArray[np.intp]  # (P,) rows of the positives, in order
    first_positives: NDArray[np.intp]  # (G,) where each group begins among `positives`


def select(
    probabilities: Floats, targets: Floats, mask: Bools | None
) -> tuple[NDArray[np.float64], Bools]:
    """Give probabilities and whether positive where there is a target, all checked.

    Raises:
        ValueError: As `auroc`.
    """
    if probabilities.ndim != 1 or not probabilities.shape == targets.shape:
        raise ValueError(
            f"expected probabilities and targets (N,), met {probabilities.shape} "
            f"and {targets.shape}"
        )
    if mask is not None:
        if mask.shape != targets.shape or mask.dtype != np.bool_:
            raise ValueError(f"expected a bool mask {targets.shape}, met {mask.dtype} {mask.shape}")
        probabilities, targets = probabilities[mask], targets[mask]
    p = probabilities.astype(np.float64)
    if not np.isfinite(p).all():
        raise ValueError("expected finite probabilities, met NaN or infinity")
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("expected targets of 0 and 1 where the mask is True")
    return p, targets == 1


def _rank(p: NDArray[np.float64], y: Bools, rows: NDArray[np.intp] | None = None) -> _Ranks:
    """Sort once what every draw needs; `rows` are those of the weights that p and y belong to."""
    order = np.argsort(-p, kind="stable")
    edges = np.flatnonzero(np.diff(p[order])) + 1
    starts = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [p.size]])
    places = np.flatnonzero(y[order])
    groups, first = np.unique(np.searchsorted(starts, places, "right") - 1, return_index=True)
    rows = np.arange(p.size) if rows is None else rows
    return _Ranks(rows[order], starts[groups], ends[groups], rows[order][places], first)


def _areas(ranks: _Ranks, weights: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC and AP (D,) under weights (N, D) >= 0; NaN where a class has no weight.

    Same results as scikit-learn's with `sample_weight`; a draw is a column, so that each numpy
    call works on all draws at once.
    """
    total = np.zeros((ranks.order.size + 1, weights.shape[1]), weights.dtype)
    np.cumsum(weights[ranks.order], axis=0, out=total[1:])
    found = np.add.reduceat(weights[ranks.positives], ranks.first_positives, axis=0)
    positives = found.astype(np.float64)
    so_far = np.cumsum(positives, axis=0)
    above, up_to = total[ranks.starts], total[ranks.ends]
    all_positives = so_far[-1]
    negatives = total[-1] - all_positives
    # negatives up to and including the group, and those above it: ties count half
    passed = (up_to - so_far) + (above - (so_far - positives))
    with np.errstate(invalid="ignore", divide="ignore"):
        ranked_right = (positives * (negatives - passed / 2)).sum(axis=0)
        area = ranked_right / (all_positives * negatives)
        precision = np.where(up_to > 0, so_far / up_to, 0.0)
        ap = np.where(negatives > 0, (positives * precision).sum(axis=0) / all_positives, np.nan)
    return area, ap
