"""From predictions and targets to metrics.json: every figure, or null and the reason.

Probabilities are rounded as predictions.csv holds them before anything is counted, so whoever
recomputes a figure from that file gets the same one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.errors import DataError
from cxr.learning import metrics, points, predictions
from cxr.learning.metrics import FEWEST_PATIENTS, Bools, Floats

SCHEMA = "cxr-metrics/1"
ENOUGH = 5
"""Positives, and negatives, a finding needs to count in the macro average: below, one image
more or less on the right side moves the finding's AUROC by a tenth and the average with it."""


def score(
    probabilities: Floats,
    targets: Floats,
    mask: Bools,
    *,
    names: Sequence[str],
    patient_ids: Sequence[str],
    no_finding: str | None,
    thresholds: Mapping[str, Mapping[str, Any]],
    label_source: str,
    human_annotated: bool,
    split: str = "test",
    unit: str = "image",
    images: int | None = None,
    enough: int = ENOUGH,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Make what metrics.json holds.

    Args:
        probabilities: (N, L)
        targets: (N, L)
        mask: (N, L) False where there is no target.
        names: (L,)
        patient_ids: (N,) never written.
        no_finding: The label reported but never averaged, or None.
        thresholds: As `operating.choose` gives; a label may be missing.
        label_source: Who said what is present: readers, report-text-mined, model.
        human_annotated: A person looked at these images to label them.
        split: Which images these are.
        unit: What a row is: `image`, `study` or `patient`.
        images: How many they are of; None where a row is one.
        enough: Positives, and negatives, a finding needs to be averaged in.
        draws: Of the bootstrap over patients.
        seed: Of the bootstrap.

    Raises:
        DataError: There are no images, or a probability is not one.
    """
    probabilities = checked(probabilities, targets, mask, names)
    patients = np.asarray(patient_ids)
    drawn = metrics.bootstrap(probabilities, targets, mask, patients, draws=draws, seed=seed)
    labels = {}
    for k, name in enumerate(names):
        column = probabilities[:, k], targets[:, k], mask[:, k], patients
        labels[name] = label_figures(*column, drawn.auroc[:, k], drawn.ap[:, k])
        labels[name] |= _operating_point(*column, thresholds.get(name, {}))
    left_out = _left_out(labels, no_finding, enough)
    averaged = [k for k, name in enumerate(names) if name not in left_out]
    with_any = patients[(mask & (targets == 1))[:, averaged].any(axis=1)]
    certain = len(np.unique(with_any)) >= FEWEST_PATIENTS
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "split": split,
        "unit": unit,
        "units": len(patients),
        "images": len(patients) if images is None else images,
        "patients": len(np.unique(patients)),
        "label_source": label_source,
        "human_annotated": human_annotated,
        **_macro(labels, averaged, drawn, certain=certain),
        "averaged": [names[k] for k in averaged],
        "left_out": left_out,
        "enough": enough,
        "bootstrap": _bootstrap(draws, seed),
        "labels": labels,
    }


def _bootstrap(draws: int, seed: int) -> dict[str, Any]:
    return {
        "unit": "patient",
        "method": "percentile",
        "level": metrics.LEVEL,
        "draws": draws,
        "seed": seed,
        "fewest_patients": FEWEST_PATIENTS,
    }


def label_figures(
    p: Floats, y: Floats, keep: Bools, patients: NDArray[Any], auroc: Floats, ap: Floats
) -> dict[str, Any]:
    """Count one label, and score it, with intervals where there are patients enough.

    Args:
        p: (N,)
        y: (N,)
        keep: (N,) where there is a target.
        patients: (N,)
        auroc: (D,) of the bootstrap's draws.
        ap: (D,)
    """
    present = keep & (y == 1)
    groups = {
        "positive": len(np.unique(patients[present])),
        "negative": len(np.unique(patients[keep & ~present])),
    }
    few = [
        f"{count} {kind} patient{'s' * (count != 1)}, {FEWEST_PATIENTS} needed"
        for kind, count in groups.items()
        if count < FEWEST_PATIENTS
    ]
    return {
        "n": int(keep.sum()),
        "positives": int(present.sum()),
        "negatives": int(keep.sum() - present.sum()),
        "masked": int((~keep).sum()),
        "positive_patients": groups["positive"],
        "negative_patients": groups["negative"],
        "auroc": metrics.auroc(p, y, keep),
        "auroc_ci": None if few else _pair(metrics.interval(auroc)),
        "ap": metrics.average_precision(p, y, keep),
        "ap_ci": None if few else _pair(metrics.interval(ap)),
        "ci_reason": f"no interval: {few[0]}" if few else None,
        "one_class_draws": int(np.isnan(auroc).sum()),
    }


def _operating_point(
    p: Floats, y: Floats, keep: Bools, patients: NDArray[Any], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    threshold = chosen.get("threshold")
    found = spared = None
    intervals: list[list[float] | None] = [None, None]
    if threshold is not None:
        found, spared = points.sensitivity_specificity(p, y, keep, threshold=threshold)
        for k, rows in enumerate((keep & (y == 1), keep & (y == 0))):
            if len(np.unique(patients[rows])) >= FEWEST_PATIENTS:
                hits = (p[rows] > threshold) == (k == 0)
                intervals[k] = _pair(points.proportion_interval(hits, patients[rows]))
    return {
        "threshold": threshold,
        "threshold_split": chosen.get("split"),
        "threshold_method": chosen.get("method"),
        "threshold_at": chosen.get("at"),
        "threshold_reason": chosen.get("reason") or (None if chosen else "none was chosen"),
        "sensitivity": found,
        "sensitivity_ci": intervals[0],
        "specificity": spared,
        "specificity_ci": intervals[1],
    }


def _left_out(
    labels: Mapping[str, Mapping[str, Any]], no_finding: str | None, enough: int
) -> dict[str, str]:
    reasons = {}
    for name, figures in labels.items():
        if name == no_finding:
            reasons[name] = "not a finding"
        elif min(figures["positives"], figures["negatives"]) < enough:
            reasons[name] = few(figures["positives"], figures["negatives"], enough)
    return reasons


def _macro(
    labels: Mapping[str, Mapping[str, Any]],
    averaged: Sequence[int],
    drawn: metrics.Draws,
    *,
    certain: bool,
) -> dict[str, Any]:
    """Average over findings, in the data and in each draw; a draw lacking one is left out."""
    figures = [list(labels.values())[k] for k in averaged]
    result: dict[str, Any] = {}
    for key, values in (("auroc", drawn.auroc), ("ap", drawn.ap)):
        # the mean of a row with NaN is NaN: every draw averages the same findings
        means = values[:, averaged].mean(axis=1) if averaged else np.empty(0)
        result[f"{key}_macro"] = metrics.macro(label[key] for label in figures)
        result[f"{key}_macro_ci"] = _pair(metrics.interval(means)) if certain else None
        result["macro_one_class_draws"] = int(np.isnan(means).sum())
    return result


def curves(
    probabilities: Floats, targets: Floats, mask: Bools, *, names: Sequence[str]
) -> dict[str, points.Roc | None]:
    """Give each label's ROC curve for the report, from probabilities rounded as `score` does."""
    probabilities = checked(probabilities, targets, mask, names)
    return {
        name: points.roc_curve(probabilities[:, k], targets[:, k], mask[:, k])
        for k, name in enumerate(names)
    }


def metric_name(split: str, metric: str, label: str | None = None) -> str:
    """Name a metric as MLflow takes it, in val and in test: odd characters become underscores.

    >>> metric_name("test", "auroc", "Pleural Effusion")
    'test/auroc/Pleural Effusion'
    >>> metric_name("test", "auroc", "a/b (left)")
    'test/auroc/a_b _left_'
    """
    if label is None:
        return f"{split}/{metric}"
    plain = re.sub(r"[^\w\-. ]", "_", label)
    return f"{split}/{metric}/{plain if plain.strip('. ') else '_'}"


def flat(scored: Mapping[str, Any]) -> dict[str, float]:
    """Give the figures of an evaluation under MLflow's names; what is None is left out.

    Beside the headline and its interval (`…_ci_low`, `…_ci_high`): the same within one view and by
    view, age and sex alone.
    """
    split = scored["split"]
    figures: dict[str, float | None] = {}
    for key in ("auroc_macro", "ap_macro"):
        figures |= _with_ends(metric_name(split, key), scored, key)
    # what stands beside the headline on paper stands beside it in a table of runs too
    for section in _BESIDE:
        name = metric_name(split, f"{section}/auroc_macro")
        figures |= _with_ends(name, scored.get(section) or {}, "auroc_macro")
    for name, label in scored["labels"].items():
        for key in ("auroc", "ap", "sensitivity", "specificity"):
            figures[metric_name(split, key, name)] = label[key]
    for name, label in scored.get("calibration", {}).get("labels", {}).items():
        for key in ("brier", "ece"):
            figures[metric_name(split, key, name)] = label["after"] and label["after"][key]
    return {name: float(value) for name, value in figures.items() if value is not None}


_BESIDE = ("within_view", "metadata_only")


def _with_ends(name: str, figures: Mapping[str, Any], key: str) -> dict[str, float | None]:
    low, high = figures.get(f"{key}_ci") or (None, None)
    return {name: figures.get(key), f"{name}_ci_low": low, f"{name}_ci_high": high}


def write_metrics(path: Path, scored: Mapping[str, Any]) -> None:
    """Write metrics.json, whole or not at all."""
    predictions.replace_text(
        path, json.dumps(scored, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def checked(
    probabilities: Floats, targets: Floats, mask: Bools, names: Sequence[str]
) -> NDArray[np.float64]:
    """Give probabilities as predictions.csv holds them.

    Raises:
        DataError: There are none, or one is not a probability.
    """
    if not probabilities.shape == targets.shape == mask.shape == (len(targets), len(names)):
        raise ValueError(
            f"expected (N, {len(names)}) three times, met {probabilities.shape}, "
            f"{targets.shape}, {mask.shape}"
        )
    if not len(probabilities):
        raise DataError("expected images to score, met none")
    wrong = ~((probabilities >= 0) & (probabilities <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"expected probabilities between 0 and 1, met {probabilities[row, column]} "
            f"for {names[column]!r} ({wrong.any(axis=1).sum()} of {len(wrong)} images)"
        )
    return predictions.rounded(probabilities)


def few(positives: int, negatives: int, minimum: int, where: str = "") -> str:
    """Say which class has fewer than are needed, and how many."""
    kind, count = ("positive", positives) if positives < minimum else ("negative", negatives)
    return f"{count} {kind}{'s' * (count != 1)}{where}, {minimum} needed"


def _pair(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else list(ends)
