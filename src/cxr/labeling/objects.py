"""The data objects of a job: its own, and those whose answer is known."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from cxr.contract import manifest
from cxr.errors import JobError
from cxr.labeling.database import one


def add(db: sqlite3.Connection, lines: Iterable[Mapping[str, Any]], attribute: str) -> int:
    """Take a job's own data objects up; those there already stay as they are.

    Args:
        db: In a transaction.
        lines: Of the input manifest; the number of a line, from 0, becomes its object ID, unless
            some have been withdrawn.
        attribute: A line that holds it is labelled already.

    Returns:
        How many there are now.

    Raises:
        JobError: One image stands in the manifest twice.
    """
    there = _sources(db, "read")
    free = one(db, "SELECT coalesce(max(object_id) + 1, 0) FROM objects WHERE object_id>=0")
    seen: set[str] = set()
    for line in lines:
        source = _once(line, seen)
        if source not in there:
            row = (free, source, json.dumps(line), attribute in line)
            there[source], free = free, free + 1
            db.execute(
                "INSERT INTO objects(object_id, source, line, labelled) VALUES(?,?,?,?)", row
            )
            # as a honeypot too, its readers would meet it twice
            db.execute("UPDATE objects SET labelled=1 WHERE source=? AND kind='known'", (source,))
    return len(there)


def add_known(
    db: sqlite3.Connection, pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> int:
    """Take up images whose answer is known; one that is among the job's own is left out.

    Args:
        db: In a transaction.
        pairs: What a worker is asked, like any line of the job, and the line that knows the
            answer.

    Returns:
        How many there are to be offered.

    Raises:
        JobError: One image is there twice.
    """
    there, own = _sources(db, "known"), _sources(db, "read")
    free = one(db, "SELECT coalesce(min(object_id) - 1, -1) FROM objects WHERE object_id<0")
    seen: set[str] = set()
    for line, known in pairs:
        source = _once(line, seen)
        if source in there or source in own:
            continue
        there[source], free = free, free - 1
        db.execute(
            "INSERT INTO objects(object_id, source, line, kind, known) VALUES(?,?,?,'known',?)",
            (there[source], source, json.dumps(line), json.dumps(known)),
        )
    return int(one(db, "SELECT count(*) FROM objects WHERE kind='known' AND labelled=0"))


def _sources(db: sqlite3.Connection, kind: str) -> dict[str, int]:
    rows = db.execute("SELECT source, object_id FROM objects WHERE kind=?", (kind,))
    return dict(rows.fetchall())


def _once(line: Mapping[str, Any], seen: set[str]) -> str:
    source = manifest.source(line)
    if source in seen:
        raise JobError(f"expected each image once, met {source!r} twice")
    seen.add(source)
    return source
