"""Which checkpoint of an interrupted run is whole, and what SageMaker keeps of a job made to be so.

A machine may be taken away at any moment, and SageMaker copies files to S3 whenever they change
and whatever state they are in, so what is found after that may have been cut off anywhere.
"""

import logging
import sqlite3
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_TRACKED = "mlflow.db"

_log = logging.getLogger(__name__)  # in a job's entry, where nobody sets it up, warnings are told


def newest(folder: Path) -> Path | None:
    """Give the newest whole checkpoint of a run; torn ones are told of and go.

    Args:
        folder: Of the run.
    """
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        if is_whole_file(path):
            return path
        _log.warning("%s of run %s was cut off, and is not used", name, folder.name)
        path.unlink(missing_ok=True)  # another process of this training may be as far
    return None


def is_whole_file(path: Path) -> bool:
    """Say whether a checkpoint holds all that was written, by its own sums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError):
        return False


def is_whole(runs: Path, name: str) -> bool:
    """Say whether a run in `runs` can go on; of what is there, only what is torn goes."""
    record, tracked = runs / name / "run.json", runs / _TRACKED
    for part in (*(runs / name).glob(".*.part"), *runs.glob(".*.part*")):
        part.unlink()
    if not _is_whole_database(tracked):
        _log.warning("MLflow's record was cut off while it was copied, and begins anew")
        tracked.unlink()
    return newest(runs / name) is not None and record.exists()


def _is_whole_database(path: Path) -> bool:
    if not path.exists():
        return True  # tracked elsewhere
    try:
        with closing(sqlite3.connect(path)) as opened:
            return bool(opened.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


class Copied:
    """A database, and whole copies of it where SageMaker copies files while they are written."""

    def __init__(self, database: Path, copy: Path) -> None:
        """Say which database, and where its copies go."""
        self._database, self._copy, self._seen = database, copy, self._changed(database)

    def renew(self) -> None:
        """Copy the database if it has changed since."""
        now = self._changed(self._database)
        if now == self._seen:
            return
        part = self._copy.with_name(f".{self._copy.name}.part")
        try:
            with (
                closing(sqlite3.connect(self._database)) as live,
                closing(sqlite3.connect(part)) as copy,
            ):
                live.backup(copy)
            part.replace(self._copy)
        except (OSError, sqlite3.Error):  # it is being made; the next look comes soon
            return
        self._seen = now

    @staticmethod
    def _changed(path: Path) -> int:
        return path.stat().st_mtime_ns if path.exists() else 0
