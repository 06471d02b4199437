"""How well each reader does by the others' consensus, as a point beside the model's ROC curve.

Measured against a consensus that holds her own answer, a reader agrees with herself. So each one
is measured against the others alone, and so is the model beside her, on the same images.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics, points
from cxr.learning.answers import ABSENT, MISSING, PRESENT, UNCERTAIN, Answers
from cxr.learning.evaluation.sample import Sample
from cxr.learning.metrics import FEWEST_PATIENTS


def readers(sample: Sample, answers: Answers) -> dict[str, Any] | None:
    """Give each reader's sensitivity and specificity by the majority of the others.

    Images where the others have no majority, or a majority of doubt, are left out, and so are
    those where the reader herself could not say; these are counted.

    Args:
        sample: N images.
        answers: Of the same images and labels.

    Returns:
        `readers`, how many; `labels`: finding → letter → `n`, `positives`, `uncertain` (images
        in which the reader could not say, of those the others agree on), `sensitivity`,
        `specificity`, their intervals, `model_auroc` and `model_sensitivity` (at the reader's
        specificity) on the same images, and `reason` where there are too few patients. None
        where fewer than two readers saw any image.
    """
    seen = (answers.values != MISSING).any(axis=(1, 2))
    if seen.sum() < 2:
        return None
    said: dict[str, Any] = {"readers": int(seen.sum()), "labels": {}}
    for k, name in enumerate(sample.names):
        if name == sample.no_finding:
            continue
        votes = answers.values[:, :, k]
        found = {
            letter: _reader(sample, votes, w, k)
            for w, letter in enumerate(answers.readers)
            if seen[w]
        }
        said["labels"][name] = {letter: one for letter, one in found.items() if one is not None}
    return said


def consensus(votes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Take what more than half of those who answered said of each image.

    Args:
        votes: (W, N) as in `Answers`.

    Returns:
        (N,) `MISSING` where nobody answered or nothing has a majority.

    >>> consensus(np.array([[2, 2, 0], [2, 0, -1], [0, 1, -1]])).tolist()
    [2, -1, 0]
    """
    answered = (votes != MISSING).sum(axis=0)
    result = np.full(votes.shape[1], MISSING, np.int8)
    for state in (ABSENT, UNCERTAIN, PRESENT):
        result[2 * (votes == state).sum(axis=0) > answered] = state
    return result


def _reader(sample: Sample, votes: NDArray[np.int8], w: int, k: int) -> dict[str, Any] | None:
    truth, mine = consensus(np.delete(votes, w, axis=0)), votes[w]
    agreed = np.isin(truth, (ABSENT, PRESENT))
    rows = agreed & np.isin(mine, (ABSENT, PRESENT))
    present = truth == PRESENT
    if not rows.any():
        return None
    said: dict[str, Any] = {
        "n": int(rows.sum()),
        "positives": int((rows & present).sum()),
        "uncertain": int((agreed & (mine == UNCERTAIN)).sum()),
        "reason": None,
        **dict.fromkeys((
            "sensitivity", "sensitivity_ci", "specificity", "specificity_ci",
            "model_auroc", "model_sensitivity",
        )),
    }  # fmt: skip
    classes = [rows & present, rows & ~present]
    if any(len(np.unique(sample.patients[of])) < FEWEST_PATIENTS for of in classes):
        return said | {
            "reason": f"fewer than {FEWEST_PATIENTS} patients whom the others call "
            "positive, or negative",
            "n": None,
            "positives": None,
            "uncertain": None,
        }
    for key, of, hits in zip(
        ("sensitivity", "specificity"), classes, (mine == PRESENT, mine == ABSENT), strict=True
    ):
        said[key] = float(hits[of].mean())
        said[f"{key}_ci"] = list(points.proportion_interval(hits[of], sample.patients[of]))
    column = sample.probabilities[:, k], present.astype(np.float64), rows
    said["model_auroc"] = metrics.auroc(*column)
    curve = points.roc_curve(*column)
    if curve is not None:
        # what the model finds with no more false alarms than the reader raises
        last = np.searchsorted(curve.false_positive_rate, 1 - said["specificity"] + 1e-12, "right")
        said["model_sensitivity"] = float(curve.sensitivity[last - 1])
    return said
