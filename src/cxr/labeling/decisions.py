"""What adjudicators decided on disputed data objects; every version is kept."""

import sqlite3
import time
from dataclasses import dataclass

from cxr.errors import JobError
from cxr.labeling import audit


@dataclass(frozen=True)
class Decision:
    """What an adjudicator said of a disputed data object.

    Attributes:
        worker_id: Of the adjudicator.
        content: The form as submitted, a JSON string.
        decided_at: Seconds since the epoch.
        versions: How many there are, of all adjudicators.
    """

    worker_id: str
    content: str
    decided_at: float
    versions: int = 1


def newest(db: sqlite3.Connection) -> dict[int, Decision]:
    """Give the newest decision on each data object that has one."""
    rows = db.execute(
        "SELECT object_id, worker_id, content, decided_at,"
        " count(*) OVER (PARTITION BY object_id) FROM decisions ORDER BY decision_id"
    )
    return {row[0]: Decision(*row[1:]) for row in rows}


def keep(db: sqlite3.Connection, key: bytes, object_id: int, worker_id: str, content: str) -> bool:
    """Keep a decision, with its entry in the audit log.

    Args:
        db: In a transaction.
        key: Of the audit log.
        object_id: What was decided on.
        worker_id: Of the adjudicator.
        content: The form as submitted.

    Returns:
        Whether it was new: the newest one again is not kept twice.

    Raises:
        JobError: There is no such data object.
    """
    found = db.execute(
        "SELECT source FROM objects WHERE object_id=? AND kind='read'", (object_id,)
    ).fetchone()
    if found is None:
        raise JobError(f"expected a data object of this job, met {object_id}")
    before = db.execute(
        "SELECT worker_id, content FROM decisions WHERE object_id=?"
        " ORDER BY decision_id DESC LIMIT 1",
        (object_id,),
    ).fetchone()
    if before == (worker_id, content):
        return False
    number = db.execute(
        "INSERT INTO decisions(object_id, worker_id, content, decided_at) VALUES(?,?,?,?)",
        (object_id, worker_id, content, time.time()),
    ).lastrowid
    detail = {"decision": number, "sha256": audit.sha256(content)}
    audit.append(db, key, "decided", worker=worker_id, source=found[0], **detail)
    return True
