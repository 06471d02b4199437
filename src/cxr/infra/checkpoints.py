"""What SageMaker keeps of a training job while it runs: is it whole, and made to be so.

Its files are copied to S3 whenever they change and whatever state they are in, so what is found
after an interruption may have been cut off anywhere.
"""

import sqlite3
import sys
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

_TRACKED = "mlflow.db"


def is_whole(runs: Path, name: str) -> bool:
    """Say whether a run in `runs` can go on; of what is there, only what is torn goes."""
    last, record, tracked = runs / name / "last.ckpt", runs / name / "run.json", runs / _TRACKED
    for part in (*(runs / name).glob(".*.part"), *runs.glob(".*.part*")):
        part.unlink()
    if not _is_whole_database(tracked):
        _say("MLflow's record was cut off while it was copied, and begins anew")
        tracked.unlink()
    if not last.exists() or not record.exists():
        return False
    if _is_whole_archive(last):
        return True
    _say(f"the checkpoint of run {name} was cut off while it was copied, and is not used")
    last.unlink()
    return False


def _is_whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        return False


def _is_whole_database(path: Path) -> bool:
    if not path.exists():
        return True  # tracked elsewhere
    try:
        with closing(sqlite3.connect(path)) as opened:
            return bool(opened.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


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
