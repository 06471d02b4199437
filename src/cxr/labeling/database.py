"""The one SQLite file of a job: what is committed is on disk, and readers never wait for writers.

WAL with synchronous=FULL fsyncs once per transaction, so a killed portal keeps every answer it
accepted. One connection writes, under a lock; reads have connections of their own.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr import wal
from cxr.errors import JobError

VERSION = 3
"""`PRAGMA user_version` of the schema below; 0 is the schema that knew neither kinds nor drafts, 1
the one whose decisions did not say what had been in dispute, 2 forgot the tasks that went back."""

_RETURNED = (
    """CREATE TABLE returned(
      task_id TEXT PRIMARY KEY, object_id INTEGER NOT NULL REFERENCES objects,
      worker_id TEXT NOT NULL, kind TEXT NOT NULL, accepted_at REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX drafts_by_worker ON drafts(worker_id)",
)
_TABLES = (
    """CREATE TABLE objects(
      object_id INTEGER PRIMARY KEY, source TEXT NOT NULL, line TEXT NOT NULL,
      labelled INTEGER NOT NULL DEFAULT 0, kind TEXT NOT NULL DEFAULT 'read',
      known TEXT, given INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,
      UNIQUE(source, kind))""",
    """CREATE TABLE tasks(
      task_id TEXT PRIMARY KEY, object_id INTEGER NOT NULL REFERENCES objects,
      worker_id TEXT NOT NULL, kind TEXT NOT NULL, accepted_at REAL NOT NULL,
      ahead INTEGER NOT NULL DEFAULT 0, answered_at REAL, UNIQUE(object_id, worker_id, kind))""",
    """CREATE TABLE answers(
      answer_id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL REFERENCES tasks,
      content TEXT NOT NULL, submitted_at REAL NOT NULL, skipped INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE drafts(
      object_id INTEGER NOT NULL REFERENCES objects, worker_id TEXT NOT NULL, kind TEXT NOT NULL,
      content TEXT NOT NULL, saved_at REAL NOT NULL,
      PRIMARY KEY(object_id, worker_id, kind)) WITHOUT ROWID""",
    """CREATE TABLE decisions(
      decision_id INTEGER PRIMARY KEY AUTOINCREMENT,
      object_id INTEGER NOT NULL REFERENCES objects, worker_id TEXT NOT NULL,
      content TEXT NOT NULL, decided_at REAL NOT NULL, disputed TEXT)""",
    "CREATE TABLE closings(closing_id INTEGER PRIMARY KEY, closed INTEGER NOT NULL)",
    """CREATE TABLE audit(
      seq INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, event TEXT NOT NULL,
      worker TEXT NOT NULL, source TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL)""",
)
_RULES = (
    "CREATE INDEX answers_by_task ON answers(task_id)",
    "CREATE INDEX decisions_by_object ON decisions(object_id)",
    "CREATE INDEX answered_by_worker ON tasks(worker_id, answered_at)",
    "CREATE INDEX open_by_time ON tasks(accepted_at) WHERE answered_at IS NULL",
    # a worker has one image before her and one ahead, whatever goes wrong above
    "CREATE UNIQUE INDEX one_each ON tasks(worker_id, ahead) WHERE answered_at IS NULL",
    "CREATE INDEX by_kind ON objects(kind, labelled)",
    "CREATE INDEX wanting ON objects(given) WHERE kind='read' AND labelled=0",
    "CREATE INDEX finished ON objects(done) WHERE kind='read' AND labelled=0",
    """CREATE TRIGGER task_given AFTER INSERT ON tasks WHEN NEW.kind='read' BEGIN
      UPDATE objects SET given=given+1 WHERE object_id=NEW.object_id; END""",
    """CREATE TRIGGER task_back AFTER DELETE ON tasks WHEN OLD.kind='read' BEGIN
      UPDATE objects SET given=given-1 WHERE object_id=OLD.object_id; END""",
    """CREATE TRIGGER task_done AFTER UPDATE OF answered_at ON tasks
      WHEN NEW.kind='read' AND OLD.answered_at IS NULL AND NEW.answered_at IS NOT NULL BEGIN
      UPDATE objects SET done=done+1 WHERE object_id=NEW.object_id; END""",
    *(
        f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} BEGIN"
        f" SELECT RAISE(ABORT, '{table} are only ever added to'); END"
        for table in ("answers", "decisions", "audit")
        for act in ("UPDATE", "DELETE")
    ),
)
_FROM_0 = (
    """INSERT INTO objects(object_id, source, line, labelled)
      SELECT object_id, source, line, labelled FROM objects_0""",
    """INSERT INTO tasks(task_id, object_id, worker_id, kind, accepted_at, answered_at)
      SELECT t.task_id, object_id, worker_id, 'read', accepted_at,
        CASE WHEN answered THEN (SELECT min(submitted_at) FROM answers_0 a
                                 WHERE a.task_id=t.task_id) END
      FROM tasks_0 t""",
    """INSERT INTO answers(answer_id, task_id, content, submitted_at)
      SELECT answer_id, task_id, content, submitted_at FROM answers_0 ORDER BY answer_id""",
    """UPDATE objects SET
      given=(SELECT count(*) FROM tasks t WHERE t.object_id=objects.object_id),
      done=(SELECT count(answered_at) FROM tasks t WHERE t.object_id=objects.object_id)""",
    "DROP TABLE answers_0",
    "DROP TABLE tasks_0",
    "DROP TABLE objects_0",
)
_STEPS = (("ALTER TABLE decisions ADD COLUMN disputed TEXT",), _RETURNED)
"""From version 1 to 2, from 2 to 3."""


