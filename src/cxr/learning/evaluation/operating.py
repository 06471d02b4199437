"""Thresholds: chosen where nothing is scored, and what they do where it is.

A threshold is chosen on val, or on the pooled out-of-fold predictions of several runs, and never
on the images that are scored. Where too few are present or absent none is chosen: it would be
noise, and look like a result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import points, score
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Scene, Settings
from cxr.learning.metrics import FEWEST_PATIENTS, Bools

ENOUGH = 20
"""Positives, and negatives, below which no threshold is chosen."""


def choose(
    sample: Sample, settings: Settings, *, split: str = "val", minimum: int = ENOUGH
) -> dict[str, dict[str, Any]]:
    """Choose each label's threshold on units that are not the ones to be scored.

    Args:
        sample: With the probabilities of the model that will be asked.
        settings: By what it is chosen, and for which unit.
        split: Said in the result; which units these are.
        minimum: Positives, and negatives, below which none is chosen.

    Returns:
        Label → `threshold` (None where none was chosen), `reason` (why none), `method`, `at`,
        `unit`, `split`, `positives`, `negatives`; plain JSON.

    Raises:
        DataError: A probability is not one.
    """
    probabilities = score.checked(sample.probabilities, sample.truth, sample.mask, sample.names)
    chosen: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(sample.names):
        keep = sample.mask[:, k]
        positives = int((sample.truth[keep, k] == 1).sum())
        negatives = int(keep.sum()) - positives
        threshold, reason = None, None
        if min(positives, negatives) < minimum:
            reason = score.few(positives, negatives, minimum, f" on {split}")
        else:
            column = probabilities[:, k], sample.truth[:, k], keep
            if settings.threshold == "youden" or settings.at is None:
                threshold = points.youden_threshold(*column)
            else:
                threshold = points.target_threshold(*column, of=settings.threshold, at=settings.at)
            reason = f"{_unreached(settings)} on {split}" if threshold is None else None
        chosen[name] = {
            "threshold": threshold,
            "reason": reason,
            "method": settings.threshold,
            "at": settings.at,
            "unit": settings.unit,
            "split": split,
            "positives": positives,
            "negatives": negatives,
        }
    return chosen


def fits(thresholds: Mapping[str, Mapping[str, Any]], settings: Settings) -> bool:
    """Say whether these thresholds were chosen as is asked now."""
    asked = settings.threshold, settings.at, settings.unit
    return bool(thresholds) and all(
        (chosen.get("method"), chosen.get("at"), chosen.get("unit", "image")) == asked
        for chosen in thresholds.values()
    )


def refused(
    thresholds: Mapping[str, Mapping[str, Any]], settings: Settings
) -> dict[str, dict[str, Any]]:
    """Give no threshold where those of the run were chosen otherwise and val is not at hand."""
    how = settings.threshold if settings.at is None else f"{settings.threshold} {settings.at:g}"
    reason = f"the run chose none by {how} for one {settings.unit}; ask its own job, where val is"
    asked = {"method": settings.threshold, "at": settings.at, "unit": settings.unit}
    return {
        name: {**chosen, **asked, "threshold": None, "reason": reason}
        for name, chosen in thresholds.items()
    }


def section(scene: Scene) -> dict[str, Any] | None:
    """Say what a positive and a negative call would mean at the prevalences that were stated.

    By Bayes' rule from sensitivity and specificity, never from the share of positives among these
    images, which somebody chose. Intervals: on the logit scale by the delta method (Mercaldo, Lau
    and Zhou 2007; adjusted where nothing or everything was called right), by effective units.
    """
    stated, sample = scene.settings.prevalence, scene.sample
    if not stated:
        return None
    labels = {}
    for k, name in enumerate(sample.names):
        if name not in stated:
            continue
        label = scene.scored["labels"][name]
        keep, threshold = sample.mask[:, k], label["threshold"]
        said: dict[str, Any] = {"prevalence": stated[name], "reason": label["threshold_reason"]}
        said |= dict.fromkeys(("ppv", "ppv_ci", "npv", "npv_ci"))
        if threshold is not None:
            called = sample.probabilities[:, k] > threshold
            counts = []
            for present in (True, False):
                rows = keep & (sample.truth[:, k] == present)
                counts.append(_share(called[rows] == present, sample.patients[rows]))
            said |= predictive(*counts, prevalence=stated[name])
        labels[name] = said
    return {"method": "delta method on the logit scale", "labels": labels}


@dataclass(frozen=True)
class Share:
    """A sensitivity or specificity.

    Attributes:
        value: 0 to 1, None where there was nobody.
        units: Independent units it was as good as estimated from.
        certain: Patients enough for an interval.
    """

    value: float | None
    units: float
    certain: bool


def _share(hits: Bools, patients: NDArray[np.str_]) -> Share:
    if not hits.size:
        return Share(None, 0.0, certain=False)
    certain = len(np.unique(patients)) >= FEWEST_PATIENTS
    return Share(float(hits.mean()), points.effective(hits, patients), certain)


def predictive(sensitivity: Share, specificity: Share, *, prevalence: float) -> dict[str, Any]:
    """Give PPV and NPV at a prevalence, with 95 % intervals where there are patients enough.

    Args:
        sensitivity: At the threshold.
        specificity: At the threshold.
        prevalence: Among those who will be asked, in (0, 1).

    Returns:
        `ppv`, `ppv_ci`, `npv`, `npv_ci`; None where nobody would be called so.
    """
    se, sp = sensitivity.value, specificity.value
    if se is None or sp is None:
        return dict.fromkeys(("ppv", "ppv_ci", "npv", "npv_ci"))
    odds = prevalence / (1 - prevalence)
    right, wrong = se * odds, 1 - sp
    spared, missed = sp, (1 - se) * odds
    ends: list[list[float] | None] = [None, None]
    if sensitivity.certain and specificity.certain:
        se_near, se_n = _adjusted(se, sensitivity.units)
        sp_near, sp_n = _adjusted(sp, specificity.units)
        middle = np.log([se_near * odds / (1 - sp_near), sp_near / ((1 - se_near) * odds)])
        spread = [
            (1 - se_near) / se_near / se_n + sp_near / (1 - sp_near) / sp_n,
            se_near / (1 - se_near) / se_n + (1 - sp_near) / sp_near / sp_n,
        ]
        half = points.Z * np.sqrt(spread)
        ends = [
            [
                float(1 / (1 + np.exp(half[k] - middle[k]))),
                float(1 / (1 + np.exp(-half[k] - middle[k]))),
            ]
            for k in (0, 1)
        ]
    made: dict[str, Any] = {}
    for key, good, bad, pair in (("ppv", right, wrong, ends[0]), ("npv", spared, missed, ends[1])):
        value = good / (good + bad) if good + bad > 0 else None
        made[key] = value
        made[f"{key}_ci"] = (
            None if value is None or pair is None else [min(value, pair[0]), max(value, pair[1])]
        )
    return made


def _adjusted(share: float, units: float) -> tuple[float, float]:
    """Give a share and its units; 0 and 1 as if two more had hit and two more missed."""
    if 0 < share < 1:
        return share, units
    count = units + points.Z**2
    return (share * units + points.Z**2 / 2) / count, count


def _unreached(settings: Settings) -> str:
    if settings.threshold == "youden":
        return "no better than chance"
    return f"{settings.threshold} {settings.at:g} is not reached better than by chance"
