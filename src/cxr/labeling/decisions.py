"""What adjudicators decided on disputed data objects; every version is kept."""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable
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
        disputed: The findings that were in dispute when it was taken, which alone it decides;
            None is all, where an earlier program did not note them.
    """

    worker_id: str
    content: str
    decided_at: float
    versions: int = 1
    disputed: tuple[str, ...] | None = None


def settles(decision: Decision | None, disputed: Iterable[str]) -> bool:
    """Say whether a decision is about all findings that are in dispute now.

    >>> settles(Decision("eve", "{}", 0, disputed=("Edema",)), ["Edema", "Mass"])
    False
    """
    if decision is None:
        return False
    return decision.disputed is None or set(disputed) <= set(decision.disputed)


def newest(db: sqlite3.Connection) -> dict[int, Decision]:
    """Give the newest decision on each data object that has one."""
    rows: Iterable[tuple[int, str, str, float, int, str | None]] = db.execute(
        "SELECT object_id, worker_id, content, decided_at,"
        " count(*) OVER (PARTITION BY object_id), disputed FROM decisions ORDER BY decision_id"
    )
    return {
        object_id: Decision(worker_id, content, decided_at, versions, _names(disputed))
        for object_id, worker_id, content, decided_at, versions, disputed in rows
    }


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def keep(
    db: sqlite3.Connection,
    key: bytes,
    object_id: int,
    worker_id: str,
    content: str,
    disputed: Collection[str] | None = None,
) -> bool:
    """Keep a decision, with its entry in the audit log.

    Args:
        db: In a transaction.
        key: Of the audit log.
        object_id: What was decided on.
        worker_id: Of the adjudicator.
        content: The form as submitted.
        disputed: The findings that are in dispute; None where nobody knows.

    Returns:
        Whether it was new: one that was kept before, and was about all that is in dispute now, is
        not kept twice, for it was sent twice.

    Raises:
        JobError: There is no such data object.
    """
    found = db.execute(
        "SELECT source FROM objects WHERE object_id=? AND kind='read'", (object_id,)
    ).fetchone()
    if found is None:
        raise JobError(f"expected a data object of this job, met {object_id}")
    now, names = time.time(), None if disputed is None else list(disputed)
    same = db.execute(
        "SELECT disputed FROM decisions WHERE object_id=? AND worker_id=? AND content=?",
        (object_id, worker_id, content),
    )
    for (text,) in same:
        if settles(Decision(worker_id, content, now, disputed=_names(text)), names or ()):
            return False
    number = db.execute(
        "INSERT INTO decisions(object_id, worker_id, content, decided_at, disputed)"
        " VALUES(?,?,?,?,?)",
        (object_id, worker_id, content, now, None if names is None else json.dumps(names)),
    ).lastrowid
    detail = {"decision": number, "sha256": audit.sha256(content), "disputed": names}
    audit.append(db, key, "decided", worker=worker_id, source=found[0], **detail)
    return True
