"""What the uncertain labels could have done to a result: all of them absent, or all present.

Where somebody looked and could not say, the truth is masked; that quietly makes a test easier, so
the result is told with the doubtful ones on either side too.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics, score
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Scene

SIDES = {"as_absent": 0.0, "as_present": 1.0}


def section(scene: Scene) -> dict[str, Any]:
    """Count what was masked as uncertain, and score with it taken as absent and as present."""
    sample, scored = scene.sample, scene.scored
    counts = sample.uncertain.sum(axis=0)
    said: dict[str, Any] = {
        "masked": int(counts.sum()),
        "labels": {name: {"masked": int(n)} for name, n in zip(sample.names, counts, strict=True)},
    }
    if not counts.any():
        return said
    averaged = [sample.names.index(name) for name in scored["averaged"]]
    for key, side in SIDES.items():
        taken = decided(sample, side)
        drawn = metrics.bootstrap(
            taken.probabilities, taken.truth, taken.mask, taken.patients,
            draws=scene.draws, seed=scene.seed,
        )  # fmt: skip
        for k, name in enumerate(sample.names):
            if counts[k]:
                said["labels"][name][key] = score.label_figures(
                    taken.probabilities[:, k], taken.truth[:, k], taken.mask[:, k],
                    taken.patients, drawn.auroc[:, k], drawn.ap[:, k],
                )  # fmt: skip
        said[key] = _macro(taken, averaged, drawn, certain=scored["auroc_macro_ci"] is not None)
    return said


def decided(sample: Sample, side: float) -> Sample:
    """Take every uncertain truth as present (1) or absent (0)."""
    return replace(
        sample,
        truth=np.where(sample.uncertain, side, sample.truth),
        mask=sample.mask | sample.uncertain,
    )


def _macro(
    taken: Sample, averaged: list[int], drawn: metrics.Draws, *, certain: bool
) -> dict[str, Any]:
    """Average over the findings of the headline, so that the three macros are of the same."""
    made: dict[str, Any] = {}
    column: dict[str, NDArray[np.float64]] = {"auroc": drawn.auroc, "ap": drawn.ap}
    how = {"auroc": metrics.auroc, "ap": metrics.average_precision}
    for key, values in column.items():
        made[f"{key}_macro"] = metrics.macro(
            how[key](taken.probabilities[:, k], taken.truth[:, k], taken.mask[:, k])
            for k in averaged
        )
        ends = metrics.interval(values[:, averaged].mean(axis=1)) if averaged else None
        made[f"{key}_macro_ci"] = list(ends) if ends and certain else None
    return made
