"""Which image a worker meets next.

Data objects come in an order that differs between workers and never between calls. Some of a
worker's tasks are images whose answer is known (`known`, honeypots), some are images she answered
before (`repeat`); which of her tasks those are follows from a hash of worker and ordinal, and
nothing that reaches her tells them from the others (`read`).
"""

import hashlib
import sqlite3
import uuid
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from cxr.errors import JobError
from cxr.labeling import tasks
from cxr.labeling.database import one
from cxr.labeling.tasks import Task

_GUESSES = 20
"""Objects asked about one by one before all that want answers are fetched."""
_APART = (3, 20)
"""Fewest and most tasks between an image and its hidden repeat."""


@dataclass(frozen=True)
class Rules:
    """How a job's images are given out.

    Attributes:
        workers_per_object: Answers wanted for each data object.
        task_time_limit_s: After which a task at which nobody is at work goes back, in seconds.
        known_share: Of a worker's tasks, those whose answer is known.
        repeat_share: Of a worker's tasks, those she did before.
    """

    workers_per_object: int
    task_time_limit_s: float
    known_share: float = 0.0
    repeat_share: float = 0.0

    def __post_init__(self) -> None:
        shares = self.known_share, self.repeat_share
        if min(shares) < 0 or sum(shares) >= 1:
            raise JobError(
                "expected shares of known and of repeated images from 0 on and together below 1, "
                f"met {shares[0]:g} and {shares[1]:g}"
            )


