"""Thresholds: chosen where nothing is scored, and what they do where it is.

A threshold is chosen on val, or on the pooled out-of-fold predictions of several runs, and never
on the images that are scored. Where too few are present or absent none is chosen: it would be
noise, and look like a result.
"""

from collections.abc import Mapping
from typing import Any

from cxr.learning import points, score
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Settings

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


def _unreached(settings: Settings) -> str:
    if settings.threshold == "youden":
        return "no better than chance"
    return f"{settings.threshold} {settings.at:g} is not reached better than by chance"
