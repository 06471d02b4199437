"""Labels that exist already, as a labeling job: the same output manifest, with nobody reading.

Two forms of CSV are read: names joined by `|` in one column (NIH ChestX-ray14), and one column
per label holding 1, 0, -1 or nothing (MIMIC-CXR and CheXpert: present, absent, uncertain, not
mentioned). The states are kept apart as they came; what they become is training's to say.
"""

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.contract.labels import LabelSet, State, follow_no_finding
from cxr.contract.signing import Keys
from cxr.errors import JobError, LabelError
from cxr.labeling import Existing, Job, Status, boxes, output, rows, stated
from cxr.pacs import Pacs
from cxr.pacs.folder import Origin

_log = logging.getLogger(__name__)
_KEY_COLUMNS = {
    "sop_instance_uid": ("sop_instance_uid", "SOPInstanceUID", "sop_uid"),
    "study": ("study_instance_uid", "StudyInstanceUID", "study_uid", "study_id"),
    "path": ("path", "Path", "file", "filename", "Image Index"),
}
_LIST_COLUMNS = ("finding_labels", "Finding Labels", "findings", "labels")
_VALUES = {
    "1": State.PRESENT,
    "0": State.ABSENT,
    "-1": State.UNCERTAIN,
    "": State.NOT_MENTIONED,
}


@dataclass(frozen=True)
class Table:
    """Existing labels by key.

    Attributes:
        states: Key → label name → state, in the order of the label set.
        unknown: Name that the label set does not have → rows that give it.
        never_named: Labels that no row of a list names: absent, or never looked for.
    """

    states: Mapping[str, Mapping[str, State]]
    unknown: Mapping[str, int]
    never_named: Sequence[str] = ()


class ReplayLabeling:
    """A LabelingBackend that answers from a CSV."""

    def __init__(
        self, *, pacs: Pacs, keys: Keys | None = None, origins: Iterable[Origin] | None = None
    ) -> None:
        """Take the PACS, and under which file names its images came; nothing is signed.

        Args:
            pacs: Where they are.
            keys: Not needed.
            origins: None: as the PACS itself knows, if it is a folder.
        """
        self._pacs, self._origins = pacs, origins
        self._states: Mapping[str, Mapping[str, State]] = {}
        self._boxes: Mapping[str, Sequence[Mapping[str, Any]]] = {}

    def start(self, job: Job, manifest: Path) -> None:
        """Read the CSV, and keep those lines of the input manifest that it has a row for.

        Raises:
            JobError: No CSV, a column is missing, a value is none of 1, 0, -1 and blank, two rows
                contradict each other, or no row is about any image.
        """
        if job.existing is None:
            raise JobError("expected job.answers=PATH, the CSV of existing labels, met none")
        stated.check_unread(job)
        table = read(job.existing, job.labels)
        if job.existing.boxes:
            self._boxes = boxes.read(job.existing.boxes, job.labels)
        self._warn(job, job.existing, table)
        self._keep_matching(job, job.existing, manifest, table)

    def status(self, job: Job) -> Status:
        """Say that all is done: nobody has to be waited for."""
        return stated.done(job)

    def collect(self, job: Job) -> Path:
        """Write the output manifest."""
        if job.existing is None or not self._states:
            raise JobError("start the job before collecting it")
        existing = job.existing

        def lines() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
            for line in manifest.read(job.input_manifest):
                states = self._states[manifest.source(line)]
                level = "study" if existing.key == "study" else "image"
                rois = self._boxes.get(str(line.get("sop-instance-uid")), ())
                yield line, stated.attribute(states, job.labels, level=level, rois=rois)

        return output.write(job, lines(), human_annotated=False, label_source=existing.label_source)

    def close(self) -> None:
        """Do nothing; nothing runs."""

    def _warn(self, job: Job, existing: Existing, table: Table) -> None:
        """Say what of the table was not understood, or may mean less than it seems to."""
        if table.unknown:
            path = job.folder / "unknown_labels.csv"
            stated.write_table(path, ["label", "rows"], table.unknown.items())
            _log.warning(
                "%d names are not in label set %s: %s", len(table.unknown), job.labels.name, path
            )
        if table.never_named:
            _log.warning(
                "no row names %s: taken as %s everywhere",
                ", ".join(table.never_named), existing.unlisted,
            )  # fmt: skip

    def _keep_matching(self, job: Job, existing: Existing, path: Path, table: Table) -> None:
        every = list(manifest.read(path))
        keys = rows.match(table.states, existing.key, every, self._pacs, self._origins)
        lines = [line for line in every if manifest.source(line) in keys]
        if not lines:
            raise JobError(
                f"{existing.path}: expected rows about images of the job, met {len(table.states)} "
                f"rows about others; check job.key={existing.key} and what was ingested"
            )
        self._states = {source: table.states[key] for source, key in keys.items()}
        manifest.write(job.input_manifest, lines)
        if len(lines) < len(every):
            _log.warning("%d images have no row in %s", len(every) - len(lines), existing.path)
        missing = sorted(set(table.states) - set(keys.values()))
        if missing:
            unmatched = job.folder / "unmatched.csv"
            stated.write_table(unmatched, [existing.key], ([key] for key in missing))
            _log.warning(
                "%d rows are about no image of the job (not ingested, or of a view left out): %s",
                len(missing), unmatched,
            )  # fmt: skip


