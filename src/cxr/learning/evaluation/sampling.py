"""From a job's material and what was predicted to the units that are scored."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import answers as answering
from cxr.learning import predictions
from cxr.learning.answers import Answers
from cxr.learning.evaluation import headers, units
from cxr.learning.evaluation.columns import Columns, ages
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Settings, Unit
from cxr.learning.material import Material
from cxr.learning.metrics import Floats
from cxr.learning.predictor import RunRecord

_T = TypeVar("_T", bound=np.generic)
_log = logging.getLogger(__name__)


def images(
    material: Material,
    chosen: NDArray[np.intp],
    predicted: Floats | None,
    record: RunRecord,
    settings: Settings,
    columns: Columns,
) -> Sample:
    """Gather the truth of some images and what is known of them.

    Args:
        material: Of the job, labels in the order of the run (`align`).
        chosen: (N,) rows of it.
        predicted: (N, L), or None where nothing was: then they are NaN.
        record: Of the run.
        settings: Which columns are wanted.
        columns: The table of metadata.
    """
    instances = [material.cohort.instances[row] for row in chosen]
    mask = material.mask[chosen]
    return Sample(
        names=record.label_names,
        no_finding=record.no_finding,
        probabilities=(
            np.full(mask.shape, np.nan) if predicted is None else predictions.rounded(predicted)
        ),
        truth=np.where(mask, material.truth[chosen], 0).astype(np.float64),
        mask=mask,
        uncertain=material.uncertain[chosen],
        patients=np.array(_numbered(material, chosen), np.str_),
        columns=columns.texts(instances, settings.subgroups),
        ages=ages(instances),
    )


def pooled(sample: Sample, material: Material, chosen: NDArray[np.intp], unit: Unit) -> Sample:
    """Make of images the units that are asked for.

    Args:
        sample: Of `images`.
        material: As there.
        chosen: As there.
        unit: `image` changes nothing.
    """
    return units.made(sample, [material.cohort.examples[row] for row in chosen], unit)


def answers(
    material: Material,
    chosen: NDArray[np.intp],
    names: Sequence[str],
    told_by: tuple[Path, str | None] | None,
) -> Answers | None:
    """Read what each reader said of some images; None where no person labelled them.

    Args:
        material: Of the job.
        chosen: (N,) rows of it.
        names: Labels, in the order of the run.
        told_by: Output manifest and label attribute, or None.
    """
    if told_by is None or not material.cohort.human_annotated:
        return None
    sources = [material.cohort.examples[row].source for row in chosen]
    return answering.read(told_by[0], sources, names, told_by[1])


def _numbered(material: Material, chosen: NDArray[np.intp]) -> list[str]:
    """Name patients by what their images show, so that draws go alike under any pseudonyms."""
    pixels, patients = material.pixel_hashes, material.patient_ids
    first: dict[str, str] = {}
    for row in chosen:
        first[patients[row]] = min(pixels[row], first.get(patients[row], pixels[row]))
    number = {patient: f"{n:09d}" for n, patient in enumerate(sorted(first, key=first.__getitem__))}
    return [number[patients[row]] for row in chosen]


def align(material: Material, record: RunRecord) -> Material:
    """Put a job's labels into the order of the run's; a label the job lacks is masked.

    Labels that go by another name in the job's label set are found as in `headers.columns_of`.

    Raises:
        DataError: They have no label in common.
    """
    names = material.cohort.names
    if names == record.label_names:
        return material
    taken = headers.columns_of(material.cohort.labels, record.label_names)
    missing = [name for name, k in zip(record.label_names, taken, strict=True) if k < 0]
    if len(missing) == len(record.label_names):
        raise DataError(
            f"expected labels of the run ({', '.join(record.label_names)}), "
            f"met a job with {', '.join(names)}"
        )
    if missing:
        _log.warning("the job has no label %s: not scored", ", ".join(missing))
    return replace(
        material,
        targets=_columns(material.targets, taken),
        weights=_columns(material.weights, taken),
        truth=_columns(material.truth, taken),
        mask=_columns(material.mask, taken),
        uncertain=_columns(material.uncertain, taken),
    )


def _columns(table: NDArray[_T], taken: Sequence[int]) -> NDArray[_T]:
    """Take columns of (N, L) by number; zeros for -1."""
    return np.where(np.array(taken) >= 0, table[:, taken], table.dtype.type(0))
