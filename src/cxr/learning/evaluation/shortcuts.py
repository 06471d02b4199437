"""What can be had without looking at the lungs.

Two questions. How well do view, age and sex alone predict each finding? Whatever the model does
no better than that, it may do by them. And how much of them does the net know: how well can view,
sex or source be told from its last layer? To know is not to use, but what is not known cannot be
used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import folds, metrics
from cxr.learning.evaluation.sample import Sample
from cxr.learning.metrics import FEWEST_PATIENTS
from cxr.learning.score import ENOUGH

ASKED = ("view", "age", "sex")
NOT_AT_HAND = "the images the run was trained on are not at hand"
MOST_IMAGES = 5000
"""That a probe is fitted on; more hardly change what it finds, and take long."""
_MOST_CLASSES = 10
_SEVERAL = {"image": "images", "study": "studies", "patient": "patients"}
_PENALTY = 0.1
"""Of the probe (C of scikit-learn): a layer has more numbers than a small set has images."""


def metadata_only(
    sample: Sample,
    trained: Sample | None,
    *,
    averaged: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Predict each finding by view, age and sex alone, and compare with the model.

    A logistic regression a finding, fitted on what the run was trained on and scored on the same
    images in the same draws as the headline. What is not known is a value of its own; an age
    that is not known is the mean one.

    Args:
        sample: What is scored, with the model's probabilities.
        trained: What the run was trained on; its probabilities are not looked at. None where it
            is not at hand.
        averaged: The headline's findings.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        `asked` (of view, age and sex, what is known of the images trained on), `trained_images`
        (how many units it was fitted on), `fitted_on` (in words), `findings`, `auroc_macro`,
        `auroc_macro_ci`, `difference` (model less metadata) and `difference_ci`; `labels`: name →
        `auroc`, `auroc_ci`, `difference`, `difference_ci`, `reason`; `reason` where there is
        nothing.
    """
    said: dict[str, Any] = {
        "asked": [], "trained_images": 0, "findings": [], "auroc_macro": None,
        "auroc_macro_ci": None, "difference": None, "difference_ci": None, "labels": {},
        "fitted_on": "", "reason": NOT_AT_HAND,
    }  # fmt: skip
    if trained is None or not len(trained.patients):
        return said
    asked = [name for name in ASKED if _varies(trained, name)]
    if not asked:
        return said | {"reason": "view, age and sex of the images trained on are not known"}
    predicted, reasons = _predict(trained, sample, asked)
    count = len(trained.patients)
    said |= {
        "asked": asked, "trained_images": count, "reason": None,
        "fitted_on": f"the {count} {_SEVERAL[trained.unit]} this run was trained on",
    }  # fmt: skip
    return said | _beside(sample, predicted, reasons, averaged, draws=draws, seed=seed)


