"""What is settled on val once a net is trained: its calibration first, then thresholds."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxr.learning.evaluation import calibration, operating, sampling
from cxr.learning.evaluation.columns import Columns
from cxr.learning.evaluation.scene import Settings
from cxr.learning.material import Material
from cxr.learning.predictor import Predictor, RunRecord

AT_ONCE = 256  # images in memory; a multiple of what the predictor takes at once


def probabilities(
    predictor: Predictor, material: Material, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Predict a few images at a time, so that no split need fit into memory.

    Args:
        predictor: Of the run.
        material: Of the job.
        chosen: (N) rows of `material`.

    Returns:
        (N, L)
    """
    return predictor.probabilities(logits(predictor, material, chosen)).astype(np.float64)


def logits(
    predictor: Predictor, material: Material, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Ask a few images at a time, before calibration; takes and gives as `probabilities`."""
    parts = [np.empty((0, len(predictor.record.label_names)))]
    for start in range(0, len(chosen), AT_ONCE):
        parts.append(predictor.logits(material.gather(chosen[start : start + AT_ONCE])))
    return np.concatenate(parts)


def tune(
    predictor: Predictor, material: Material, val: NDArray[np.intp], settings: Settings
) -> RunRecord:
    """Fit the calibration on val, then choose thresholds there; the predictor's record with them.

    Args:
        predictor: Of the run; answers by what was fitted from then on.
        material: Of the job the run was trained on.
        val: Rows of val.
        settings: What is fitted, by what thresholds are chosen and for which unit.
    """
    record, said = predictor.record, logits(predictor, material, val)
    sample = sampling.images(material, val, None, record, Settings(), Columns())
    fitted = calibration.fit(
        said, sample.truth, sample.mask, record.label_names, settings.calibration
    )
    predictor.record = replace(record, calibration=fitted)
    predictor.record = _chosen(predictor, material, val, settings, said)
    return predictor.record


def retune(
    predictor: Predictor,
    material: Material,
    val: NDArray[np.intp] | None,
    settings: Settings,
) -> RunRecord:
    """Keep the run's thresholds if they are what is asked; else choose them anew, or have none.

    Args:
        predictor: Of the run.
        material: Of the job that is scored.
        val: Rows of val, where it is the run's own job.
        settings: By what they are chosen, for which unit.
    """
    record = predictor.record
    if operating.fits(record.thresholds, settings):
        return record
    if val is not None:
        said = logits(predictor, material, val)
        return _chosen(predictor, material, val, settings, said)
    return replace(record, thresholds=operating.refused(record.thresholds, settings))


def _chosen(
    predictor: Predictor,
    material: Material,
    val: NDArray[np.intp],
    settings: Settings,
    said: NDArray[np.float64],
) -> RunRecord:
    record, predicted = predictor.record, predictor.probabilities(said)
    sample = sampling.images(material, val, predicted, record, Settings(), Columns())
    sample = sampling.pooled(sample, material, val, settings.unit)
    return replace(record, thresholds=operating.choose(sample, settings))
