"""Who saw, answered, decided and exported what, and when: a log that is only ever added to.

Each entry's hash is an HMAC over the entry and the hash before it, so nothing can be changed,
taken out or put in between without the key; it is written in the transaction of what it tells.
`verify` also holds every stored data object, answer and decision against its entry.

A cut-off end is found by three things: answers without entries, SQLite's own count of entries ever
written, and the heads (number and hash of the last entry) that every export adds to `audit.head`
beside the file. What cannot be found: a forgery by somebody who has the key, or the whole folder
put back as it was at an earlier time; who fears that keeps a copy of `audit.head` elsewhere.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr.contract.signing import Keys
from cxr.errors import JobError

HEAD = "audit.head"
"""File beside the database: one line `<entries> <hash> <time>` per export."""
WITHDRAWN = "withdrawn"
"""The event after which some of what earlier entries tell of is gone."""
_STORED = {
    "answer": "SELECT answer_id, content, worker_id, source, NULL FROM answers"
    " JOIN tasks USING(task_id) JOIN objects USING(object_id)",
    "decision": "SELECT decision_id, content, worker_id, source, disputed FROM decisions"
    " JOIN objects USING(object_id)",
}


_KNOWS_DISPUTED = 2
"""The schema from which on a decision says what was in dispute."""
_Told = tuple[int, str, str, str, str | None]
"""Of what an entry tells: its number, the content's hash, worker, source, findings in dispute."""


@dataclass(frozen=True)
class Head:
    """The end of a log.

    Attributes:
        count: Entries up to here.
        hash: Of the last one, in hex; empty where there is none.
    """

    count: int
    hash: str


def keys(signers: Keys) -> tuple[bytes, ...]:
    """Derive the log's keys from a site's signing keys: the first one writes, all verify."""
    return tuple(
        hmac.new(secret, b"cxr audit log", "sha256").digest() for secret in signers.by_id.values()
    )


def sha256(content: str) -> str:
    """Give what an entry says of an answer's content."""
    return hashlib.sha256(content.encode()).hexdigest()


def append(
    db: sqlite3.Connection,
    key: bytes,
    event: str,
    *,
    worker: str = "",
    source: str = "",
    **detail: Any,
) -> None:
    """Add an entry, within the transaction of what it tells.

    Args:
        db: In a transaction.
        key: From `keys`.
        event: `listed` (images taken up), `signed-in`, `passphrase-set`, `seen`, `answered`,
            `corrected`, `decided`, `closed`, `reopened`, `exported` or `withdrawn`.
        worker: Who did it, or empty.
        source: Which image, or empty.
        detail: What else, as JSON.
    """
    before = head(db)
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = json.dumps(detail, sort_keys=True)
    row = (before.count + 1, time, event, worker, source, text)
    db.execute("INSERT INTO audit VALUES(?,?,?,?,?,?,?)", (*row, _hash(key, before.hash, row)))


def head(db: sqlite3.Connection) -> Head:
    """Give the end of the log."""
    row = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, "")


def note_head(folder: Path, end: Head) -> None:
    """Write down the end of the log beside it, so that a cut-off end is found."""
    with (folder / HEAD).open("a") as file:
        file.write(f"{end.count} {end.hash} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")


def append_listed(db: sqlite3.Connection, key: bytes, kind: str) -> None:
    """Add an entry on all data objects of a kind, if there are more than the last one tells of."""
    count = _objects(db, kind)
    told = 0
    for event, text in db.execute(
        "SELECT event, detail FROM audit WHERE event IN ('listed', ?) ORDER BY seq", (WITHDRAWN,)
    ):
        detail = json.loads(text)
        if event == WITHDRAWN:
            told = detail["listed"][kind][0]
        elif detail["kind"] == kind:
            told = detail["objects"]
    if count > told:
        append(db, key, "listed", kind=kind, objects=count, sha256=_listing(db, kind, count))


def append_withdrawn(
    db: sqlite3.Connection,
    key: bytes,
    *,
    patient: str,
    objects: int,
    answers: Sequence[int],
    decisions: Sequence[int],
) -> None:
    """Add an entry on what was deleted because a patient withdrew, in the same transaction.

    It is what lets `verify` tell this from answers that somebody made away with.

    Args:
        db: In a transaction, the rows gone.
        key: From `keys`.
        patient: The mark of who it was.
        objects: How many data objects.
        answers: Numbers of the answers.
        decisions: Numbers of the decisions.
    """
    kinds = {kind: _objects(db, kind) for kind in ("read", "known")}
    listed = {kind: [count, _listing(db, kind, count)] for kind, count in kinds.items()}
    append(
        db, key, WITHDRAWN, patient=patient, objects=objects, answers=sorted(answers),
        decisions=sorted(decisions), listed=listed,
    )  # fmt: skip


def take_up(db: sqlite3.Connection, key: bytes) -> None:
    """Add the entries of what was there before there was a log."""
    append_listed(db, key, "read")
    rows = db.execute(f"{_STORED['answer']} ORDER BY answer_id").fetchall()
    seen: set[tuple[str, str]] = set()
    for number, content, worker, source, _ in rows:
        event = "corrected" if (worker, source) in seen else "answered"
        seen.add((worker, source))
        detail = {"answer": number, "sha256": sha256(content), "before": "this log"}
        append(db, key, event, worker=worker, source=source, **detail)


def opened_dispute(db: sqlite3.Connection, worker: str, source: str) -> bool:
    """Say whether somebody saw, as adjudicator, what the readers said of an image."""
    query = "SELECT 1 FROM audit WHERE event='seen' AND worker=? AND source=? AND detail LIKE ?"
    return db.execute(query, (worker, source, '{"dispute":%')).fetchone() is not None


