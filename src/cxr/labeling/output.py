"""What a labeling job leaves behind: output manifest, tables, agreement, quality.

One writer for every backend, so that nobody downstream can tell them apart.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from cxr.contract import consolidate, labels, manifest
from cxr.contract.annotation import Annotation
from cxr.contract.labels import State
from cxr.labeling import Job, agreement, consolidation, dawid_skene, quality
from cxr.labeling.consolidation import Consolidated, Decision
from cxr.labeling.quality import Twice

_IMAGE = ["sop_instance_uid", "source"]
_TABLES = {
    "labels": [*_IMAGE, "usable"],  # then the label names and `warnings`
    "answers": [*_IMAGE, "worker_id", "label", "state", "comment", "skipped"],
    "rois": [
        *_IMAGE, "worker_id", "adjudicator", "id", "label", "type", "state", "length_mm",
        "area_mm2", "spacing", "x_min", "y_min", "x_max", "y_max", "comment",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Extras:
    """What a backend knows beside the answers; empty where it has no such thing.

    Attributes:
        decisions: Source → the adjudicator's decision.
        known: Worker → (known, answered) states per image whose answer is known.
        repeats: Worker → (first, later) states per image read twice.
    """

    decisions: Mapping[str, Decision] = field(default_factory=dict)
    known: Mapping[str, Sequence[Twice]] = field(default_factory=dict)
    repeats: Mapping[str, Sequence[Twice]] = field(default_factory=dict)


def write(
    job: Job,
    lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]],
    *,
    human_annotated: bool,
    label_source: str,
    extras: Extras | None = None,
) -> Path:
    """Consolidate by the job's rule, and write the output manifest with its tables.

    `labels.csv`, `answers.csv`, `rois.csv`, `agreement.json`, `quality.json`; where readers were
    weighed, `probabilities.csv` and `readers.json` too.

    Args:
        job: Whose name is the label attribute name.
        lines: Data object and its label attribute, by majority; None leaves the line as it is.
        human_annotated: Whether people answered in this job.
        label_source: `readers`, `scripted-readers`, `report-text-mined` or `model`.
        extras: Decisions, known answers and repeats.

    Returns:
        The output manifest's path.
    """
    extras, every = extras or Extras(), list(lines)
    collected = {manifest.source(line): label for line, label in every if label is not None}
    made = consolidation.apply(collected, job.consolidation, job.labels, extras.decisions)
    meta = manifest.metadata(
        job.name,
        human_annotated=human_annotated,
        created=datetime.now(UTC),
        **{"label-source": label_source},
    )
    read = any(label.get(consolidate.FROM_ALL) for label in collected.values())

    def merged(line: Mapping[str, Any]) -> dict[str, Any]:
        label = made.attributes.get(manifest.source(line))
        if label is None:  # its label may be an earlier job's, which only collected answers
            return consolidate.completed(line, job.name)
        told = meta | _how(job, line) if read else meta
        return {**line, job.name: label, job.name + manifest.METADATA: told}

    manifest.write(job.output_manifest, (merged(line) for line, _ in every), max_line=None)
    _summaries(job, _tables(job), extras)
    _estimates(job, made)
    return job.output_manifest


def _how(job: Job, line: Mapping[str, Any]) -> dict[str, Any]:
    """Say how readers were asked and consolidated, which nobody knows of a replay.

    What they were shown is the line's to say: a job over a given manifest shows what that holds,
    whatever its settings, and of a patient without an age none was shown.
    """
    return {
        "consolidation": job.consolidation,
        "unit": line.get("unit", "image"),
        "shown": list(line.get("shown", ())),
        "companions": [one["kind"] for one in line.get("companions", ())],
    }


@dataclass(frozen=True)
class _Told:
    """What is counted over the whole job; no more of each answer, of which there may be many.

    Attributes:
        states: Source → worker → label → state.
        timings: Worker → the `timing` of each answer, as documents that hold nothing else.
    """

    states: dict[str, dict[str, Mapping[str, State]]] = field(default_factory=dict)
    timings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, source: str, worker: str, answer: Annotation) -> None:
        self.states.setdefault(source, {})[worker] = answer.findings
        timing = {"timing": answer.document.get("timing")}
        self.timings.setdefault(worker, []).append(timing)


def _tables(job: Job) -> _Told:
    """Write what people open in a spreadsheet, from the manifest just written."""
    told = _Told()
    with ExitStack() as open_files:
        writers = {
            name: csv.writer(open_files.enter_context(_whole(job.folder / f"{name}.csv")))
            for name in _TABLES
        }
        names = [*map(_cell, job.labels.names), "warnings"]
        for name, header in _TABLES.items():
            writers[name].writerow([*header, *names] if name == "labels" else header)
        for line in manifest.read(job.output_manifest):
            found = manifest.labelled(line, job.name)
            if found is None:
                continue
            source, uid = manifest.source(line), str(line.get("sop-instance-uid", ""))
            image = [_cell(uid), _cell(source)]
            states = [found.states.get(n, State.NOT_ASKED) for n in job.labels.names]
            warnings = "; ".join(found.document.get("warnings", ()))
            writers["labels"].writerow([*image, found.usable, *states, _cell(warnings)])
            writers["rois"].writerows([*image, *_roi(roi)] for roi in found.rois)
            for item in found.document.get(consolidate.FROM_ALL, ()):
                worker, content = item["workerId"], item["annotationData"]["content"]
                answer = consolidate.read_any(content, labels.from_data_object(line))
                told.add(source, worker, answer)
                writers["answers"].writerows(
                    [*image, _cell(worker), *row] for row in _answer(answer)
                )
    return told


def _answer(answer: Annotation) -> list[list[object]]:
    if answer.skipped:
        return [["", "", _cell(answer.reason or ""), True]]
    return [
        [_cell(name), state, _cell(answer.comments.get(name, "")), False]
        for name, state in answer.findings.items()
    ]


def _roi(roi: Mapping[str, Any]) -> list[object]:
    size = roi.get("measure") or {}
    return [
        _cell(roi["workerId"]), roi.get("adjudicator", False), _cell(roi["id"]),
        _cell(roi["label"]), roi["type"], roi["state"], size.get("lengthMm", ""),
        size.get("areaMm2", ""), size.get("spacing", ""), *_box(roi), _cell(roi["comment"]),
    ]  # fmt: skip


def _box(roi: Mapping[str, Any]) -> list[float]:
    """Give the box around an ROI, in image pixels; a ring may be too long for a cell."""
    sides = list(zip(*roi["points"], strict=True))
    if roi["type"] == "ellipse":  # it may lie askew, and then reaches beyond the ends of its axes
        middle = [sum(side) / 4 for side in sides]
        half = [math.hypot(s[1] - s[0], s[3] - s[2]) / 2 for s in sides]
        sides = [(m - h, m + h) for m, h in zip(middle, half, strict=True)]
    return [round(end(side), 2) for end in (min, max) for side in sides]


def _summaries(job: Job, told: _Told, extras: Extras) -> None:
    """Write how far readers agree, and how well and fast each one reads."""
    rows = agreement.agreement(told.states, job.labels.names)
    _json(job.folder / "agreement.json", agreement.to_document(rows))
    each = quality.to_document(
        job.labels.findings,
        known=extras.known,
        repeats=extras.repeats,
        documents=told.timings,
    )
    _json(job.folder / "quality.json", each)


def _estimates(job: Job, made: Consolidated) -> None:
    """Write what weighing readers gave, or nothing where they were not weighed."""
    table, readers = job.folder / "probabilities.csv", job.folder / "readers.json"
    if made.told is None:
        for stale in (table, readers):
            stale.unlink(missing_ok=True)  # of a job whose rule was changed
        return
    _json(readers, dawid_skene.to_document(made.told, made.fits))
    with _whole(table) as file:
        writer = csv.writer(file)
        writer.writerow([*_IMAGE, *map(_cell, job.labels.findings)])
        for line in manifest.read(job.output_manifest):
            found = manifest.labelled(line, job.name)
            if found is not None:
                chances = [found.probabilities.get(name, "") for name in job.labels.findings]
                uid = str(line.get("sop-instance-uid", ""))
                writer.writerow([_cell(uid), _cell(manifest.source(line)), *chances])


def _json(path: Path, document: Mapping[str, Any]) -> None:
    with _whole(path) as file:
        file.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """Write a file that is never met half written: a lead may download what is being collected."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as file:
        yield file
    part.replace(path)


def _cell(text: str) -> str:
    # a spreadsheet would run a cell that begins like a formula
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
