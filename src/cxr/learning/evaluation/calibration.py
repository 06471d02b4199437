"""Whether a probability is one: of those called 30 % likely, do 30 % have the finding?

Temperature scaling (Guo 2017) divides logits by one number a finding, Platt scaling (1999) also
adds one; both are fitted on val, before a threshold is chosen. Neither changes who ranks above
whom by a finding's own logit, so AUROC stays as it is; but for parents and No Finding, which are
then compared with other findings (`consistency`) and may rank otherwise.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr.learning import consistency, metrics, points, predictor, resampling, score
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Scene
from cxr.learning.metrics import FEWEST_PATIENTS, Bools, Floats
from cxr.learning.predictor import RunRecord

ENOUGH = 20
"""Positives, and negatives, below which nothing is fitted."""
MOST_BINS, IN_A_BIN = 10, 20
"""Bins are of equal counts: the deciles, or fewer where a bin would hold less than 20 units."""
_STEPS = 100

Method = Literal["none", "temperature", "platt"]


def fit(
    logits: Floats,
    truth: Floats,
    mask: Bools,
    names: tuple[str, ...],
    method: Method,
    *,
    split: str = "val",
) -> dict[str, dict[str, Any]]:
    """Fit each label's calibration on images that are not the ones to be scored.

    Args:
        logits: (N, L)
        truth: (N, L)
        mask: (N, L)
        names: (L,)
        method: `none` fits nothing.
        split: Said in the result; which images these are.

    Returns:
        Label → `method` (`none` where nothing was fitted), `slope`, `intercept`, `reason` (why
        nothing), `split`, `positives`, `negatives`; plain JSON. A probability is then the sigmoid
        of slope × logit + intercept; with `temperature` the intercept is 0, the slope 1 / T.
    """
    if method == "none":
        return {}
    fitted = {}
    for k, name in enumerate(names):
        keep = mask[:, k]
        z, y = logits[keep, k].astype(np.float64), truth[keep, k] == 1
        positives, negatives = int(y.sum()), int((~y).sum())
        slope, intercept, reason = 1.0, 0.0, None
        if min(positives, negatives) < ENOUGH:
            reason = score.few(positives, negatives, ENOUGH, f" on {split}")
        else:
            slope, intercept = optimum(z, y, shift=method == "platt")
            if slope <= 0:
                slope, intercept, reason = 1.0, 0.0, f"no better than chance on {split}"
        fitted[name] = {
            "method": "none" if reason else method,
            "slope": slope,
            "intercept": intercept,
            "reason": reason,
            "split": split,
            "positives": positives,
            "negatives": negatives,
        }
    return fitted


def optimum(logits: NDArray[np.float64], present: Bools, *, shift: bool) -> tuple[float, float]:
    """Find slope and intercept of the least cross-entropy, by Newton's method.

    Targets are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n− + 2), so that classes which val happens
    to separate do not make the slope infinite.

    Args:
        logits: (N,)
        present: (N,) some of each.
        shift: Whether there is an intercept; else it is 0.
    """
    count = present.sum()
    wanted = np.where(present, (count + 1) / (count + 2), 1 / (present.size - count + 2))
    columns = np.stack([logits, np.ones_like(logits)][: 1 + shift], axis=1)
    at = np.zeros(columns.shape[1])
    loss = _cross_entropy(columns @ at, wanted)
    for _ in range(_STEPS):
        p = _sigmoid(columns @ at)
        slope = columns.T @ (p - wanted)
        bend = (columns * (p * (1 - p))[:, None]).T @ columns
        # a constant logit has no slope of its own: the smallest step that solves is taken
        step = np.linalg.lstsq(bend, slope, rcond=None)[0]
        for _ in range(_STEPS):
            tried = _cross_entropy(columns @ (at - step), wanted)
            if tried <= loss:
                break
            step /= 2
        at, gained, loss = at - step, loss - tried, tried
        if gained <= 1e-14 * max(loss, 1.0):
            break
    return float(at[0]), float(at[1]) if shift else 0.0


def section(scene: Scene) -> dict[str, Any]:
    """Say how well probabilities are calibrated, before and after what was fitted.

    Returns:
        `labels`: name → `fitted` (see `fit`), `before`, `after`; `reranked`, the labels that are
        compared with others after what was fitted, so that it may change their AUROC.
    """
    record = scene.predictor.record
    fitted = record.calibration if scene.plain is not None else {}
    after = describe(scene.sample, draws=scene.draws, seed=scene.seed)
    before = (
        dict.fromkeys(after)
        if scene.plain is None
        else describe(scene.plain, draws=scene.draws, seed=scene.seed)
    )
    return {
        "binning": "equal counts",
        "most_bins": MOST_BINS,
        "fewest_in_a_bin": IN_A_BIN,
        "reranked": _compared(record) if fitted else [],
        "labels": {
            name: {
                "fitted": dict(fitted[name]) if name in fitted else None,
                "before": before[name],
                "after": after[name],
            }
            for name in after
        },
    }


def _compared(record: RunRecord) -> list[str]:
    """Name what consistency makes of several labels' outputs: parents, and No Finding."""
    label_set = predictor.label_set(record) if record.consistent else None
    if label_set is None:
        return []
    rules = consistency.rules(label_set)
    columns = {parent for parent, _ in rules.parents}
    if rules.no_finding is not None and rules.excluded:
        columns.add(rules.no_finding)
    return [name for k, name in enumerate(record.label_names) if k in columns]


