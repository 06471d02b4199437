"""Where the instances of a DICOMweb server are: Orthanc ID → the three UIDs.

A manifest names its images by Orthanc ID, which DICOMweb cannot look up, so what searches and
stores meet is noted. A cache: it may be deleted, and is filled anew by a search of everything.
"""

import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxr import wal
from cxr.errors import PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    server TEXT, orthanc_id TEXT, study TEXT, series TEXT, sop TEXT,
    PRIMARY KEY (server, orthanc_id)
) WITHOUT ROWID
"""

_ALL = "SELECT orthanc_id, study, series, sop FROM seen"


class Seen:
    """One such file; any number of threads and processes may use it.

    Args:
        folder: Made if it is not there, readable by its owner only.
        server: URL; one file may know several.

    Raises:
        PacsError: It cannot be used.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self._path, self._server = folder / "seen.sqlite", server
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise PacsError(f"{folder}: {error.strerror}") from error
        with self._explained():
            self._connection = sqlite3.connect(
                self._path, timeout=30, check_same_thread=False, isolation_level=None
            )
            wal.switch(self._connection)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def note(self, instances: Iterable[Instance]) -> None:
        """Remember where instances are."""
        rows = [
            (
                self._server,
                it.orthanc_id,
                it.study_instance_uid,
                it.series_instance_uid,
                it.sop_instance_uid,
            )
            for it in instances
        ]
        with self._explained(), self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO seen VALUES (?,?,?,?,?)", rows)

    def forget(self, instances: Iterable[Instance], patient_ids: Collection[str] = ()) -> None:
        """Leave no trace of instances, in free pages and the write-ahead log neither.

        Args:
            instances: Wherever they are.
            patient_ids: Whose others, of any server, go as well.
        """
        gone = [(it.orthanc_id,) for it in instances]
        with self._explained(), self._lock:
            # a row names no patient, but its Orthanc ID is a hash of one
            for name, *uids in self._connection.execute(_ALL) if patient_ids else ():
                if any(dicom.orthanc_id(patient, *uids) == name for patient in patient_ids):
                    gone.append((name,))
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.executemany("DELETE FROM seen WHERE orthanc_id = ?", gone)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def where(self, orthanc_id: str) -> tuple[str, str, str] | None:
        """Give the UIDs of study, series and instance, where they are known."""
        return self._one("orthanc_id", orthanc_id)

    def by_sop(self, uid: str) -> tuple[str, str, str] | None:
        """Give the same by SOPInstanceUID."""
        return self._one("sop", uid)

    def _one(self, column: str, value: str) -> tuple[str, str, str] | None:
        sql = f"SELECT study, series, sop FROM seen WHERE server = ? AND {column} = ?"
        with self._explained(), self._lock:
            row = self._connection.execute(sql, (self._server, value)).fetchone()
        return (row[0], row[1], row[2]) if row else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise PacsError(f"{self._path}: {error}") from error
