"""What is known of a folder's instances, in SQLite: who they are, what became of each file.

Any number of threads and processes may use one index. The files beside it are the truth: it can
be deleted and is made anew from them, but for where each file once came from.
"""

import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydicom import Dataset

from cxr import wal
from cxr.errors import PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import matching

SCHEMA_VERSION = 2
_INTEGERS = ("US", "IS")

# Instance fields that are DICOM attributes already indexed, under the attribute's name
_SHARED = {
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view_position": "ViewPosition",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "rows": "Rows",
    "columns": "Columns",
    "photometric_interpretation": "PhotometricInterpretation",
}
_OWN = {"transfer_syntax_uid": "TEXT", "view": "TEXT", "age_years": "REAL", "burned_in": "INTEGER"}
_SELECTED = ", ".join(_SHARED.get(field.name, field.name) for field in fields(Instance))
_ATTRIBUTES = ", ".join(
    f"{keyword} {'INTEGER' if matching.vr(keyword) in _INTEGERS else 'TEXT'}"
    for keyword in matching.ATTRIBUTES
)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS instances (
    orthanc_id TEXT PRIMARY KEY, {_ATTRIBUTES},
    {", ".join(f"{name} {kind}" for name, kind in _OWN.items())},
    sha256 TEXT, pixel_hash TEXT, size INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS by_sop ON instances (SOPInstanceUID);
CREATE INDEX IF NOT EXISTS by_level
    ON instances (StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
CREATE INDEX IF NOT EXISTS by_patient ON instances (PatientID);
CREATE TABLE IF NOT EXISTS ingested (
    root TEXT, path TEXT, name TEXT, stamp TEXT, orthanc_id TEXT, reason TEXT,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_path ON ingested (path);
CREATE INDEX IF NOT EXISTS by_name ON ingested (name);
PRAGMA user_version = {SCHEMA_VERSION}
"""
# Version 1 could not tell a file that says NO from one that says nothing. Brought up in place, for
# where each file came from is known here only
_FROM_1 = """
UPDATE instances SET burned_in =
    CASE upper(BurnedInAnnotation) WHEN 'YES' THEN 1 WHEN 'NO' THEN 0 END;
DROP INDEX IF EXISTS by_instance
"""


class Index:
    """One index file.

    Each use borrows a connection, and what is idle waits for the next, whichever thread's; so
    there are as many as were ever used at once, and `close` finds all of them.

    Args:
        path: Made if it is not there, readable by its owner only; one of an older version is
            brought up to date.

    Raises:
        PacsError: It cannot be used, or a newer version made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()
        try:
            _make_private(path)
        except OSError as error:
            raise PacsError(f"{path}: {error.strerror}") from error
        try:
            self._bring_up()
        except PacsError:
            self.close()
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def close(self) -> None:
        """Close every connection; those in use, now or later, as soon as they are done with."""
        self._closed = True
        self._drain()

    def instances(
        self, where: matching.Where, limit: int | None, offset: int
    ) -> Iterator[Instance]:
        """Stream the instances that match, in the order of their UIDs."""
        sql = (
            f"SELECT {_SELECTED} FROM instances WHERE {where.sql} "
            "ORDER BY StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID LIMIT ? OFFSET ?"
        )
        values = (*where.values, -1 if limit is None else limit, offset)
        return (_instance(row) for row in self.rows(sql, values))

    def grouped(
        self, level: str, where: matching.Where, limit: int | None, offset: int
    ) -> Iterator[sqlite3.Row]:
        """Stream the studies, series or instances with an instance that matches.

        Returns:
            Every column, of the first instance; and `modalities`, `series`, `instances`: what
            the study or series holds in all, not only what matched.
        """
        place = matching.LEVELS.index(level) + 1
        key = ", ".join(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")[:place])
        # SQLite takes the other columns from the row that has the minimum
        sql = (
            "SELECT *, min(SOPInstanceUID), group_concat(DISTINCT Modality) AS modalities, "
            "count(DISTINCT SeriesInstanceUID) AS series, count(*) AS instances FROM instances "
            f"WHERE ({key}) IN (SELECT {key} FROM instances WHERE {where.sql}) "
            f"GROUP BY {key} ORDER BY {key} LIMIT ? OFFSET ?"
        )
        return self.rows(sql, (*where.values, -1 if limit is None else limit, offset))

    def rows(self, sql: str, values: tuple[str | int, ...] = ()) -> Iterator[sqlite3.Row]:
        """Stream the rows of a query over a connection of its own.

        The stream may be read by another thread than the one that began it.

        Raises:
            PacsError: The index cannot be read.
        """
        with self._explained():
            connection = self._connect()
            try:
                yield from connection.execute(sql, values)
            finally:
                connection.close()

    def find(self, column: str, value: str) -> Instance | None:
        """Find the one instance of an `orthanc_id` or a `SOPInstanceUID`."""
        row = self._one(f"SELECT {_SELECTED} FROM instances WHERE {column} = ?", value)
        return _instance(row) if row else None

    def hashes(self, column: str, value: str) -> tuple[str, str, str] | None:
        """Give Orthanc ID, SHA-256 of the file and of its pixels, by one of the identifiers."""
        row = self._one(
            f"SELECT orthanc_id, sha256, pixel_hash FROM instances WHERE {column} = ?", value
        )
        return (row["orthanc_id"], row["sha256"], row["pixel_hash"]) if row else None

    def orthanc_ids(self) -> set[str]:
        """Give all of them."""
        return {row["orthanc_id"] for row in self._all("SELECT orthanc_id FROM instances")}

    def count(self) -> int:
        """Count the instances."""
        return int(self._all("SELECT count(*) AS n FROM instances")[0]["n"])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other writers out, threads and processes alike, and write all or nothing."""
        with self._explained(), self._borrowed() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            self._local.held = connection
            try:
                yield
            finally:
                self._local.held = None

    def add(self, row: Mapping[str, Any]) -> bool:
        """Add an instance made by `row_of`; False if its Orthanc ID or UID is here already."""
        marks = ", ".join(f":{name}" for name in row)
        sql = f"INSERT OR IGNORE INTO instances ({', '.join(row)}) VALUES ({marks})"
        with self._explained(), self._borrowed() as connection:
            return connection.execute(sql, dict(row)).rowcount == 1

    def remove(self, orthanc_id: str) -> None:
        """Forget an instance, if it is there."""
        with self._explained(), self._borrowed() as connection:
            connection.execute("DELETE FROM instances WHERE orthanc_id = ?", (orthanc_id,))
            connection.execute("DELETE FROM ingested WHERE orthanc_id = ?", (orthanc_id,))

    def purge(self) -> None:
        """Leave nothing of what was removed in free pages and the write-ahead log."""
        with self._explained(), self._borrowed() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def known(self, root: str) -> dict[str, tuple[str, str, str]]:
        """Give what became of each file of an ingested folder.

        Returns:
            Path below it → stamp, Orthanc ID or nothing, reason of refusal or nothing.
        """
        sql = "SELECT path, stamp, orthanc_id, reason FROM ingested WHERE root = ?"
        return {r["path"]: (r["stamp"], r["orthanc_id"], r["reason"]) for r in self._all(sql, root)}

    def count_known(self, root: str) -> int:
        """Count the images of an ingested folder whose files are known."""
        sql = "SELECT count(*) FROM ingested WHERE root = ? AND orthanc_id <> ''"
        return int(self._all(sql, root)[0][0])

    def remember(self, root: str, outcomes: list[tuple[str, str, str, str]]) -> None:
        """Note what became of files: path, stamp, Orthanc ID or nothing, reason or nothing."""
        rows = [(root, path, path.rpartition("/")[2], *rest) for path, *rest in outcomes]
        with self.alone(), self._borrowed() as connection:
            connection.executemany("INSERT OR REPLACE INTO ingested VALUES (?,?,?,?,?,?)", rows)

    def _bring_up(self) -> None:
        """Make the tables, or bring those of an older version up to date."""
        if self._version() == SCHEMA_VERSION:
            return
        with self.alone(), self._borrowed() as connection:
            version = self._version()  # another process may have been here in between
            if version > SCHEMA_VERSION:
                raise PacsError(
                    f"{self.path}: expected version {SCHEMA_VERSION}, met {version}; "
                    "delete it, and the files beside it are indexed anew"
                )
            for statement in (f"{_FROM_1};{_SCHEMA}" if version == 1 else _SCHEMA).split(";"):
                connection.execute(statement)

    def _version(self) -> int:
        return int(self._all("PRAGMA user_version")[0][0])

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=30, check_same_thread=False, isolation_level=None
        )
        try:
            connection.row_factory = sqlite3.Row
            wal.switch(connection)
            # the files are the truth, so a row lost with the power comes back by a scan
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _begin(self) -> None:
        self._local = threading.local()
        self._idle: list[sqlite3.Connection] = []
        self._parents: list[list[sqlite3.Connection]] = []
        self._pid = os.getpid()
        self._closed = False

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; within `alone`, the one that holds the lock."""
        held = getattr(self._local, "held", None)
        if held is not None:
            yield held
            return
        if self._pid != os.getpid():
            # SQLite's connections must not cross a fork, not even to be closed
            self._parents.append(self._idle)
            self._idle, self._pid = [], os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)
            if self._closed:  # asked after the connection is where `close` looks for it
                self._drain()

    def _drain(self) -> None:
        while self._idle and self._pid == os.getpid():
            try:
                self._idle.pop().close()
            except IndexError:  # another thread took the last one
                return

    def _all(self, sql: str, *values: str) -> list[sqlite3.Row]:
        with self._explained(), self._borrowed() as connection:
            return connection.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: str) -> sqlite3.Row | None:
        return next(iter(self._all(sql, *values)), None)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = "; free some space, or set pacs.folder" if "full" in str(error) else ""
            raise PacsError(f"{self.path}: {error}{full}") from error


def _make_private(path: Path) -> None:
    """Make an index that its owner alone may read; SQLite gives its companions the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        # not by opening it: closing it again would drop the locks that this process has on it
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            with suppress(FileNotFoundError):
                companion = path.with_name(name)
                if companion.stat().st_mode & 0o077:
                    companion.chmod(0o600)


def row_of(header: Dataset, instance: Instance, **hashes: str | int) -> dict[str, Any]:
    """Make the row of an instance: searchable attributes, our own fields, `hashes`, ID."""
    row: dict[str, Any] = {}
    for keyword in matching.ATTRIBUTES:
        row[keyword] = column(header, keyword)
    row |= {name: getattr(instance, name) for name in _OWN}
    return row | hashes | {"orthanc_id": instance.orthanc_id}


def _instance(row: sqlite3.Row) -> Instance:
    values = dict(zip((field.name for field in fields(Instance)), tuple(row), strict=True))
    values |= {name: values[name] or 0 for name in ("rows", "columns")}
    if values["burned_in"] is not None:
        values["burned_in"] = bool(values["burned_in"])
    return Instance(**values)


def column(header: Dataset, keyword: str) -> str | int | None:
    """Read an attribute as it is searched for: text, or a number where it is one."""
    text = dicom.text(header, keyword)
    if matching.vr(keyword) not in _INTEGERS:
        return text
    # numbers written as text may be anything, and SQLite's have 64 bits
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,12}", text) else None