def describe(sample: Sample, *, draws: int, seed: int) -> dict[str, dict[str, Any] | None]:
    """Measure each label's calibration; None where no unit has a truth.

    Args:
        sample: What is scored.
        draws: Of the bootstrap over patients, for the Brier scores.
        seed: Of the bootstrap.
    """
    wrong = (sample.probabilities - sample.truth) ** 2
    drawn = resampling.means(wrong, sample.mask, sample.patients, draws=draws, seed=seed)
    return {name: _label(sample, k, drawn[:, k]) for k, name in enumerate(sample.names)}


def _label(sample: Sample, k: int, drawn: NDArray[np.float64]) -> dict[str, Any] | None:
    keep = sample.mask[:, k]
    if not keep.any():
        return None
    p, y, whose = sample.probabilities[keep, k], sample.truth[keep, k] == 1, sample.patients[keep]
    bins = reliability(p, y, whose)
    fewest = min(len(np.unique(whose[y])), len(np.unique(whose[~y])))
    ends = metrics.interval(drawn) if fewest >= FEWEST_PATIENTS else None
    return {
        "n": int(y.size),
        "positives": int(y.sum()),
        "prevalence": float(y.mean()),
        "mean_probability": float(p.mean()),
        "brier": brier(p, y),
        "brier_ci": None if ends is None else list(ends),
        "brier_of_prevalence": float(y.mean() * (1 - y.mean())),
        "ece": float(sum(b["n"] * abs(b["observed"] - b["predicted"]) for b in bins) / y.size),
        "bins": bins,
    }


def brier(probabilities: Floats, present: Bools) -> float:
    """Give the mean squared distance of probability and truth: 0 is perfect.

    >>> brier(np.array([0.0, 0.5]), np.array([False, True]))
    0.125
    """
    return float(np.mean((probabilities - present) ** 2))


def reliability(
    probabilities: NDArray[np.float64], present: Bools, patients: NDArray[np.str_]
) -> list[dict[str, Any]]:
    """Set mean probability against the share that is present, in bins of about equal counts.

    Equal probabilities share a bin, so there may be fewer bins than quantiles.

    Args:
        probabilities: (N,)
        present: (N,)
        patients: (N,)

    Returns:
        Bins from low to high: `low`, `high` (the least and greatest probability in it), `n`,
        `positives`, `predicted`, `observed`, `observed_ci` (Wilson's, widened for several units
        of a patient; None below 10 patients).
    """
    count = int(np.clip(probabilities.size // IN_A_BIN, 1, MOST_BINS))
    edges = np.quantile(probabilities, np.linspace(0, 1, count + 1)[1:-1])
    which = np.searchsorted(edges, probabilities)
    made = []
    for place in np.unique(which):
        rows = which == place
        p, hits, whose = probabilities[rows], present[rows], patients[rows]
        sure = len(np.unique(whose)) >= FEWEST_PATIENTS
        made.append(
            {
                "low": float(p.min()),
                "high": float(p.max()),
                "n": int(hits.size),
                "positives": int(hits.sum()),
                "predicted": float(p.mean()),
                "observed": float(hits.mean()),
                "observed_ci": list(points.proportion_interval(hits, whose)) if sure else None,
            }
        )
    return made


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = np.exp(-np.logaddexp(0, -z))
    return made


def _cross_entropy(z: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, z) - wanted * z).sum())