@dataclass
class Offers:
    """Gives out tasks, within the caller's transaction.

    Attributes:
        rules: Of the job.
    """

    rules: Rules
    _orders: dict[str, tuple[list[int], int]] = field(default_factory=dict)

    def expire(self, db: sqlite3.Connection, now: float) -> None:
        """Take back the tasks at which nobody was at work for the time limit."""
        tasks.expire(db, now - self.rules.task_time_limit_s)

    def take_again(self, db: sqlite3.Connection, task_id: str, *, ahead: int) -> Task | None:
        """Give a task that went back to its worker again; see `tasks.take_again`."""
        return tasks.take_again(db, task_id, self.rules.workers_per_object, ahead=ahead)

    def reserve(
        self, db: sqlite3.Connection, worker: str, now: float, *, ahead: bool
    ) -> str | None:
        """Give a worker one more task, or None where no image wants her answer."""
        found = self._begun(db, worker)
        if found is None:
            read = self._next_read(db, worker)
            if read is None:
                return None
            found = self._in_its_place(db, worker) or (read, "read")
        object_id, kind = found
        task_id = uuid.uuid4().hex
        db.execute(
            "INSERT INTO tasks(task_id, object_id, worker_id, kind, accepted_at, ahead)"
            " VALUES(?,?,?,?,?,?)",
            (task_id, object_id, worker, kind, now, ahead),
        )
        return task_id

    def most(self, db: sqlite3.Connection, worker: str) -> int:
        """Say how many tasks a worker will have had when nothing is left, at most and about.

        It counts the hidden ones in by their shares, and so does not move when one is given.
        """
        (wanting,) = db.execute(
            "SELECT count(*) FROM objects INDEXED BY wanting"
            " WHERE kind='read' AND labelled=0 AND given<?",
            (self.rules.workers_per_object,),
        ).fetchone()
        had, mine, both = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE t.kind='read'),"
            " count(*) FILTER (WHERE t.kind='read' AND labelled=0 AND given<?)"
            " FROM tasks t JOIN objects USING(object_id) WHERE worker_id=?",
            (self.rules.workers_per_object, worker),
        ).fetchone()
        free = wanting - both
        share = self.rules.known_share + self.rules.repeat_share
        return max(had, round((free + mine) / (1 - share))) if free else int(had)

    def _begun(self, db: sqlite3.Connection, worker: str) -> tuple[int, str] | None:
        """Find what a worker has a draft of and may still answer; the newest first."""
        row: tuple[int, str] | None = db.execute(
            "SELECT object_id, d.kind FROM drafts d INDEXED BY drafts_by_worker"
            " JOIN objects o USING(object_id)"
            " WHERE worker_id=? AND labelled=0 AND (d.kind!='read' OR given<?)"
            " AND NOT EXISTS(SELECT 1 FROM tasks t WHERE t.object_id=d.object_id"
            "  AND t.worker_id=d.worker_id AND t.kind=d.kind)"
            " ORDER BY saved_at DESC LIMIT 1",
            (worker, self.rules.workers_per_object),
        ).fetchone()
        return row

    def _next_read(self, db: sqlite3.Connection, worker: str) -> int | None:
        """Find the next object that wants an answer and has none by this worker.

        The search goes on where it last ended and comes round once, since tasks go back.
        """
        total = max(0, int(one(db, "SELECT coalesce(max(object_id) + 1, 0) FROM objects")))
        order, place = self._orders.get(worker, ([], 0))
        if len(order) != total:
            order = sorted(range(total), key=lambda i: _order(worker, i))
            place = 0
        for step, object_id in self._candidates(db, worker, order, place):
            given, mine, labelled = db.execute(
                "SELECT given, EXISTS(SELECT 1 FROM tasks t WHERE t.object_id=o.object_id"
                " AND t.worker_id=?), labelled FROM objects o WHERE object_id=?",
                (worker, object_id),
            ).fetchone()
            if given < self.rules.workers_per_object and not mine and not labelled:
                self._orders[worker] = (order, (place + step) % total)
                return object_id
        return None

    def _candidates(
        self, db: sqlite3.Connection, worker: str, order: list[int], place: int
    ) -> Iterator[tuple[int, int]]:
        """Give the objects from a place on and round, soon only those that want answers."""
        total = len(order)
        wanting: Set[int] | None = None
        for step in range(total):
            object_id = order[(place + step) % total]
            if step >= _GUESSES:
                if wanting is None:
                    wanting = self._wanting(db, worker)
                if not wanting:
                    return
                if object_id not in wanting:
                    continue
            yield step, object_id

    def _wanting(self, db: sqlite3.Connection, worker: str) -> Set[int]:
        rows = db.execute(
            "SELECT object_id FROM objects INDEXED BY wanting"
            " WHERE kind='read' AND labelled=0 AND given<?"
            " EXCEPT SELECT object_id FROM tasks WHERE worker_id=?",
            (self.rules.workers_per_object, worker),
        )
        return {object_id for (object_id,) in rows}

    def _in_its_place(self, db: sqlite3.Connection, worker: str) -> tuple[int, str] | None:
        """Give a known image or a repeat, where this ordinal of the worker's is one."""
        honeypots, repeats = self.rules.known_share, self.rules.repeat_share
        if not honeypots and not repeats:
            return None
        ordinal = one(db, "SELECT count(*) FROM tasks WHERE worker_id=?", worker)
        drawn = int.from_bytes(_order(worker, f"ordinal {ordinal}")) / 2**64
        if drawn < honeypots:
            found, kind = self._known(db, worker), "known"
        elif drawn < honeypots + repeats:
            found, kind = self._repeatable(db, worker), "repeat"
        else:
            return None
        return None if not found else (min(found, key=lambda i: _order(worker, i)), kind)

    def _known(self, db: sqlite3.Connection, worker: str) -> list[int]:
        rows = db.execute(
            "SELECT object_id FROM objects WHERE kind='known' AND labelled=0"
            " EXCEPT SELECT object_id FROM tasks WHERE worker_id=?",
            (worker,),
        )
        return [object_id for (object_id,) in rows]

    def _repeatable(self, db: sqlite3.Connection, worker: str) -> list[int]:
        """Give the images that a worker answered some tasks ago, and only once."""
        done = db.execute(
            "SELECT object_id, kind FROM tasks WHERE worker_id=? AND answered_at IS NOT NULL"
            " ORDER BY answered_at, rowid",
            (worker,),
        ).fetchall()
        fewest, most = _APART
        apart = max(fewest, min(most, len(done) // 4))
        twice = {i for (i,) in db.execute(
            "SELECT object_id FROM tasks WHERE worker_id=? AND kind='repeat'", (worker,)
        )}  # fmt: skip
        old = done[: max(0, len(done) - apart)]
        return [i for i, kind in old if kind == "read" and i not in twice]


def _order(worker: str, what: object) -> bytes:
    return hashlib.blake2b(f"{worker}|{what}".encode(), digest_size=8).digest()
