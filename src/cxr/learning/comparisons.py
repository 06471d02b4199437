"""Two runs' predictions → which images they are compared on, and what is written of it.

The joint is predictions.csv: whatever wrote it, one net or the pooled folds of an ensemble, is
compared. No net is loaded.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.errors import RunError
from cxr.learning import lineage, metrics, predictions, targets
from cxr.learning.evaluation import comparing, headers, shortcuts, units
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Unit
from cxr.learning.examples import Cohort
from cxr.learning.predictions import Predictions
from cxr.learning.predictor import RunRecord, load_run
from cxr.pacs import Pacs

SCHEMA = "cxr-comparison/1"
FEWEST_OTHERS = 50
"""Images of other patients from which on a metadata-only model is fitted on them alone."""
TUNED = "val"


@dataclass(frozen=True)
class Candidate:
    """One of the runs that are compared.

    Attributes:
        folder: Of the run.
        record: Of the run.
        said: Its predictions.
        scored_on: What these images are called in its metrics.json, or "".
        own: They are of the job it was trained on.
    """

    folder: Path
    record: RunRecord
    said: Predictions
    scored_on: str
    own: bool


@dataclass(frozen=True)
class Pair:
    """Two runs on the same units.

    Attributes:
        first: With the first run's probabilities.
        second: With the second's.
        others: The job's images of other patients, for what metadata alone predict.
        images: How many images the units are made of.
        left_out: Why → images that were not compared.
        doubts: What cannot be told any more of whom the runs learned from.
    """

    first: Sample
    second: Sample
    others: Sample
    images: int
    left_out: Mapping[str, int]
    doubts: Sequence[str] = ()


def load(run_folder: Path, job: str) -> Candidate:
    """Read what a run said of a job's images.

    Args:
        run_folder: Of the run.
        job: The run's own, whose held-out images it said something of; or another one it was
            scored on.

    Raises:
        RunError: It said nothing of that job.
        DataError: Its predictions cannot be read.
    """
    record = load_run(run_folder)
    place = run_folder if record.job == job else run_folder / "evaluations" / job
    if not (place / "predictions.csv").exists():
        advice = (
            "the run did not finish"
            if record.job == job
            else f"score it first: python -m cxr.evaluate run={record.name} data.job={job}"
        )
        raise RunError(f"runs: {record.name!r} has no predictions of job {job!r}; {advice}")
    scored = place / "metrics.json"
    return Candidate(
        run_folder,
        record,
        predictions.read(place / "predictions.csv"),
        str(json.loads(scored.read_text()).get("split", "")) if scored.exists() else "",
        own=record.job == job,
    )


def same_job(first: RunRecord, second: RunRecord) -> str:
    """Give the job both were trained on.

    Raises:
        RunError: They were trained on different ones.
    """
    if first.job != second.job:
        raise RunError(
            f"runs: expected two runs of one job, met {first.name!r} of {first.job!r} and "
            f"{second.name!r} of {second.job!r}; score both on one and name it with data.job=…"
        )
    return first.job


def pair(
    first: Candidate, second: Candidate, cohort: Cohort, pacs: Pacs, *, unit: Unit = "image"
) -> Pair:
    """Put two runs' predictions and the truth into one order of rows.

    An image is compared if both said something of it and neither learned from its patient,
    whichever of her images it was, and neither did a run whose weights it began with. Truth is
    what both runs' policies call known.

    Args:
        first: One run.
        second: The other.
        cohort: Of the job.
        pacs: Says whose the images were that the runs learned from.
        unit: What is scored.

    Raises:
        RunError: Their labels differ, or no image is left.
    """
    names = _names(first, second)
    patient_of = {e.sop_instance_uid: e.patient_id for e in cohort.examples}
    seen: set[str] = set()
    doubts: list[str] = []
    for run in (first, second):
        patients, unsure = _seen(run, patient_of, pacs)
        seen |= patients
        doubts += unsure
    said = [set(run.said.sop_instance_uids) for run in (first, second)]
    left_out: Counter[str] = Counter()
    left_out["only one of the runs predicted it"] = len(said[0] ^ said[1])
    chosen: list[int] = []
    compared = said[0] & said[1]
    left_out["without label now, or not in the PACS"] = len(compared - patient_of.keys())
    for row, example in enumerate(cohort.examples):
        if example.sop_instance_uid in compared:
            if example.patient_id in seen:
                left_out["one of the runs learned from its patient"] += 1
            else:
                chosen.append(row)
    if not chosen:
        raise RunError(
            f"runs: no image was kept from both {first.record.name!r} and "
            f"{second.record.name!r}; train both with one seed, data.folds and data.fold, or "
            "score both on another job"
        )
    whose = {cohort.examples[row].patient_id for row in chosen}
    others = [row for row, e in enumerate(cohort.examples) if e.patient_id not in whose]
    policies = [targets.parse(run.record.policy) for run in (first, second)]
    truth = headers.truth(cohort, policies, names)

    def units_of(rows: Sequence[int], run: Candidate | None) -> Sample:
        said = None if run is None else _probabilities(run, cohort, rows, names)
        images = headers.sample(cohort, truth, names, rows, said)
        return units.made(images, [cohort.examples[row] for row in rows], unit)

    return Pair(
        first=units_of(chosen, first),
        second=units_of(chosen, second),
        others=units_of(others, None),
        images=len(chosen),
        left_out=dict(+left_out),
        doubts=doubts,
    )


def _seen(
    run: Candidate, patient_of: Mapping[str, str], pacs: Pacs
) -> tuple[frozenset[str], Sequence[str]]:
    """Say whom a run learned from, and what is not known of it.

    What it is scored on is compared, and warned of.
    """
    if run.record.members and run.scored_on != "external":
        return frozenset(), ()  # each image was predicted by members that had not seen it
    found = lineage.learned(run.folder, run.folder.parent, pacs, patient_of)
    return found.trained if run.scored_on == TUNED else found.trained | found.tuned, found.doubts


def _names(first: Candidate, second: Candidate) -> tuple[str, ...]:
    one, other = first.said.names, second.said.names
    if odd := [name for name in (*one, *other) if (name in one) != (name in other)]:
        raise RunError(
            f"runs: expected the same labels, but {odd[0]!r} is only in "
            f"{(first if odd[0] in one else second).record.name!r}"
        )
    return one


def _probabilities(
    run: Candidate, cohort: Cohort, rows: Sequence[int], names: Sequence[str]
) -> NDArray[np.float64]:
    row_of = {uid: row for row, uid in enumerate(run.said.sop_instance_uids)}
    order = [row_of[cohort.examples[row].sop_instance_uid] for row in rows]
    columns = [run.said.names.index(name) for name in names]
    return run.said.probabilities[np.ix_(order, columns)]


def metadata(two: Pair, averaged: Sequence[str], *, draws: int, seed: int) -> dict[str, Any]:
    """Say what view, age and sex alone predict on the images compared, beside both runs.

    Returns:
        `auroc_macro`, `auroc_macro_ci`, `asked`, `reason`, `fitted_on` (a sentence), and under
        `first` and `second` the `difference` of each run to it and its `ci`.
    """
    said = []
    for sample in (two.first, two.second):
        if len(two.others.patients) >= FEWEST_OTHERS:
            said.append(
                shortcuts.metadata_only(
                    sample, two.others, averaged=averaged, draws=draws, seed=seed
                )
            )
            fitted_on = f"{len(two.others.patients)} images of the job's other patients"
        else:
            said.append(shortcuts.crossed(sample, averaged=averaged, draws=draws, seed=seed))
            fitted_on = said[-1]["fitted_on"]
    return {
        **{key: said[0][key] for key in ("auroc_macro", "auroc_macro_ci", "asked", "reason")},
        "fitted_on": fitted_on,
        **{
            name: {"difference": one["difference"], "ci": one["difference_ci"]}
            for name, one in zip(("first", "second"), said, strict=True)
        },
    }


def document(
    first: Candidate,
    second: Candidate,
    cohort: Cohort,
    pacs: Pacs,
    job: str,
    *,
    unit: Unit,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Compare two runs; what comparison.json holds.

    Args:
        first: One run.
        second: The other; differences are this one less the first.
        cohort: Of the job.
        pacs: Says whose the images were that the runs learned from.
        job: Its name.
        unit: What is scored.
        draws: Of the paired bootstrap over patients.
        seed: Of the bootstrap.

    Raises:
        RunError: As `pair`.
    """
    two = pair(first, second, cohort, pacs, unit=unit)
    said = comparing.compare(two.first, two.second, draws=draws, seed=seed)
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "first": _named(first),
        "second": _named(second),
        "job": job,
        "label_source": cohort.label_source,
        "human_annotated": cohort.human_annotated,
        "unit": unit,
        "images": two.images,
        "units": len(two.first.patients),
        "patients": len(np.unique(two.first.patients)),
        "left_out": dict(two.left_out),
        "warnings": [
            f"{run.record.name} is scored on val, where its checkpoint was chosen: it is flattered"
            for run in (first, second)
            if run.scored_on == TUNED
        ] + [f"{doubt}; they are compared" for doubt in two.doubts],
        **said,
        "metadata_only": metadata(two, said["averaged"], draws=draws, seed=seed),
        "bootstrap": {
            "unit": "patient", "method": "percentile, paired", "level": metrics.LEVEL,
            "draws": draws, "seed": seed, "fewest_patients": metrics.FEWEST_PATIENTS,
        },
    }  # fmt: skip


def _named(run: Candidate) -> dict[str, Any]:
    record = run.record
    return {
        "name": record.name, "run_id": record.run_id, "created": record.created,
        "seed": record.seed, "members": list(record.members),
        "manifest_sha256": record.manifest_sha256,
    }  # fmt: skip
