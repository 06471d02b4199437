"""What a job's readers said: every newest version, as collecting and counting need it.

Hidden repeats and images whose answer is known never mix with the job's own results.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cxr.labeling.database import one


@dataclass(frozen=True)
class Answer:
    """The newest version of what one worker said of one data object.

    Attributes:
        worker_id: Who.
        content: The form as submitted, a JSON string.
        accepted_at: When the task was opened, in seconds since the epoch.
        submitted_at: When this version was submitted.
        versions: How many there are.
    """

    worker_id: str
    content: str
    accepted_at: float
    submitted_at: float
    versions: int = 1


@dataclass(frozen=True)
class Answered:
    """One of a worker's answered tasks, as she may look it up.

    Attributes:
        task_id: To open it again.
        source: Which image.
        answered_at: When its newest version was submitted, in seconds since the epoch.
        versions: How many there are.
        skipped: Whether the newest is a skip.
    """

    task_id: str
    source: str
    answered_at: float
    versions: int
    skipped: bool


def counts(db: sqlite3.Connection, wanted: int) -> tuple[int, int]:
    """Say how many data objects have all their answers, and how many there are."""
    labelled = one(db, "SELECT count(*) FROM objects WHERE kind='read' AND labelled=1")
    done = one(
        db,
        "SELECT count(*) FROM objects INDEXED BY finished"
        " WHERE kind='read' AND labelled=0 AND done>=?",
        wanted,
    )
    return labelled + done, one(db, "SELECT count(*) FROM objects WHERE kind='read'")


def latest(db: sqlite3.Connection, task_id: str) -> Answer | None:
    """Give the newest version of a task's answer."""
    row = db.execute(
        "SELECT worker_id, content, accepted_at, submitted_at,"
        " (SELECT count(*) FROM answers b WHERE b.task_id=a.task_id)"
        " FROM answers a JOIN tasks USING(task_id) WHERE task_id=?"
        " ORDER BY answer_id DESC LIMIT 1",
        (task_id,),
    ).fetchone()
    return Answer(*row) if row else None


def has(db: sqlite3.Connection, task_id: str, content: str) -> bool:
    """Say whether any version of a task's answer is this one."""
    query = "SELECT EXISTS(SELECT 1 FROM answers WHERE task_id=? AND content=?)"
    return bool(one(db, query, task_id, content))


def answered(db: sqlite3.Connection, worker_id: str) -> list[Answered]:
    """List a worker's answered tasks, the newest first; all of them, or a list would tell them."""
    rows = db.execute(
        "SELECT task_id, source, submitted_at,"
        " (SELECT count(*) FROM answers b WHERE b.task_id=a.task_id), skipped"
        " FROM tasks JOIN objects USING(object_id) JOIN answers a USING(task_id)"
        " WHERE worker_id=? AND answered_at IS NOT NULL"
        " AND answer_id=(SELECT max(answer_id) FROM answers c WHERE c.task_id=a.task_id)"
        " ORDER BY answered_at DESC, answer_id DESC",
        (worker_id,),
    )
    return [
        Answered(task_id, source, at, versions, bool(skipped))
        for task_id, source, at, versions, skipped in rows
    ]


def previous(db: sqlite3.Connection, task_id: str) -> str | None:
    """Give the task that the same worker answered before this one, or last if this is open."""
    row = db.execute(
        "SELECT p.task_id FROM tasks t JOIN tasks p USING(worker_id) WHERE t.task_id=?"
        " AND p.answered_at < coalesce(t.answered_at, 9e99)"
        " ORDER BY p.answered_at DESC, p.rowid DESC LIMIT 1",
        (task_id,),
    ).fetchone()
    return row[0] if row else None


def following(db: sqlite3.Connection, task_id: str) -> str | None:
    """Give the task that the same worker answered after this one, or the one she has open."""
    row = db.execute(
        "SELECT n.task_id FROM tasks t JOIN tasks n USING(worker_id)"
        " WHERE t.task_id=? AND t.answered_at IS NOT NULL AND n.ahead=0"
        " AND coalesce(n.answered_at, 9e99) > t.answered_at"
        " ORDER BY coalesce(n.answered_at, 9e99), n.rowid LIMIT 1",
        (task_id,),
    ).fetchone()
    return row[0] if row else None


def ordinal(db: sqlite3.Connection, task_id: str) -> int:
    """Say which of a worker's images a task is, from 1, in the order of her answers."""
    before = (
        "SELECT count(*) + 1 FROM tasks t JOIN tasks p USING(worker_id)"
        " WHERE t.task_id=? AND p.answered_at < coalesce(t.answered_at, 9e99)"
    )
    return int(one(db, before, task_id))


