"""What is put before a worker: one data object, once.

A task that nobody answered in time goes back and is remembered: who comes late takes it again, as
long as the image still wants an answer, and so loses nothing.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One data object before one worker.

    Attributes:
        id: Opaque.
        object_id: Ground Truth's `datasetObjectId`: the line's number, from 0; below 0 where the
            answer is known.
        worker_id: Whose it is.
        data_object: The manifest line.
        accepted_at: Seconds since the epoch.
        kind: `read`, `known` or `repeat`; no reader is told.
        answered: Whether it was.
    """

    id: str
    object_id: int
    worker_id: str
    data_object: Mapping[str, Any]
    accepted_at: float
    kind: str = "read"
    answered: bool = False


def find(db: sqlite3.Connection, task_id: str | None) -> Task | None:
    """Find a task, open or answered."""
    return _task(db, "tasks", "answered_at IS NOT NULL", task_id)


def returned(db: sqlite3.Connection, task_id: str) -> Task | None:
    """Find a task that went back."""
    return _task(db, "returned", "0", task_id)


def expire(db: sqlite3.Connection, before: float) -> None:
    """Take back the open tasks at which nobody was at work since a time; their drafts stay.

    At work is who opened the image or had a draft of it saved.
    """
    rows = db.execute(
        "DELETE FROM tasks WHERE answered_at IS NULL AND accepted_at<:before AND NOT EXISTS("
        " SELECT 1 FROM drafts d WHERE d.object_id=tasks.object_id"
        " AND d.worker_id=tasks.worker_id AND d.kind=tasks.kind AND saved_at>=:before)"
        " RETURNING task_id, object_id, worker_id, kind, accepted_at",
        {"before": before},
    ).fetchall()
    db.executemany("INSERT INTO returned VALUES(?,?,?,?,?)", rows)


def take_again(db: sqlite3.Connection, task_id: str, wanted: int, *, ahead: int) -> Task | None:
    """Give a task that went back to its worker again, if its image still wants her answer.

    Args:
        db: In a transaction.
        task_id: Of a task that went back.
        wanted: Answers for each data object.
        ahead: What it becomes: 0 the open one, 2 one more, to be answered in this transaction.

    Returns:
        The task, or the one under which she met the image since; None where it was not taken.
    """
    task = returned(db, task_id)
    if task is None:
        return None
    whose = (task.object_id, task.worker_id, task.kind)
    since = db.execute(
        "SELECT task_id FROM tasks WHERE (object_id, worker_id, kind)=(?,?,?)", whose
    ).fetchone()
    if since:
        return find(db, since[0])
    given, labelled, busy = db.execute(
        "SELECT given, labelled, EXISTS(SELECT 1 FROM tasks WHERE worker_id=? AND ahead=?"
        " AND answered_at IS NULL) FROM objects WHERE object_id=?",
        (task.worker_id, ahead, task.object_id),
    ).fetchone()
    if labelled or busy or (task.kind == "read" and given >= wanted):
        return None
    db.execute("DELETE FROM returned WHERE task_id=?", (task_id,))
    db.execute(
        "INSERT INTO tasks(task_id, object_id, worker_id, kind, accepted_at, ahead)"
        " VALUES(?,?,?,?,?,?)",
        (task_id, *whose, task.accepted_at, ahead),
    )
    return find(db, task_id)


def held(db: sqlite3.Connection, worker_id: str) -> tuple[str | None, str | None]:
    """Give the task that a worker has open, and the one reserved for her."""
    rows = db.execute(
        "SELECT ahead, task_id FROM tasks WHERE worker_id=? AND answered_at IS NULL", (worker_id,)
    )
    held = dict(rows.fetchall())
    return held.get(0), held.get(1)


def _task(db: sqlite3.Connection, table: str, answered: str, task_id: str | None) -> Task | None:
    row = db.execute(
        f"SELECT task_id, object_id, worker_id, line, accepted_at, t.kind, {answered}"
        f" FROM {table} t JOIN objects USING(object_id) WHERE task_id=?",
        (task_id,),
    ).fetchone()
    if row is None:
        return None
    task_id, object_id, worker_id, line, accepted_at, kind, done = row
    data_object = json.loads(line)
    return Task(task_id, object_id, worker_id, data_object, accepted_at, kind, bool(done))