class Database:
    """A job's file, opened; safe to use from several threads."""

    def __init__(
        self, path: Path, take_up: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        """Open or create the file; an earlier schema becomes the present one, whole or not at all.

        Args:
            path: Of the file; its folder is made.
            take_up: What else to do where it was the first schema, in the same transaction.

        Raises:
            JobError: A newer version of this program made it, or it is no such file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._writer = _connect(path)
        path.chmod(0o600)
        try:
            wal.switch(self._writer)
            self._writer.execute("PRAGMA synchronous=FULL")
            with self.transaction() as db:
                if _migrate(db, path) and take_up:
                    take_up(db)
            self._writer.execute("PRAGMA foreign_keys=ON")
        except sqlite3.DatabaseError as error:
            raise JobError(
                f"{path}: expected a job's answers, met another file ({error})"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write, all or nothing; what was written is on disk when the block ends."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one moment's state, beside whoever writes."""
        with self._lock:
            reader = self._idle.pop() if self._idle else None
        if reader is None:
            reader = _connect(self._path)
            reader.execute("PRAGMA query_only=ON")
        reader.execute("BEGIN")
        try:
            yield reader
        finally:
            reader.execute("ROLLBACK")
            with self._lock:
                self._idle.append(reader)

    def close(self) -> None:
        """Fold the write-ahead log back and close."""
        with self._lock:
            for reader in self._idle:
                reader.close()
            self._idle.clear()
            self._writer.close()


def one(db: sqlite3.Connection, sql: str, *given: object) -> Any:
    """Give the one value that a query finds."""
    return db.execute(sql, given).fetchone()[0]


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)


def _migrate(db: sqlite3.Connection, path: Path) -> bool:
    """Bring the schema up to `VERSION`, and say whether there were rows without a log."""
    version = one(db, "PRAGMA user_version")
    if version > VERSION:
        raise JobError(
            f"{path}: expected schema {VERSION} or earlier, met {version}; "
            "a newer cxr began this job, use that one"
        )
    if version == VERSION:
        return False
    for step in _STEPS[version - 1 :] if version else ():
        for statement in step:
            db.execute(statement)
    if version:
        db.execute(f"PRAGMA user_version={VERSION}")
        return False
    earlier = bool(one(db, "SELECT count(*) FROM sqlite_master WHERE name='objects'"))
    if earlier:
        for table in ("objects", "tasks", "answers"):
            db.execute(f"ALTER TABLE {table} RENAME TO {table}_0")
        for index in ("tasks_by_object", "answers_by_task", "open_by_time", "open_by_worker"):
            db.execute(f"DROP INDEX IF EXISTS {index}")
    for statement in (*_TABLES, *_RETURNED, *(_FROM_0 if earlier else ()), *_RULES):
        db.execute(statement)
    db.execute(f"PRAGMA user_version={VERSION}")
    return earlier
