"""What became of each file that was to come in: one SQLite file per destination.

An ingest that was killed goes on from here, a second one looks only at what is new, and the
cross-file rules are questions to it. It says from which file an image came, so it is as private
as the images are. Patients stand in it as keyed hashes, the UIDs of what was stored as they are;
the list of a source, where PatientIDs of another PACS stand, goes when the run ends.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from cxr import wal
from cxr.errors import PacsError
from cxr.images.doctor import Verdict
from cxr.pacs import Pacs, locks
from cxr.pacs.folder import FolderPacs, Origin

IN, REFUSED, PENDING, LOST = "in", "refused", "pending", "lost"
"""In the destination; not to come in; checked and on its way; in once, and no longer there."""

_VERSION = 1
_CHUNK = 100
"""UIDs in one question: as many as fit into a URL."""
_COLUMNS = (
    "stamp", "outcome", "orthanc_id", "study_instance_uid", "sop_instance_uid", "study_id",
    "sha256", "pixel_hash", "size", "instance_key", "patient_key", "study_key", "verdicts",
)  # fmt: skip
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files (
    root TEXT, path TEXT, {", ".join(f"{name} TEXT NOT NULL DEFAULT ''" for name in _COLUMNS)},
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_instance ON files (instance_key);
CREATE INDEX IF NOT EXISTS by_orthanc_id ON files (orthanc_id);
CREATE INDEX IF NOT EXISTS by_pixels ON files (pixel_hash, patient_key);
CREATE INDEX IF NOT EXISTS by_study ON files (study_key, patient_key);
CREATE TABLE IF NOT EXISTS listed (
    path TEXT PRIMARY KEY, place BLOB, stamp TEXT, is_new INTEGER DEFAULT 1
);
PRAGMA user_version = {_VERSION}
"""

_WITHDRAWN = f"""
DELETE FROM files WHERE outcome = '{REFUSED}' AND verdicts LIKE '[["withdrawn",%'
"""
"""Who withdrew is looked for in such files each time, so nothing has to be known of them."""


@dataclass(frozen=True)
class Listed:
    """One file of a source, before anything is known of it.

    Attributes:
        path: Below the source, as text that SQLite takes.
        place: Where it is, for the source alone to read: names need not be UTF-8.
        stamp: Changes when the file does; empty if that cannot be said.
    """

    path: str
    place: bytes
    stamp: str


@dataclass(frozen=True)
class Row:
    """What is noted of one file; all text, empty where not known.

    Attributes:
        sha256: Of the file as it lies in the source.
        size: In bytes, of what was stored.
        orthanc_id: Of what is stored, or would be.
        instance_key: Keyed hash of the SOPInstanceUID in the source; so for patient and study.
        verdicts: Of the doctor and of the cross-file rules that refused it.
    """

    stamp: str
    outcome: str
    orthanc_id: str = ""
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    study_id: str = ""
    sha256: str = ""
    pixel_hash: str = ""
    size: str = ""
    instance_key: str = ""
    patient_key: str = ""
    study_key: str = ""
    verdicts: tuple[Verdict, ...] = ()


class Held(NamedTuple):
    """One file that should be in the destination; empty where not known."""

    path: str
    study_instance_uid: str
    sop_instance_uid: str
    orthanc_id: str
    size: str


