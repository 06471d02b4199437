"""From images to studies or patients: one probability and one truth a unit.

Probabilities are averaged: unlike the highest, the mean does not rise with the number of images
somebody has. A finding is present in a unit if it is in any image, absent if it is absent in all
that are known, and masked where none is known.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import predictions
from cxr.learning.evaluation.columns import band
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Unit
from cxr.learning.examples import Example


def made(images: Sample, examples: Sequence[Example], unit: Unit) -> Sample:
    """Make of images the units that are asked for.

    Args:
        images: N of them.
        examples: (N,) whose and of which study they are.
        unit: `image` changes nothing.
    """
    if unit == "image":
        return images
    if unit == "patient":
        return pool(images, [example.patient_id for example in examples], unit)
    # an image without study is its own
    studies = [(e.patient_id, e.study_instance_uid or e.sop_instance_uid) for e in examples]
    return pool(images, ["\0".join(study) for study in studies], unit)


def pool(images: Sample, groups: Sequence[str] | NDArray[Any], unit: str) -> Sample:
    """Make one unit of the images of each group.

    A column has the value of its images; where they differ, all of them, as in "AP + PA". An age
    is the mean.

    Args:
        images: N of them.
        groups: (N,) the study or patient of each; never kept. No group has two patients.
        unit: What a group is called.

    Returns:
        Units in the order in which they come first; probabilities rounded as predictions.csv
        has those of images.
    """
    _, first, which = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    which = np.argsort(order)[which]
    first = first[order]
    count = len(first)
    known = _sums(images.mask, which, count) > 0
    present = _sums(images.mask & (images.truth == 1), which, count) > 0
    doubted = _sums(images.uncertain, which, count) > 0
    share = _sums(images.probabilities, which, count) / np.bincount(which)[:, None]
    aged = ~np.isnan(images.ages)
    with np.errstate(invalid="ignore"):
        ages = np.bincount(which[aged], images.ages[aged], count) / np.bincount(
            which[aged], minlength=count
        )
    columns = {name: _joined(texts, which, count) for name, texts in images.columns.items()}
    if "age" in columns:
        mixed = np.char.find(columns["age"], " + ") >= 0
        columns["age"] = np.where(mixed, [band(years) for years in ages], columns["age"])
    return replace(
        images,
        probabilities=predictions.rounded(share),
        truth=present.astype(np.float64),
        mask=known,
        uncertain=doubted & ~known,
        patients=images.patients[first],
        columns=columns,
        ages=ages,
        unit=unit,
    )


def _sums(values: NDArray[Any], which: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, which, values)
    return total


def _joined(texts: NDArray[np.str_], which: NDArray[np.intp], count: int) -> NDArray[np.str_]:
    met: list[set[str]] = [set() for _ in range(count)]
    for unit, text in zip(which.tolist(), texts.tolist(), strict=True):
        met[unit].add(text)
    return np.array([" + ".join(sorted(values - {""})) for values in met], np.str_)
