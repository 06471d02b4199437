"""Two models on the same patients: how much they differ, and how surely.

Both are scored in the same draws of the same patients, so what makes a draw easy or hard for both
falls out of the difference. Differences are the second model less the first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics, resampling
from cxr.learning.evaluation import cells, views
from cxr.learning.evaluation.sample import Sample
from cxr.learning.metrics import FEWEST_PATIENTS
from cxr.learning.score import ENOUGH


def compare(first: Sample, second: Sample, *, draws: int, seed: int) -> dict[str, Any]:
    """Compare two models that said something of the same units.

    Args:
        first: Units with the first model's probabilities.
        second: The same, in the same order, with the second's.
        draws: Of the paired bootstrap over patients.
        seed: Of the bootstrap.

    Returns:
        `averaged`, `left_out_labels` (label → why it is not averaged); `labels`: name → `n`,
        `positives`, and under `auroc` and `brier` a comparison; `macro` likewise; `within_view`,
        a comparison of the mean over AP and PA with `findings`, or None. A comparison has
        `first`, `second`, `difference`, `ci`, `p`, `reason` (why it has no interval), and, of an
        averaged finding's AUROC, `p_holm`, corrected for all of them (Holm 1979). Plain JSON.
    """
    areas = _drawn_areas(first, second, draws=draws, seed=seed)
    errors = [(one.probabilities - first.truth) ** 2 for one in (first, second)]
    drawn_errors = [
        resampling.means(one, first.mask, first.patients, draws=draws, seed=seed) for one in errors
    ]
    labels: dict[str, Any] = {}
    for k, name in enumerate(first.names):
        keep = first.mask[:, k]
        present = keep & (first.truth[:, k] == 1)
        reason = _few(first, present, keep & ~present)
        pair = [_area(one, k) for one in (first, second)]
        brier = [float(one[keep, k].mean()) if keep.any() else None for one in errors]
        labels[name] = {
            "n": int(keep.sum()),
            "positives": int(present.sum()),
            "auroc": _compared(pair, [drawn[:, k] for drawn in areas], reason) | {"p_holm": None},
            "brier": _compared(brier, [drawn[:, k] for drawn in drawn_errors], reason),
        }
    left_out = _left_out(first, labels)
    averaged = [name for name in first.names if name not in left_out]
    tested = [name for name in averaged if labels[name]["auroc"]["p"] is not None]
    for name, p in zip(tested, holm([labels[n]["auroc"]["p"] for n in tested]), strict=True):
        labels[name]["auroc"]["p_holm"] = p
    which = np.isin(first.names, averaged)
    return {
        "averaged": averaged,
        "left_out_labels": left_out,
        "labels": labels,
        "macro": {
            "auroc": _mean(first, which, [[_area(o, k) for k in range(len(first.names))]
                                          for o in (first, second)], areas),
            "brier": _mean(first, which, [[labels[n]["brier"][key] for n in first.names]
                                          for key in ("first", "second")], drawn_errors),
        },
        "within_view": _within(first, second, averaged, draws=draws, seed=seed),
    }  # fmt: skip


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for being several (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p)
    so_far = 0.0
    for rank, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        so_far = max(so_far, min(1.0, p[k] * (len(p) - rank)))
        corrected[k] = so_far
    return corrected


def two_sided(differences: NDArray[np.float64]) -> float | None:
    """Give the p-value of no difference: twice the share of draws on the other side of 0.

    One draw more than there are is counted on that side, so that p is never 0: with D draws it
    is 2 / (D + 1) at least (Davison and Hinkley 1997, 4.2).

    Args:
        differences: (D,) in every draw; NaN is left out.

    Returns:
        None where there is no draw.
    """
    known = differences[~np.isnan(differences)]
    if not known.size:
        return None
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + beyond) / (1 + known.size))


def _drawn_areas(
    first: Sample, second: Sample, *, draws: int, seed: int
) -> list[NDArray[np.float64]]:
    drawn = metrics.bootstrap(
        np.concatenate([first.probabilities, second.probabilities], axis=1),
        np.tile(first.truth, 2), np.tile(first.mask, 2), first.patients, draws=draws, seed=seed,
    ).auroc  # fmt: skip
    count = len(first.names)
    return [drawn[:, :count], drawn[:, count:]]


def _area(sample: Sample, k: int) -> float | None:
    return metrics.auroc(sample.probabilities[:, k], sample.truth[:, k], sample.mask[:, k])


def _compared(
    pair: Sequence[float | None], drawn: Sequence[NDArray[np.float64]], reason: str | None
) -> dict[str, Any]:
    one, other = pair
    said: dict[str, Any] = {
        "first": one, "second": other, "difference": None, "ci": None, "p": None, "reason": reason,
    }  # fmt: skip
    if one is None or other is None:
        return said
    said["difference"] = other - one
    if reason is None:
        differences = drawn[1] - drawn[0]
        ends = metrics.interval(differences)
        said |= {"ci": None if ends is None else list(ends), "p": two_sided(differences)}
    return said


def _few(sample: Sample, present: NDArray[np.bool_], absent: NDArray[np.bool_]) -> str | None:
    for kind, rows in (("positive", present), ("negative", absent)):
        count = len(np.unique(sample.patients[rows]))
        if count < FEWEST_PATIENTS:
            return f"{count} {kind} patient{'s' * (count != 1)}, {FEWEST_PATIENTS} needed"
    return None


def _left_out(sample: Sample, labels: dict[str, Any]) -> dict[str, str]:
    reasons = {}
    for name, found in labels.items():
        if name == sample.no_finding:
            reasons[name] = "not a finding"
        elif min(found["positives"], found["n"] - found["positives"]) < ENOUGH:
            reasons[name] = f"fewer than {ENOUGH} images of a class"
    return reasons


def _mean(
    sample: Sample,
    which: NDArray[np.bool_],
    values: Sequence[Sequence[float | None]],
    drawn: Sequence[NDArray[np.float64]],
) -> dict[str, Any]:
    if not which.any():
        return _compared([None, None], [], "no finding has enough images of both classes")
    present = (sample.mask & (sample.truth == 1))[:, which].any(axis=1)
    few = len(np.unique(sample.patients[present])) < FEWEST_PATIENTS
    return _compared(
        [metrics.macro(v for v, one in zip(each, which, strict=True) if one) for each in values],
        [each[:, which].mean(axis=1) for each in drawn],
        f"fewer than {FEWEST_PATIENTS} patients with a finding" if few else None,
    )


def _within(
    first: Sample, second: Sample, averaged: Sequence[str], *, draws: int, seed: int
) -> dict[str, Any] | None:
    """Compare the means over AP and PA; None where a view has too little."""
    found = []
    for sample in (first, second):
        groups = views.frontal(sample, averaged=averaged, draws=draws, seed=seed)
        if len(groups) < len(views.FRONTAL):
            return None
        both = groups[0].averaged & groups[1].averaged
        if not both.any():
            return None
        found.append([group.macro(both) for group in groups])
        certain = all(cells.certain(sample, group, both) for group in groups)
    said = _compared(
        [float(np.mean([value for value, _ in one])) for one in found],
        [np.mean([drawn for _, drawn in one], axis=0) for one in found],
        None if certain else f"fewer than {FEWEST_PATIENTS} patients with a finding in a view",
    )
    return said | {"findings": [n for n, k in zip(first.names, both, strict=True) if k]}