def read(existing: Existing, label_set: LabelSet) -> Table:
    """Read a CSV of existing labels.

    Raises:
        JobError: As `ReplayLabeling.start`; the message names file, line and column.
    """
    try:
        with existing.path.open(newline="", encoding="utf-8-sig") as file:
            return _rows(csv.DictReader(file), existing, label_set)
    except OSError as error:
        raise JobError(f"{existing.path}: expected a CSV file, met {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(f"{existing.path}: expected a CSV file in UTF-8, met {error}") from error


def _rows(reader: "csv.DictReader[str]", existing: Existing, label_set: LabelSet) -> Table:
    header = list(reader.fieldnames or ())
    key_column = _column(existing.key_column, _KEY_COLUMNS[existing.key], header, existing)
    columns = _label_columns(header, label_set, existing)
    list_column = existing.column
    if list_column is None and not columns:
        list_column = _column(None, _LIST_COLUMNS, header, existing)
    elif list_column is not None:
        _column(list_column, (), header, existing)
    states: dict[str, Mapping[str, State]] = {}
    unknown: Counter[str] = Counter()
    for row in reader:
        place = f"{existing.path}:{reader.line_num}"
        if None in row or None in row.values():
            raise JobError(f"{place}: expected {len(header)} cells as in the header, met another")
        key = (row.get(key_column) or "").strip()
        if not key:
            raise JobError(f'{place}: expected a {existing.key} in "{key_column}", met none')
        if list_column is not None:
            said = _listed(row.get(list_column) or "", existing.unlisted, label_set, unknown)
        else:
            said = _valued(row, columns, label_set, place)
        if states.setdefault(key, said) != said:
            raise JobError(f"{place}: expected one row about {key!r}, met another that differs")
    never = [
        name
        for name in label_set.findings
        if list_column and all(said[name] is not State.PRESENT for said in states.values())
    ]
    return Table(states, dict(unknown), never)


def _column(
    given: str | None, usual: tuple[str, ...], header: list[str], existing: Existing
) -> str:
    wanted = (given,) if given else usual
    for name in wanted:
        if name in header:
            return name
    raise JobError(
        f"{existing.path}: expected a column {' or '.join(repr(n) for n in wanted)}, "
        f"met {', '.join(header) or 'an empty file'}; name it with job.key_column or job.column"
    )


def _label_columns(header: list[str], label_set: LabelSet, existing: Existing) -> dict[str, str]:
    columns: dict[str, str] = {}
    for column in header:
        try:
            name = label_set.canonical(column)
        except LabelError:
            continue  # patient, study, age and the like
        if name in columns:
            raise JobError(
                f"{existing.path}: expected one column for {name!r}, met {columns[name]!r} "
                f"and {column!r}"
            )
        columns[name] = column
    return columns


def _listed(
    text: str, unlisted: str, label_set: LabelSet, unknown: Counter[str]
) -> dict[str, State]:
    named: set[str] = set()
    others = False
    for name in filter(None, (part.strip() for part in text.split("|"))):
        try:
            named.add(label_set.canonical(name))
        except LabelError:
            unknown[name] += 1
            others = True
    said = {n: State.PRESENT if n in named else State(unlisted) for n in label_set.names}
    if label_set.no_finding and label_set.no_finding not in named and not others:
        # such a list may be empty where nothing was found, and never say so
        said[label_set.no_finding] = follow_no_finding(label_set, said)
    return said


def _valued(
    row: Mapping[str, str | None], columns: Mapping[str, str], label_set: LabelSet, place: str
) -> dict[str, State]:
    said = {}
    for name in label_set.names:
        if name not in columns:
            said[name] = State.NOT_ASKED
            continue
        text = (row.get(columns[name]) or "").strip()
        state = _VALUES.get(text.removesuffix(".0") or text)
        if state is None:
            raise JobError(
                f'{place}: expected 1, 0, -1 or nothing in "{columns[name]}", met "{text}"'
            )
        said[name] = state
    return said
