"""Which checkpoint of an interrupted run is whole, and what SageMaker keeps of a job made to be so.

A machine may be taken away at any moment, and SageMaker copies files to S3 whenever they change
and whatever state they are in, so what is found after that may have been cut off anywhere. Only
damage counts as that: a disk that does not answer, or a process without a free file descriptor,
says nothing of what a file holds.
"""

import io
import logging
import sqlite3
import struct
import zipfile
import zlib
from contextlib import closing, suppress
from pathlib import Path

from cxr.errors import RunError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_TRACKED = "mlflow.db"
_TORN = ".torn"
# what Python 3.11 to 3.13 raise on bytes that are no zip, or none any more
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error,
    OverflowError, OSError,
)  # fmt: skip

_log = logging.getLogger(__name__)  # in a job's entry, where nobody sets it up, warnings are told


def newest(folder: Path) -> Path | None:
    """Give the newest whole checkpoint of a run; torn ones are told of and put aside.

    Args:
        folder: Of the run.

    Raises:
        RunError: One cannot be read; all stay as they are.
    """
    for name in (LAST, PREVIOUS):
        path = folder / name
        if _is_there(path):
            if is_whole_file(path):
                return path
            _log.warning(
                "%s of run %s was cut off, and is not used; it is kept as %s%s",
                name, folder.name, name, _TORN,
            )  # fmt: skip
            _put_aside(path)
    return None


def is_whole_file(path: Path) -> bool:
    """Say whether a checkpoint is there and holds all that was written, by its own sums.

    Raises:
        RunError: It cannot be read, which says nothing of what it holds.
    """
    try:
        data = path.read_bytes()  # whatever is raised below is of what it holds
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except _DAMAGE:
        return False


def is_whole(runs: Path, name: str) -> bool:
    """Say whether a run in `runs` can go on; of what is there, only what is torn is put aside.

    Raises:
        RunError: Something cannot be read; all stays as it is.
    """
    record, tracked = runs / name / "run.json", runs / _TRACKED
    for part in (*(runs / name).glob(".*.part"), *runs.glob(".*.part*")):
        part.unlink()
    if not _is_whole_database(tracked):
        _log.warning("MLflow's record was cut off while it was copied, and begins anew")
        _put_aside(tracked)
    return newest(runs / name) is not None and record.exists()


def _is_whole_database(path: Path) -> bool:
    if not path.exists():
        return True  # tracked elsewhere
    try:
        with closing(sqlite3.connect(path)) as opened:
            return bool(opened.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.OperationalError as error:  # locked, no more files, a disk that fails
        raise _unreadable(path, str(error)) from error
    except sqlite3.Error:
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def _put_aside(path: Path) -> None:
    with suppress(FileNotFoundError):  # another process of this training may be as far
        path.replace(path.with_name(path.name + _TORN))


def _unreadable(path: Path, why: str) -> RunError:
    return RunError(
        f"{path}: cannot be read: {why}; nothing was removed, so try again once it can, or move "
        "it away"
    )


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
