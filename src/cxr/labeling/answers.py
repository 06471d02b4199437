"""Which reader has which image, and everything they ever answered: one SQLite file per job.

Every accepted answer is on disk before the call returns (WAL with synchronous=FULL), so a killed
portal loses nothing. Answers are never changed: a correction is a further version.
"""

import hashlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.errors import JobError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  object_id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, line TEXT NOT NULL,
  labelled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS tasks(
  task_id TEXT PRIMARY KEY, object_id INTEGER NOT NULL REFERENCES objects, worker_id TEXT NOT NULL,
  accepted_at REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0, UNIQUE(object_id, worker_id));
CREATE TABLE IF NOT EXISTS answers(
  answer_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL REFERENCES tasks, content TEXT NOT NULL,
  submitted_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_by_object ON tasks(object_id);
CREATE INDEX IF NOT EXISTS answers_by_task ON answers(task_id);
CREATE INDEX IF NOT EXISTS open_by_time ON tasks(accepted_at) WHERE answered=0;
CREATE INDEX IF NOT EXISTS open_by_worker ON tasks(worker_id) WHERE answered=0;
"""

_GUESSES = 20
"""Objects asked about one by one before all are, when the next task is looked for."""


@dataclass(frozen=True)
class Task:
    """One data object before one worker.

    Attributes:
        id: Opaque.
        object_id: Ground Truth's `datasetObjectId`: the line's number, from 0.
        worker_id: Whose it is.
        data_object: The manifest line.
        accepted_at: Seconds since the epoch.
    """

    id: str
    object_id: int
    worker_id: str
    data_object: Mapping[str, Any]
    accepted_at: float


@dataclass(frozen=True)
class Answer:
    """The newest version of what one worker said of one data object.

    Attributes:
        worker_id: Who.
        content: The form as submitted, a JSON string.
        accepted_at: When the task was opened, in seconds since the epoch.
        submitted_at: When it was answered.
    """

    worker_id: str
    content: str
    accepted_at: float
    submitted_at: float


class Answers:
    """Tasks and answers of one job; safe to use from several threads."""

    def __init__(self, path: Path, *, workers_per_object: int, task_time_limit_s: float) -> None:
        """Open or create the file.

        Args:
            path: Of the SQLite database.
            workers_per_object: Answers wanted for each data object.
            task_time_limit_s: After which an unanswered task goes back.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._wanted = workers_per_object
        self._limit_s = task_time_limit_s
        self._lock = threading.Lock()
        self._orders: dict[str, tuple[list[int], int]] = {}
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def add(self, data_objects: Iterable[Mapping[str, Any]], attribute: str = "") -> int:
        """Take data objects up, in order; those there already stay as they are.

        Args:
            data_objects: Manifest lines.
            attribute: The job's label attribute name; a line that holds it is labelled already
                and offered to nobody (chaining).

        Returns:
            How many there are now.

        Raises:
            JobError: One image stands in the manifest twice.
        """
        with self._transaction() as db:
            known = {s: i for i, s in db.execute("SELECT object_id, source FROM objects")}
            seen: set[str] = set()
            for line in data_objects:
                source = manifest.source(line)
                if source in seen:
                    raise JobError(f"expected each image once, met {source!r} twice")
                seen.add(source)
                if source not in known:
                    known[source] = len(known)
                    db.execute(
                        "INSERT INTO objects VALUES(?,?,?,?)",
                        (known[source], source, json.dumps(line), attribute in line),
                    )
            return len(known)

    def assign(self, worker_id: str) -> Task | None:
        """Give a worker the task she has open, or the next one, or None when nothing is left.

        Images come in an order that differs between workers and never between calls.
        """
        now = time.time()
        with self._transaction() as db:
            db.execute(
                "DELETE FROM tasks WHERE answered=0 AND accepted_at<?", (now - self._limit_s,)
            )
            row = db.execute(
                "SELECT task_id FROM tasks WHERE worker_id=? AND answered=0", (worker_id,)
            ).fetchone()
            if row is None:
                chosen = self._next(db, worker_id)
                if chosen is None:
                    return None
                row = (uuid.uuid4().hex,)
                db.execute(
                    "INSERT INTO tasks(task_id, object_id, worker_id, accepted_at) VALUES(?,?,?,?)",
                    (row[0], chosen, worker_id, now),
                )
            return self._task(db, row[0])

    def _next(self, db: sqlite3.Connection, worker_id: str) -> int | None:
        """Find the next object that wants an answer and has none by this worker.

        The search goes on where it last ended and comes round once, since tasks go back.
        """
        total = int(db.execute("SELECT count(*) FROM objects").fetchone()[0])
        order, place = self._orders.get(worker_id, ([], 0))
        if len(order) != total:
            order = sorted(range(total), key=lambda i: _order(worker_id, i))
            place = 0
        full: set[int] = set()
        for step in range(total):
            if step == _GUESSES:
                full = self._full(db, worker_id)
            object_id = order[(place + step) % total]
            if object_id in full:
                continue
            taken, mine, labelled = db.execute(
                "SELECT count(*), coalesce(sum(worker_id=?), 0),"
                " (SELECT labelled FROM objects WHERE object_id=?) FROM tasks WHERE object_id=?",
                (worker_id, object_id, object_id),
            ).fetchone()
            if taken < self._wanted and not mine and not labelled:
                self._orders[worker_id] = (order, (place + step) % total)
                return object_id
        return None

    def _full(self, db: sqlite3.Connection, worker_id: str) -> set[int]:
        """Give the objects that this worker cannot get, at once."""
        rows = db.execute(
            "SELECT object_id FROM tasks GROUP BY object_id HAVING count(*)>=?"
            " UNION SELECT object_id FROM tasks WHERE worker_id=?"
            " UNION SELECT object_id FROM objects WHERE labelled",
            (self._wanted, worker_id),
        )
        return {object_id for (object_id,) in rows}

    def task(self, task_id: str) -> Task | None:
        """Find a task, open or answered."""
        with self._lock:
            return self._task(self._db, task_id)

    def submit(self, task_id: str, content: str) -> bool:
        """Keep an answer; the same one again is not kept twice.

        Returns:
            Whether it was new.

        Raises:
            JobError: The task went back after its time limit, or never was.
        """
        with self._transaction() as db:
            if self._task(db, task_id) is None:
                raise JobError("this image went back after its time limit; open the next one")
            newest = db.execute(
                "SELECT content FROM answers WHERE task_id=? ORDER BY answer_id DESC", (task_id,)
            ).fetchone()
            if newest and newest[0] == content:
                return False
            db.execute(
                "INSERT INTO answers(task_id, content, submitted_at) VALUES(?,?,?)",
                (task_id, content, time.time()),
            )
            db.execute("UPDATE tasks SET answered=1 WHERE task_id=?", (task_id,))
            return True

    def counts(self) -> tuple[int, int]:
        """Say how many data objects have all their answers, and how many there are."""
        with self._lock:
            done = self._db.execute(
                "SELECT count(*) FROM (SELECT object_id FROM tasks WHERE answered=1"
                " GROUP BY object_id HAVING count(*)>=?"
                " UNION SELECT object_id FROM objects WHERE labelled)",
                (self._wanted,),
            ).fetchone()[0]
            return done, self._db.execute("SELECT count(*) FROM objects").fetchone()[0]

    def answered_by(self, worker_id: str) -> int:
        """Say how many data objects one worker has answered."""
        with self._lock:
            row = self._db.execute(
                "SELECT count(*) FROM tasks WHERE worker_id=? AND answered=1", (worker_id,)
            ).fetchone()
        return int(row[0])

    def results(self) -> Iterator[tuple[int, dict[str, Any], list[Answer]]]:
        """Give every data object with the newest version of each worker's answer, in order."""
        with self._lock:
            objects = self._db.execute(
                "SELECT object_id, line FROM objects ORDER BY object_id"
            ).fetchall()
            rows = self._db.execute(
                "SELECT t.object_id, t.worker_id, a.content, t.accepted_at, a.submitted_at"
                " FROM tasks t JOIN answers a USING(task_id) ORDER BY a.answer_id"
            ).fetchall()
        newest: dict[int, dict[str, Answer]] = {}
        for object_id, worker_id, content, accepted, submitted in rows:
            newest.setdefault(object_id, {})[worker_id] = Answer(
                worker_id, content, accepted, submitted
            )
        for object_id, line in objects:
            found = newest.get(object_id, {})
            yield object_id, json.loads(line), [found[worker] for worker in sorted(found)]

    def close(self) -> None:
        """Fold the write-ahead log back and close."""
        with self._lock:
            self._db.close()

    @staticmethod
    def _task(db: sqlite3.Connection, task_id: str) -> Task | None:
        row = db.execute(
            "SELECT task_id, object_id, worker_id, line, accepted_at"
            " FROM tasks JOIN objects USING(object_id) WHERE task_id=?",
            (task_id,),
        ).fetchone()
        return Task(row[0], row[1], row[2], json.loads(row[3]), row[4]) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _order(worker_id: str, object_id: int) -> bytes:
    return hashlib.blake2b(f"{worker_id}|{object_id}".encode(), digest_size=8).digest()
