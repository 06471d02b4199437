"""What is put before a worker: one data object, once."""

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
    row = db.execute(
        "SELECT task_id, object_id, worker_id, line, accepted_at, t.kind, answered_at IS NOT NULL"
        " FROM tasks t JOIN objects USING(object_id) WHERE task_id=?",
        (task_id,),
    ).fetchone()
    if row is None:
        return None
    task_id, object_id, worker_id, line, accepted_at, kind, answered = row
    data_object = json.loads(line)
    return Task(task_id, object_id, worker_id, data_object, accepted_at, kind, bool(answered))