def crossed(sample: Sample, *, averaged: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    """Predict each finding by view, age and sex alone where nothing is left to fit on.

    As of pooled out-of-fold predictions, which say something of every patient. Each fifth of the
    patients is predicted by a regression fitted on the others, and counts by its rank within the
    fifth; fifths have like shares of every finding. A fifth with many positives leaves few to be
    fitted on, so by probabilities it would rank below the others, and what metadata do not tell
    below one half. Takes and gives what `metadata_only` does.
    """
    asked = [name for name in ASKED if _varies(sample, name)]
    people = len(np.unique(sample.patients))
    if not asked or people < 2:
        nobody = None if asked else sample
        return metadata_only(sample, nobody, averaged=averaged, draws=draws, seed=seed)
    predicted = np.full(sample.truth.shape, 0.5)
    reasons: list[str | None] = [None] * len(sample.names)
    fifth = _fifths(sample, seed)
    for number in np.unique(fifth):
        others, held_out = np.flatnonzero(fifth != number), np.flatnonzero(fifth == number)
        some, few = _predict(sample.take(others), sample.take(held_out), asked)
        for k in range(len(sample.names)):
            known = sample.mask[held_out, k]
            predicted[held_out[known], k] = _ranks(some[known, k])
        reasons = [one or other for one, other in zip(reasons, few, strict=True)]
    # guessed in one fifth and predicted in others, its patients would rank by their fifth
    predicted[:, [reason is not None for reason in reasons]] = 0.5
    said = {
        "asked": asked, "trained_images": len(sample.patients), "reason": None,
        "fitted_on": "four fifths of these patients, in turn, and scored on the others",
    }  # fmt: skip
    return said | _beside(sample, predicted, reasons, averaged, draws=draws, seed=seed)


def _fifths(sample: Sample, seed: int) -> NDArray[np.intp]:
    """Number each unit's fifth; a patient's units are in one."""
    patients, which = np.unique(sample.patients, return_inverse=True)
    had = np.zeros((len(patients), len(sample.names)), bool)
    np.logical_or.at(had, which, sample.mask & (sample.truth == 1))
    return folds.stratify(had, min(5, len(patients)), seed)[which]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each value's rank from 0 to 1, equal ones the same."""
    _, which, counts = np.unique(values.round(9), return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = (counts.cumsum() - counts / 2) / max(len(values), 1)
    return middle[which]


def _beside(
    sample: Sample,
    predicted: NDArray[np.float64],
    reasons: Sequence[str | None],
    averaged: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Score what metadata predict beside the model."""
    said: dict[str, Any] = {
        "findings": [], "auroc_macro": None, "auroc_macro_ci": None, "difference": None,
        "difference_ci": None, "labels": {},
    }  # fmt: skip
    count = len(sample.names)
    drawn = metrics.bootstrap(  # side by side, so that patients are drawn once for both
        np.concatenate([predicted, sample.probabilities], axis=1),
        np.tile(sample.truth, 2), np.tile(sample.mask, 2), sample.patients,
        draws=draws, seed=seed,
    ).auroc  # fmt: skip
    alone, model = drawn[:, :count], drawn[:, count:]
    mine = metrics.aurocs(predicted, sample.truth, sample.mask)
    its = metrics.aurocs(sample.probabilities, sample.truth, sample.mask)
    for k, name in enumerate(sample.names):
        certain = _certain(sample, k)
        area, theirs = mine[k], its[k]
        gap = None if area is None or theirs is None else theirs - area
        said["labels"][name] = {
            "auroc": area,
            "auroc_ci": _pair(alone[:, k]) if certain else None,
            "difference": gap,
            "difference_ci": _pair(model[:, k] - alone[:, k]) if certain else None,
            "reason": reasons[k],
        }
    which = np.isin(sample.names, averaged)
    if not which.any():
        return said
    ours = metrics.macro(area for area, one in zip(mine, which, strict=True) if one)
    theirs = metrics.macro(area for area, one in zip(its, which, strict=True) if one)
    said |= {"findings": list(averaged), "auroc_macro": ours}
    said["difference"] = None if ours is None or theirs is None else theirs - ours
    if _certain_macro(sample, which):
        mean = alone[:, which].mean(axis=1)
        said["auroc_macro_ci"] = _pair(mean)
        said["difference_ci"] = _pair(model[:, which].mean(axis=1) - mean)
    return said


def _varies(trained: Sample, name: str) -> bool:
    if name == "age":
        known = trained.ages[~np.isnan(trained.ages)]
        return bool(known.size) and bool(known.min() < known.max())
    return len(set(trained.columns.get(name, np.array([""])).tolist())) > 1


def _features(trained: Sample, sample: Sample, asked: Sequence[str]) -> list[NDArray[np.float64]]:
    """Lay out what is known, of both alike: a column per value met in training, age as a curve."""
    parts: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for name in asked:
        if name == "age":
            known = trained.ages[~np.isnan(trained.ages)]
            for one, made in zip((trained, sample), parts, strict=True):
                years = np.where(np.isnan(one.ages), known.mean(), one.ages)
                decades = (years - known.mean()) / 10
                # children and the old may be alike in what the middle-aged are not
                made.append(np.column_stack([decades, decades**2, np.isnan(one.ages)]))
            continue
        values = sorted(set(trained.columns[name].tolist()))
        for one, made in zip((trained, sample), parts, strict=True):
            made.append((one.columns[name][:, None] == np.array(values)).astype(np.float64))
    return [np.concatenate(made, axis=1) for made in parts]


def _predict(
    trained: Sample, sample: Sample, asked: Sequence[str]
) -> tuple[NDArray[np.float64], list[str | None]]:
    known, unknown = _features(trained, sample, asked)
    predicted = np.full(sample.truth.shape, 0.5)
    reasons: list[str | None] = []
    for k in range(len(sample.names)):
        rows = trained.mask[:, k]
        present = trained.truth[rows, k] == 1
        few = min(present.sum(), (~present).sum()) < ENOUGH
        # a finding hardly met in training cannot be guessed: the same for all, AUROC 0.5
        reasons.append(f"fewer than {ENOUGH} images of a class in training" if few else None)
        if not few:
            predicted[:, k] = _fitted(known[rows], present, unknown, penalty=1.0)[:, 1]
    return predicted, reasons


def _fitted(
    known: NDArray[Any], classes: NDArray[Any], unknown: NDArray[Any], *, penalty: float
) -> NDArray[np.float64]:
    """Fit on some, and give the probability of each class, sorted, for others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
    return np.asarray(model.fit(known, classes).predict_proba(unknown), np.float64)


def probe(
    sample: Sample,
    embedding: NDArray[np.floating[Any]],
    trained: Sample | None,
    trained_embedding: NDArray[np.floating[Any]] | None,
    *,
    columns: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Say how well view, sex or source can be told from what the net makes of an image.

    A logistic regression on the net's last layer, fitted on images trained on; of several
    values each against the rest, averaged. Values of fewer than ten patients are left out.

    Args:
        sample: What is scored; image by image.
        embedding: (N, D) of its images.
        trained: What the run was trained on, or None.
        trained_embedding: (M, D) of those.
        columns: Names of columns of both samples, such as view, sex, scanner.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        `columns`: name → `values`, `auroc`, `auroc_ci`, `reason` (why there is none);
        `trained_images`, `numbers` (D), and `reason` where there is nothing.
    """
    said: dict[str, Any] = {
        "columns": {}, "trained_images": 0, "numbers": int(embedding.shape[1]),
        "reason": NOT_AT_HAND,
    }  # fmt: skip
    if trained is None or trained_embedding is None or not len(trained_embedding):
        return said
    said |= {"reason": None, "trained_images": len(trained_embedding)}
    for name in columns:
        said["columns"][name] = _told(
            sample, embedding, trained, trained_embedding, name, draws=draws, seed=seed
        )
    return said


def enough_for_probe(count: int, seed: int) -> NDArray[np.intp]:
    """Choose which of `count` images trained on a probe is fitted on: all, or `MOST_IMAGES`."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST_IMAGES])


def _told(
    sample: Sample,
    embedding: NDArray[Any],
    trained: Sample,
    trained_embedding: NDArray[Any],
    name: str,
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    said: dict[str, Any] = {"values": [], "auroc": None, "auroc_ci": None, "reason": None}
    there = trained.columns.get(name, np.array([""] * len(trained.patients)))
    here = sample.columns.get(name, np.array([""] * len(sample.patients)))
    values = [
        value
        for value in sorted(set(there.tolist()) & set(here.tolist()) - {""})
        if all(
            len(np.unique(whose[texts == value])) >= FEWEST_PATIENTS
            for texts, whose in ((there, trained.patients), (here, sample.patients))
        )
    ]
    if not 2 <= len(values) <= _MOST_CLASSES:
        met = "fewer than two values" if len(values) < 2 else f"{len(values)} values"
        return said | {"reason": f"{met} of {FEWEST_PATIENTS} patients or more"}
    known, asked = np.isin(there, values), np.isin(here, values)
    predicted = _fitted(trained_embedding[known], there[known], embedding[asked], penalty=_PENALTY)
    truth = (here[asked][:, None] == np.array(values)).astype(np.float64)
    if len(values) == 2:  # the second is the first turned round
        predicted, truth = predicted[:, 1:], truth[:, 1:]
    drawn = metrics.bootstrap(
        predicted, truth, None, sample.patients[asked], draws=draws, seed=seed
    ).auroc
    areas = metrics.aurocs(predicted, truth)
    return said | {
        "values": values, "auroc": metrics.macro(areas), "auroc_ci": _pair(drawn.mean(axis=1)),
    }  # fmt: skip


def _certain(sample: Sample, k: int) -> bool:
    of = sample.patients
    return all(
        len(np.unique(of[sample.mask[:, k] & (sample.truth[:, k] == value)])) >= FEWEST_PATIENTS
        for value in (0, 1)
    )


def _certain_macro(sample: Sample, which: NDArray[np.bool_]) -> bool:
    present = (sample.mask & (sample.truth == 1))[:, which].any(axis=1)
    return len(np.unique(sample.patients[present])) >= FEWEST_PATIENTS


def _pair(values: NDArray[np.float64]) -> list[float] | None:
    ends = metrics.interval(values)
    return None if ends is None else list(ends)
