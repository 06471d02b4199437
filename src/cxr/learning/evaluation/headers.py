"""From labelled examples to a sample, without decoding a pixel.

For what asks no net: predictions that were written before, and what metadata alone predict.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr.contract.labels import LabelSet
from cxr.errors import DataError, LabelError, ManifestError
from cxr.learning import examples, folds, targets
from cxr.learning.evaluation import units
from cxr.learning.evaluation.columns import Columns, ages
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Unit
from cxr.learning.examples import Cohort
from cxr.learning.predictor import RunRecord
from cxr.learning.targets import Policy, Truth
from cxr.pacs import Pacs


def truth(cohort: Cohort, policies: Sequence[Policy], names: Sequence[str]) -> Truth:
    """Say what is true of each example, where all policies call it known, and the same.

    Args:
        cohort: N examples.
        policies: Of the runs that are scored.
        names: (L,) labels, or their aliases in the cohort's label set; one it lacks is masked.
    """
    states = [example.states for example in cohort.examples]
    known = [targets.to_truth(states, policy, cohort.labels) for policy in policies]
    column = columns_of(cohort.labels, names)
    here = np.array(column) >= 0
    # where policies differ about silence, nothing is known that both runs can be held to
    alike = np.all([one.mask & (one.values == known[0].values) for one in known], axis=0)
    return Truth(
        known[0].values[:, column],
        alike[:, column] & here,
        known[0].uncertain[:, column] & here,
    )


def columns_of(label_set: LabelSet, names: Sequence[str]) -> list[int]:
    """Find a run's labels in a job's label set, by alias, case or underscores; -1 for none.

    Args:
        label_set: Of the job.
        names: (L,) of the run.
    """
    found = []
    for name in names:
        try:
            found.append(label_set.names.index(label_set.canonical(name)))
        except LabelError:
            found.append(-1)
    return found


def sample(
    cohort: Cohort,
    known: Truth,
    names: tuple[str, ...],
    chosen: Sequence[int],
    probabilities: NDArray[np.float64] | None = None,
    columns: Columns | None = None,
) -> Sample:
    """Make a sample of some examples, with sex, age and view.

    Args:
        cohort: Of the job.
        known: From `truth`.
        names: As there.
        chosen: Rows of the cohort.
        probabilities: (len(chosen), L), or None where nothing was predicted: then they are NaN.
        columns: A table that goes before what the images say of themselves.
    """
    rows = np.array(chosen, np.intp)
    instances = [cohort.instances[row] for row in chosen]
    mask = known.mask[rows]
    _, which = np.unique(
        np.array([cohort.examples[row].patient_id for row in chosen], np.str_), return_inverse=True
    )
    nothing = np.full(mask.shape, np.nan)
    return Sample(
        names=names,
        no_finding=cohort.no_finding,
        probabilities=nothing if probabilities is None else probabilities,
        truth=np.where(mask, known.values[rows], 0).astype(np.float64),
        mask=mask,
        uncertain=known.uncertain[rows],
        patients=np.char.mod("%09d", which),
        columns=(columns or Columns()).texts(instances, ()),
        ages=ages(instances),
    )


def trained_on(
    root: Path,
    run_folder: Path,
    record: RunRecord,
    pacs: Pacs,
    columns: Columns,
    unit: Unit = "image",
) -> Sample | None:
    """Find what a run was trained on, where its job and the images' headers are still here.

    Args:
        root: The data root.
        run_folder: Of the run.
        record: Of the run.
        pacs: Where the images are.
        columns: A table that goes before what the images say of themselves.
        unit: What is scored.

    Returns:
        None where the job, the run's split or all of its images are gone.
    """
    path = root / "jobs" / record.job / "manifests" / "output" / "output.manifest"
    attribute = record.settings.get("data.attribute", "None")
    try:
        splits = folds.load(run_folder / "split.csv")
        cohort = examples.read(path, pacs, None if attribute == "None" else attribute)
    except (DataError, ManifestError):
        return None
    return trained_among(cohort, splits, record, columns, unit)


def trained_among(
    cohort: Cohort,
    splits: Mapping[str, str],
    record: RunRecord,
    columns: Columns,
    unit: Unit = "image",
) -> Sample | None:
    """Take what a run was trained on out of its job; None where nothing of it is there.

    Args:
        cohort: Of the run's job.
        splits: SOPInstanceUID → split.
        record: Of the run.
        columns: A table that goes before what the images say of themselves.
        unit: What is scored.
    """
    rows = [k for k, e in enumerate(cohort.examples) if splits.get(e.sop_instance_uid) == "train"]
    if not rows:
        return None
    known = truth(cohort, [targets.parse(record.policy)], record.label_names)
    images = sample(cohort, known, record.label_names, rows, columns=columns)
    return units.made(images, [cohort.examples[row] for row in rows], unit)