def verify(path: Path, key: Sequence[bytes]) -> int:
    """Check a job's whole log, and every stored answer and decision against it.

    Args:
        path: Of the job's database; a portal may be writing it.
        key: From `keys`; an entry may be under any of them.

    Returns:
        How many entries there are.

    Raises:
        JobError: Naming the first entry, answer or decision that is wrong.
    """
    if not path.exists():
        raise JobError(f"{path}: expected a job that has begun, met no such file")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")  # one moment's state
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name='audit'").fetchone():
                raise JobError(f"{path}: this job began before there was a log; label on to begin")
            return _verify(db, path, key)
    except sqlite3.DatabaseError as error:
        raise JobError(f"{path}: expected a job's answers, met another file ({error})") from error


def _verify(db: sqlite3.Connection, path: Path, key: Sequence[bytes]) -> int:
    told: dict[str, dict[int, _Told]] = {name: {} for name in _STORED}
    heads = dict(_heads(path.with_name(HEAD)))
    listed: dict[str, tuple[int, int, str]] = {"read": (0, 0, ""), "known": (0, 0, "")}
    end = Head(0, "")
    for row in db.execute("SELECT * FROM audit ORDER BY seq"):
        seq, _, event, worker, source, text, given = row
        place = f"{path}: entry {end.count + 1} of the audit log"
        if seq != end.count + 1:
            raise JobError(f"{place} is missing; the next one there is {seq}")
        if not any(_hash(k, end.hash, row[:6]) == given for k in key):
            raise JobError(f"{place} was changed, or is under another key")
        if heads.get(seq, given) != given:
            raise JobError(f"{place} is not the one that {HEAD} noted")
        detail = json.loads(text)
        for kind in _STORED:
            if kind in detail:
                names = detail.get("disputed")
                stored = worker, source, None if names is None else json.dumps(names)
                told[kind][detail[kind]] = (seq, detail["sha256"], *stored)
        if event == "listed":
            listed[detail["kind"]] = (seq, detail["objects"], detail["sha256"])
        elif event == WITHDRAWN:
            _forget(told, detail)
            listed |= {kind: (seq, *told_of) for kind, told_of in detail["listed"].items()}
        end = Head(seq, given)
    _check_end(db, path, end, heads)
    for kind, listing in listed.items():
        _check_listed(db, path, kind, *listing)
    for kind, entries in told.items():
        _check_stored(db, path, kind, entries)
    return end.count


def _forget(told: Mapping[str, dict[int, _Told]], detail: Mapping[str, Any]) -> None:
    """Expect what was withdrawn to be gone."""
    for kind in _STORED:
        for number in detail[f"{kind}s"]:
            told[kind].pop(number, None)


def _check_end(db: sqlite3.Connection, path: Path, end: Head, heads: dict[int, str]) -> None:
    """Find entries that were there once."""
    written = db.execute("SELECT seq FROM sqlite_sequence WHERE name='audit'").fetchone()
    most = max([written[0] if written else 0, *heads])
    if most > end.count:
        raise JobError(
            f"{path}: entry {end.count + 1} of the audit log is missing, and all up to {most}"
        )


def _check_listed(
    db: sqlite3.Connection, path: Path, kind: str, seq: int, told: int, sha256: str
) -> None:
    """Hold the data objects against what the log tells of them."""
    count = _objects(db, kind)
    if count > told:
        raise JobError(f"{path}: {count - told} {kind} data objects have no entry in the audit log")
    if told and sha256 != _listing(db, kind, told):
        raise JobError(
            f"{path}: the {told} {kind} data objects are not those that entry {seq} of the "
            "audit log tells of"
        )


def _check_stored(db: sqlite3.Connection, path: Path, kind: str, told: dict[int, _Told]) -> None:
    """Hold what is stored against what the log tells of it."""
    query = _STORED[kind]
    if db.execute("PRAGMA user_version").fetchone()[0] < _KNOWS_DISPUTED:
        query = query.replace(", disputed", ", NULL")
    for number, content, *stored in db.execute(query):
        seq, digest, *who = told.pop(number, (0, "", "", "", None))
        if not seq:
            raise JobError(f"{path}: {kind} {number} has no entry in the audit log")
        if digest != sha256(content) or who != stored:
            raise JobError(
                f"{path}: {kind} {number} is not the one that entry {seq} of the audit log tells of"
            )
    for number, (seq, *_) in sorted(told.items()):
        raise JobError(
            f"{path}: {kind} {number}, told of in entry {seq} of the audit log, is missing"
        )


def _heads(path: Path) -> Iterator[tuple[int, str]]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        count, _, rest = line.partition(" ")
        if not count.isdecimal():
            raise JobError(f"{path}:{number}: expected entries, hash and time, met {line[:40]!r}")
        if int(count):
            yield int(count), rest.partition(" ")[0]


def _objects(db: sqlite3.Connection, kind: str) -> int:
    query = "SELECT count(*) FROM objects WHERE kind=?"
    return int(db.execute(query, (kind,)).fetchone()[0])


def _listing(db: sqlite3.Connection, kind: str, count: int) -> str:
    """Give the hash of the first data objects of a kind, in hex."""
    digest = hashlib.sha256()
    for row in db.execute(
        "SELECT object_id, source, line, known FROM objects WHERE kind=?"
        " ORDER BY abs(object_id) LIMIT ?",
        (kind, count),
    ):
        digest.update(json.dumps(row, default=repr).encode() + b"\n")
    return digest.hexdigest()


def _hash(key: bytes, before: str, row: Sequence[Any]) -> str:
    text = json.dumps([before, *row], separators=(",", ":"), default=repr)
    return hmac.new(key, text.encode(), "sha256").hexdigest()
