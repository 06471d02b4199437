"""Labels that somebody stated elsewhere, in a table or a text: what such backends share."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.contract.labels import ANSWERS, LabelSet, State
from cxr.errors import JobError
from cxr.labeling import Job, Status, selection


def check_unread(job: Job) -> None:
    """Refuse a job that readers have answered.

    Raises:
        JobError: It has answers.
    """
    if (job.folder / selection.ANSWERS).exists():
        raise JobError(
            f"job.name: {job.name!r} has answers of readers, which these labels would replace; "
            "choose another"
        )


def done(job: Job) -> Status:
    """Say that all is done: nobody has to be waited for."""
    total = sum(1 for _ in manifest.read(job.input_manifest))
    return Status("Completed", total, total)


def attribute(
    states: Mapping[str, State],
    label_set: LabelSet,
    *,
    level: str,
    reasons: Mapping[str, str | None] | None = None,
    rois: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make the label attribute of one data object that nobody read.

    Args:
        states: Label → state, in the order of the label set.
        label_set: What was asked.
        level: What was labelled, `image` or `study`.
        reasons: Label → why it has its state; None: it was replayed.
        rois: As the manifest holds them.
    """
    return {
        "schema": manifest.SCHEMA,
        "findings": [
            {
                "label": name,
                "state": str(state),
                "probability": None,
                "votes": {str(answer): 0 for answer in ANSWERS},
                "reason": "replayed" if reasons is None else reasons.get(name),
            }
            for name, state in states.items()
        ],
        "rois": list(rois),
        "usable": True,
        "reasons": [],
        "level": level,
        "warnings": label_set.contradictions(states),
        "annotationsFromAllWorkers": [],
    }


def write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Write a CSV beside the job."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