class Ledger:
    """One ledger, for one process at a time; a context manager that closes it.

    Args:
        path: Made if it is not there, readable by its owner only.

    Raises:
        PacsError: It cannot be used, or another process is at work with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as undo:
            undo.enter_context(locks.shared(path.parent))
            undo.enter_context(locks.own(path))
            with explained(path):
                self._db = connect(path)
            self._locks = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Keep what was noted, drop what only this run had to know, and let others in."""
        with self._locks, explained(self.path), closing(self._db):
            self._db.commit()
            with suppress(sqlite3.Error):  # a full disk; the next run does it
                self._db.execute("DELETE FROM listed")
                self._db.execute(_WITHDRAWN)
                self._db.commit()

    def begin(self, root: str, files: Iterable[Listed], version: str = "") -> int:
        """Take in what a source holds now, and say how much that is.

        Of two files under one path the second gets a name of its own.

        Args:
            root: The source.
            files: Of which those are new that were not settled under the same stamp.
            version: What else an outcome depends on; becomes part of the stamps.
        """
        with self._writing() as db:
            db.execute("DELETE FROM listed")
            # a killed run left them on their way, so nobody knows whether they arrived
            on_their_way = (LOST, root, PENDING)
            db.execute("UPDATE files SET outcome = ? WHERE root = ? AND outcome = ?", on_their_way)
            insert = "INSERT OR IGNORE INTO listed (path, place, stamp) VALUES (?, ?, ?)"
            for file in files:
                stamp = f"{file.stamp}:{version}" if file.stamp else ""
                values = (file.path, file.place, stamp)
                if not db.execute(insert, values).rowcount:
                    unique = hashlib.sha256(file.place).hexdigest()[:8]
                    name = f"{file.path.removesuffix('.dcm')}-{unique}.dcm"
                    db.execute(insert, (name, *values[1:]))
            # a stamp that is empty says nothing, so it equals none
            db.execute(
                "UPDATE listed SET is_new = 0 FROM files WHERE files.root = ? "
                "AND files.path = listed.path AND files.stamp = listed.stamp "
                "AND files.stamp <> '' AND files.outcome IN (?, ?)",
                (root, IN, REFUSED),
            )
            return int(db.execute("SELECT count(*) FROM listed").fetchone()[0])

    def new(self) -> Iterator[Listed]:
        """Stream what has to be looked at, in the order of the paths."""
        last = ""
        while rows := self._all(
            "SELECT path, place, stamp FROM listed WHERE is_new AND path > ? "
            "ORDER BY path LIMIT 500",
            last,
        ):
            for row in rows:
                yield Listed(*row)
            last = rows[-1][0]

    def count_new(self) -> int:
        """Count what has to be looked at."""
        return int(self._all("SELECT count(*) FROM listed WHERE is_new")[0][0])

    def count_known(self, root: str) -> Mapping[str, int]:
        """Count the others by what became of them."""
        rows = self._all(
            "SELECT outcome, count(*) FROM listed JOIN files USING (path) "
            "WHERE root = ? AND NOT is_new GROUP BY outcome",
            root,
        )
        return dict(rows)

    def recheck(self, root: str, lost: Callable[[Sequence[Held]], Iterable[str]]) -> int:
        """Find out which files the destination has lost, so that they are stored again.

        Args:
            root: The source.
            lost: Takes some of what should be there, and gives the paths of what is not.
        """
        count = 0
        for rows in self.held(root):
            gone = [(path,) for path in lost(rows)]
            with self._writing() as db:
                mark = "UPDATE files SET outcome = ? WHERE root = ? AND path = ?"
                db.executemany(mark, [(LOST, root, path) for (path,) in gone])
                db.executemany("UPDATE listed SET is_new = 1 WHERE path = ?", gone)
            count += len(gone)
        return count

    def held(self, root: str) -> Iterator[list[Held]]:
        """Stream what is in the destination, as far as is known here; some at a time, by path."""
        last = ""
        while rows := self._all(
            "SELECT path, study_instance_uid, sop_instance_uid, orthanc_id, size FROM files "
            f"WHERE root = ? AND path > ? AND outcome = ? ORDER BY path LIMIT {_CHUNK}",
            root, last, IN,
        ):  # fmt: skip
            last = rows[-1][0]
            yield [Held(*row) for row in rows]

    def note(self, root: str, path: str, row: Row) -> None:
        """Note what became of a file; `commit` keeps it."""
        verdicts = json.dumps([_plain(verdict) for verdict in row.verdicts])
        values = [root, path, *(getattr(row, name) for name in _COLUMNS[:-1]), verdicts]
        marks = ", ".join("?" * len(values))
        with explained(self.path):
            self._db.execute(f"INSERT OR REPLACE INTO files VALUES ({marks})", values)

    def commit(self) -> None:
        """Keep what was noted, whatever happens to this process."""
        with explained(self.path):
            self._db.commit()

    def find(self, sql: str, *values: str) -> list[Any]:
        """Ask for rows of the table `files`; for the cross-file rules."""
        return self._all(sql, *values)

    def verdicts(self, root: str) -> Iterator[tuple[str, tuple[Verdict, ...]]]:
        """Stream the listed files about which there is something to say, by path."""
        last = ""
        while rows := self._all(
            "SELECT path, verdicts FROM listed JOIN files USING (path) WHERE root = ? "
            "AND path > ? AND verdicts <> '[]' ORDER BY path LIMIT 500",
            root, last,
        ):  # fmt: skip
            for path, text in rows:
                yield path, tuple(Verdict(*plain) for plain in json.loads(text))
            last = rows[-1][0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path):
            yield self._db
            self._db.commit()

    def _all(self, sql: str, *values: str) -> list[Any]:
        with explained(self.path):
            return self._db.execute(sql, values).fetchall()


