"""What a labeling job leaves behind: output manifest, tables, agreement.

One writer for every backend, so that nobody downstream can tell them apart.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import State
from cxr.labeling import Job, agreement


def write(
    job: Job,
    lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]],
    *,
    human_annotated: bool,
    label_source: str,
) -> Path:
    """Write the output manifest with `labels.csv`, `answers.csv` and `agreement.json` beside it.

    Args:
        job: Whose name is the label attribute name.
        lines: Data object and its label attribute; None where nobody answered, which leaves the
            line as it is.
        human_annotated: Whether people answered in this job.
        label_source: `readers`, `scripted-readers`, `report-text-mined` or `model`.

    Returns:
        The output manifest's path.
    """
    created = datetime.now(UTC)

    def merged() -> Iterator[dict[str, Any]]:
        for data_object, label in lines:
            line = dict(data_object)
            if label is not None:
                line[job.name] = dict(label)
                line[job.name + manifest.METADATA] = manifest.metadata(
                    job.name,
                    human_annotated=human_annotated,
                    created=created,
                    **{"label-source": label_source},
                )
            yield line

    manifest.write(job.output_manifest, merged(), max_line=None)
    _tables(job)
    return job.output_manifest


def _tables(job: Job) -> None:
    """Write what people open in a spreadsheet, from the manifest just written."""
    votes: dict[str, dict[str, Mapping[str, State]]] = {}
    with (
        (job.folder / "labels.csv").open("w", newline="") as labels_file,
        (job.folder / "answers.csv").open("w", newline="") as answers_file,
    ):
        per_image, per_answer = csv.writer(labels_file), csv.writer(answers_file)
        per_image.writerow(
            ["sop_instance_uid", "source", "usable", *map(_cell, job.labels.names), "warnings"]
        )
        per_answer.writerow(
            ["sop_instance_uid", "source", "worker_id", "label", "state", "comment", "skipped"]
        )
        for line in manifest.read(job.output_manifest):
            found = manifest.labelled(line, job.name)
            if found is None:
                continue
            source, uid = manifest.source(line), str(line.get("sop-instance-uid", ""))
            image = [_cell(uid), _cell(source)]
            states = [found.states.get(n, State.NOT_ASKED) for n in job.labels.names]
            warnings = "; ".join(found.document.get("warnings", ()))
            per_image.writerow([*image, found.usable, *states, _cell(warnings)])
            votes[source] = {}
            for item in found.document.get("annotationsFromAllWorkers", ()):
                worker, content = item["workerId"], item["annotationData"]["content"]
                answer = consolidate.read_content(content, labels.from_data_object(line))
                votes[source][worker] = answer.findings
                row = [*image, _cell(worker)]
                if answer.skipped:
                    per_answer.writerow([*row, "", "", _cell(answer.reason or ""), True])
                for name, state in answer.findings.items():
                    comment = _cell(answer.comments.get(name, ""))
                    per_answer.writerow([*row, _cell(name), state, comment, False])
    rows = agreement.agreement(votes, job.labels.names)
    text = json.dumps(agreement.to_document(rows), indent=2)
    (job.folder / "agreement.json").write_text(text + "\n")


def _cell(text: str) -> str:
    # a spreadsheet would run a cell that begins like a formula
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
