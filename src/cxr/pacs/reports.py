"""Report texts beside the images: linked to their studies, in a private file of their own.

Texts name patients, physicians and what nobody should read in a log: they are kept here, and
nowhere else. One study has one text; a newer one replaces it.
"""

import csv
import hashlib
import os
import re
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cxr import progress, wal
from cxr.errors import AbsentError, PacsError
from cxr.images.dicom import Instance
from cxr.pacs import Pacs, report_texts, studies
from cxr.pacs.folder import FolderPacs, Origin
from cxr.pacs.report_texts import Text

_BATCH = 1000
_THREADS = 8
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What may be asked a PACS: nothing with a wildcard, or that is several names."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    study TEXT PRIMARY KEY, source TEXT NOT NULL, text TEXT NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID
"""
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_MOST_TEXT = 16
"""Characters of StudyID and AccessionNumber (PS3.5 6.2, SH)."""
_KEYWORDS = {"uid": "StudyInstanceUID", "study": "StudyID", "accession": "AccessionNumber"}


@dataclass(frozen=True)
class Report:
    """The text of one study.

    Attributes:
        study_instance_uid: Of the study.
        source: The file or row it came from.
        text: As it came, line ends apart.
        sha256: Of the text.
    """

    study_instance_uid: str
    source: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Study:
    """What is known of a study that a text may be about."""

    uid: str
    patient_id: str
    paths: tuple[str, ...] = ()


@dataclass
class Linked:
    """What became of texts.

    Attributes:
        new: Studies that had none.
        replaced: Studies that had another text.
        same: Studies that had this text.
        unlinked: Source, and why.
    """

    new: int = 0
    replaced: int = 0
    same: int = 0
    unlinked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def linked(self) -> int:
        """Texts that belong to a study."""
        return self.new + self.replaced + self.same


class Reports:
    """The store; a context manager that closes its file.

    Args:
        path: `<root>/reports/reports.sqlite`; made if it is not there, for its owner alone.

    Raises:
        PacsError: It cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            wal.switch(self._db)
            # a text that is withdrawn leaves nothing in pages that are free
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise PacsError(f"{path}: expected a file of report texts, met {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, study_instance_uid: str) -> Report | None:
        """Give the report of a study, or None."""
        row = self._db.execute(
            "SELECT study, source, text, sha256 FROM reports WHERE study = ?", (study_instance_uid,)
        ).fetchone()
        return Report(*row) if row else None

    def studies(self) -> Iterator[str]:
        """Give the StudyInstanceUIDs that have a report."""
        yield from (row[0] for row in self._db.execute("SELECT study FROM reports ORDER BY study"))

    def count(self) -> int:
        """Count the reports."""
        return int(self._db.execute("SELECT count(*) FROM reports").fetchone()[0])

    def put(self, reports: Sequence[Report], into: Linked) -> None:
        """Keep reports, all or none, and count what each one was."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for report in reports:
                known = self._db.execute(
                    "SELECT sha256 FROM reports WHERE study = ?", (report.study_instance_uid,)
                ).fetchone()
                if known and known[0] == report.sha256:
                    into.same += 1
                    continue
                into.new += known is None
                into.replaced += known is not None
                self._db.execute(
                    "INSERT OR REPLACE INTO reports VALUES (?,?,?,?)",
                    (report.study_instance_uid, report.source, report.text, report.sha256),
                )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise PacsError(f"{self.path}: cannot write: {error}") from error

    def forget(self, study_uids: Iterable[str]) -> int:
        """Remove the reports of studies for good, out of the write-ahead log too.

        Returns:
            How many there were.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            removed = sum(
                self._db.execute("DELETE FROM reports WHERE study = ?", (uid,)).rowcount
                for uid in study_uids
            )
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise PacsError(f"{self.path}: cannot write: {error}") from error
        return removed


def link(path: Path, pacs: Pacs, store: Reports, *, origins: Iterable[Origin] = ()) -> Linked:
    """Link report texts to the studies of a PACS, and keep them.

    The same texts again change nothing; of several different texts about one study the first by
    its path is kept.

    Args:
        path: A folder, a zip or a CSV, as `report_texts.read` takes it.
        pacs: Where the studies are.
        store: Where texts are kept.
        origins: From which files images came, as far as the PACS does not know it itself.

    Raises:
        PacsError: There is nothing to read, the PACS cannot be asked, or the store not written.
    """
    total, texts = report_texts.read(path)
    outcome, met = Linked(), dict[str, str]()
    batch: list[Report] = []
    with progress.bar("linked", total) as advance:
        for done, (text, found) in enumerate(_found(texts, pacs, origins), 1):
            uid, reason = (None, text.reason) if text.reason else _one(text, found)
            sha256 = hashlib.sha256(text.text.encode()).hexdigest()
            if uid is not None and met.setdefault(uid, sha256) != sha256:
                reason = "expected one report a study, met another before it"
            if uid is None or reason:
                outcome.unlinked.append((text.source, reason))
            else:
                batch.append(Report(uid, text.source, text.text, sha256))
            if len(batch) >= _BATCH:
                store.put(batch, outcome)
                batch = []
            advance(done)
        store.put(batch, outcome)
    return outcome


def write_unlinked(path: Path, outcome: Linked) -> Path:
    """Write the texts without a study as CSV of `file` and `reason`, and give its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        path.chmod(0o600)
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows(outcome.unlinked)
    return path


def without(pacs: Pacs, store: Reports) -> int:
    """Count the studies of a PACS that have no report."""
    have, lack, last = set(store.studies()), 0, ""
    for instance in pacs.search():  # in the order of the UIDs
        uid = instance.study_instance_uid
        if uid != last:
            lack += uid not in have
        last = uid
    return lack


def _one(text: Text, found: Sequence[Study]) -> tuple[str | None, str]:
    """Choose the study that a text is about, or say why none is."""
    if not found:
        return None, "no such study in the PACS"
    mine = [s for s in found if studies.same_patient(text.patient, s.patient_id, s.paths)]
    if text.patient and not mine:
        return None, "the study is there, of another patient"
    uids = sorted({study.uid for study in (mine if text.patient else found)})
    if len(uids) > 1:
        return None, f"{len(uids)} studies have this number"
    return uids[0], ""


def _found(
    texts: Iterable[Text], pacs: Pacs, origins: Iterable[Origin]
) -> Iterator[tuple[Text, Sequence[Study]]]:
    """Find for each text the studies that it may be about, in the order of the texts."""
    if isinstance(pacs, FolderPacs):
        known = _known(pacs, origins)
        yield from ((text, known(text)) for text in texts)
        return
    came = _named(origins)
    with ThreadPoolExecutor(_THREADS) as threads:
        waiting: deque[tuple[Text, Future[list[Study]]]] = deque()
        for text in texts:
            waiting.append((text, threads.submit(_asked, pacs, text, came)))
            if len(waiting) >= 4 * _THREADS:
                first, answer = waiting.popleft()
                yield first, answer.result()
        while waiting:
            first, answer = waiting.popleft()
            yield first, answer.result()


def _named(origins: Iterable[Origin]) -> Mapping[str, Mapping[str, str]]:
    """Give name of a study → folder its images came from → one of the images."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for origin in origins:
        folder = origin.path.rpartition("/")[0]
        for name in studies.names("", origin.study_id, [origin.path]):
            found[name].setdefault(folder, origin.orthanc_id)
    return found


def _asked(pacs: Pacs, text: Text, came: Mapping[str, Mapping[str, str]]) -> list[Study]:
    if text.reason or not _NAME.fullmatch(text.study):
        return []
    met = {
        Study(found.study_instance_uid, found.patient_id, (f"{folder}/",))
        for folder, source in came.get(text.study, {}).items()
        if (found := _held(pacs, source))
    }
    if met and text.kind in ("study", "any"):
        return list(met)
    for kind, keyword in _KEYWORDS.items():
        if text.kind in (kind, "any") and _may_be(kind, text.study):
            met = {
                Study(instance.study_instance_uid, instance.patient_id)
                for instance in pacs.search(**{keyword: text.study})
            }
            if met:
                return list(met)
    return []


def _may_be(kind: str, name: str) -> bool:
    """Say whether a server takes a name as such an attribute (PS3.5 6.2)."""
    return bool(_UID.fullmatch(name)) if kind == "uid" else len(name) <= _MOST_TEXT


def _held(pacs: Pacs, source: str) -> Instance | None:
    try:
        return pacs.find(source)
    except AbsentError:
        return None  # deleted since it came


def _known(pacs: FolderPacs, origins: Iterable[Origin]) -> Callable[[Text], Sequence[Study]]:
    """Read all studies of a folder PACS once, by every name they have."""
    rows = pacs.index.rows(
        "SELECT DISTINCT StudyInstanceUID, PatientID, StudyID, AccessionNumber FROM instances"
    )
    paths: dict[str, set[str]] = defaultdict(set)
    sql = "SELECT DISTINCT StudyInstanceUID, path FROM ingested JOIN instances USING (orthanc_id)"
    for uid, path in pacs.index.rows(sql):
        paths[uid].add(path)
    # a folder does not tell of images that were de-identified
    of = {r[0]: r[1] for r in pacs.index.rows("SELECT orthanc_id, StudyInstanceUID FROM instances")}
    for origin in origins:
        if uid := of.get(origin.orthanc_id):
            paths[uid].add(origin.path)
    by_name: dict[str, dict[str, list[Study]]] = {
        kind: defaultdict(list) for kind in ("uid", "study", "accession")
    }
    for uid, patient_id, study_id, accession in rows:
        met = sorted(paths.get(uid, ()))
        study = Study(uid, patient_id or "", tuple(met))
        by_name["uid"][uid].append(study)
        for name in dict.fromkeys(studies.names("", study_id or "", met)):
            by_name["study"][name].append(study)
        if accession:
            by_name["accession"][accession].append(study)

    def found(text: Text) -> Sequence[Study]:
        kinds = by_name if text.kind == "any" else (text.kind,)
        return next((by_name[k][text.study] for k in kinds if text.study in by_name[k]), ())

    return found