def path_of(root: Path, destination: str) -> Path:
    """Say where the ledger of a destination lies: a PACS by its name, a folder by its path."""
    name = hashlib.sha256(destination.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return root / "ingest" / f"{name}.sqlite"


def name_of(root: Path, pacs: Pacs) -> str:
    """Name a destination so that it is the same again: by its URL, or its folder.

    A folder below the data root keeps its name when the root moves.
    """
    if not isinstance(pacs, FolderPacs):
        return pacs.name
    folder, base = pacs.folder.resolve(), root.resolve()
    return str(folder.relative_to(base) if folder.is_relative_to(base) else folder)


def is_same(root: Path, one: Pacs, other: Pacs) -> bool:
    """Say whether two PACSs are one and the same, be it spoken to in two ways."""
    names = sorted(name_of(root, pacs).rstrip("/") for pacs in (one, other))
    return names[0] == names[1] or names[1].startswith(f"{names[0]}/")


def origins(root: Path, pacs: Pacs) -> Iterator[Origin]:
    """Say from which files the images of a PACS came; one may come more than once."""
    told = set()
    if isinstance(pacs, FolderPacs):  # it knows itself, wherever it was copied to
        for origin in pacs.origins():
            told.add(origin.orthanc_id)
            yield origin
    path = path_of(root, name_of(root, pacs))
    if not path.exists():
        return
    sql = "SELECT orthanc_id, path, study_id FROM files WHERE outcome = ? ORDER BY root, path"
    with explained(path), closing(connect(path)) as db:
        for row in db.execute(sql, (IN,)):
            if row[0] not in told:  # de-identified, so that the folder does not tell it
                yield Origin(*row)


def keyed(text: str, key: bytes) -> str:
    """Give what stands for an identifier in a ledger."""
    return hashlib.blake2b(
        text.encode("utf-8", "surrogateescape"), key=key, digest_size=16
    ).hexdigest()


def connect(path: Path) -> sqlite3.Connection:
    """Open the file of a ledger, which its caller has locked or only reads."""
    db = sqlite3.connect(path, timeout=30)
    try:
        wal.switch(db)
        # a row lost with the power means that one file is looked at again
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        met = int(db.execute("PRAGMA user_version").fetchone()[0])
        if met > _VERSION:
            raise PacsError(f"{path}: expected version {_VERSION}, met {met}; update cxr")
        if met < _VERSION:
            db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with a ledger."""
    try:
        yield
    except sqlite3.Error as error:
        raise PacsError(f"{path}: {error}; free some space or set CXR_ROOT") from error


def _plain(verdict: Verdict) -> Sequence[str]:
    return verdict.rule, verdict.severity, verdict.met, verdict.advice