def answered_by(db: sqlite3.Connection, worker_id: str) -> int:
    """Say how many tasks one worker has answered, hidden ones too."""
    count = "SELECT count(*) FROM tasks WHERE worker_id=? AND answered_at IS NOT NULL"
    return int(one(db, count, worker_id))


def of_objects(
    db: sqlite3.Connection, only: int | None = None
) -> list[tuple[int, str, list[Answer]]]:
    """Give every data object of the job, its line unread, with each worker's answer, in order.

    Args:
        db: To be read.
        only: The ID of one data object; None gives all.
    """
    objects = db.execute(
        "SELECT object_id, line FROM objects WHERE kind='read' AND object_id=coalesce(?, object_id)"
        " ORDER BY object_id",
        (only,),
    ).fetchall()
    found: dict[int, list[Answer]] = {}
    for object_id, answer in _newest(db, "read", only):
        found.setdefault(object_id, []).append(answer)
    return [(object_id, line, found.get(object_id, [])) for object_id, line in objects]


def newer(db: sqlite3.Connection, than: int) -> tuple[int, list[int]]:
    """Say what was answered or corrected after an answer.

    Args:
        db: To be read.
        than: That answer's number, or the number that this gave; 0 is before all.

    Returns:
        The number of the newest answer of all kinds, and the job's own data objects, in order.
    """
    rows = db.execute(
        "SELECT DISTINCT object_id FROM answers JOIN tasks USING(task_id)"
        " WHERE answer_id>? AND kind='read' ORDER BY object_id",
        (than,),
    )
    return one(db, "SELECT coalesce(max(answer_id), 0) FROM answers"), [i for (i,) in rows]


def known(db: sqlite3.Connection) -> list[tuple[str, dict[str, Any], Answer]]:
    """Give worker, the known image's whole line, and her answer on it."""
    lines = dict(db.execute("SELECT object_id, known FROM objects WHERE kind='known'"))
    return [
        (answer.worker_id, json.loads(lines[object_id]), answer)
        for object_id, answer in _newest(db, "known")
    ]


def repeats(db: sqlite3.Connection) -> list[tuple[str, int, Answer, Answer]]:
    """Give worker, object, and her first and second answer, where she answered an image twice.

    What she corrected after she met the image again counts in neither: she could have looked the
    one answer up while correcting the other.
    """
    rows = db.execute(
        "SELECT again.worker_id, again.object_id,"
        " coalesce((SELECT max(answer_id) FROM answers a WHERE a.task_id=first.task_id"
        "           AND submitted_at<=min(again.accepted_at, coalesce("
        "            (SELECT min(r.accepted_at) FROM returned r WHERE r.kind='repeat'"
        "             AND (r.object_id, r.worker_id)=(again.object_id, again.worker_id)), 9e99))),"
        "          (SELECT min(answer_id) FROM answers a WHERE a.task_id=first.task_id)),"
        " (SELECT min(answer_id) FROM answers a WHERE a.task_id=again.task_id)"
        " FROM tasks again JOIN tasks first USING(object_id, worker_id)"
        " WHERE again.kind='repeat' AND first.kind='read' AND again.answered_at IS NOT NULL"
        " ORDER BY again.object_id, again.worker_id"
    ).fetchall()
    return [
        (worker, object_id, _version(db, first), _version(db, again))
        for worker, object_id, first, again in rows
    ]


def _version(db: sqlite3.Connection, answer_id: int) -> Answer:
    row = db.execute(
        "SELECT worker_id, content, accepted_at, submitted_at, (SELECT count(*) FROM answers b"
        " WHERE b.task_id=a.task_id AND b.answer_id<=a.answer_id)"
        " FROM answers a JOIN tasks USING(task_id) WHERE answer_id=?",
        (answer_id,),
    ).fetchone()
    return Answer(*row)


def _newest(
    db: sqlite3.Connection, kind: str, only: int | None = None
) -> Iterator[tuple[int, Answer]]:
    # one object's tasks are few, and found by an index; else a scan is the fastest
    of_one = (
        "" if only is None else "WHERE task_id IN (SELECT task_id FROM tasks WHERE object_id=?)"
    )
    rows = db.execute(
        "SELECT object_id, worker_id, content, accepted_at, submitted_at, versions"
        " FROM answers JOIN tasks USING(task_id)"
        " JOIN (SELECT max(answer_id) AS answer_id, count(*) AS versions"
        f"       FROM answers {of_one} GROUP BY task_id) USING(answer_id)"
        " WHERE kind=? ORDER BY object_id, worker_id",
        (kind,) if only is None else (only, kind),
    )
    for object_id, *row in rows:
        yield object_id, Answer(*row)
