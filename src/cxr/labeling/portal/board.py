"""What lead and adjudicators look at, worked out once for all who look.

Answers are read again only when the store has changed, and parsed once. What is slow is done
again only after ten times as long as it took: watching a job takes a tenth of a core at most.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from cxr.contract import labels, manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Job, consolidation, overview
from cxr.labeling.answers import Answers
from cxr.labeling.overview import Reading

_REST = 10
"""A value is not worked out again before this many times its cost has gone by."""
T = TypeVar("T")


class Kept(Generic[T]):
    """A value that is kept until what it comes from has changed; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: tuple[object, T] | None = None
        self._rested_at = 0.0

    def get(self, stamp: object, compute: Callable[[], T], *, fresh: bool = False) -> T:
        """Give the value, worked out again where the stamp is another one.

        Args:
            stamp: What tells whether anything changed.
            compute: Works the value out.
            fresh: Never give an earlier value; else it is given while another thread is at work,
                or while the value rests.
        """
        known = self._value
        resting = time.monotonic() < self._rested_at and not fresh
        if known is not None and (known[0] == stamp or resting):
            return known[1]
        if not self._lock.acquire(blocking=known is None or fresh):
            return cast(tuple[object, T], known)[1]
        try:
            known = self._value
            if known is not None and known[0] == stamp:
                return known[1]  # whoever had the lock did it
            begun = time.monotonic()
            value = compute()
            self._value = (stamp, value)
            self._rested_at = time.monotonic() + _REST * (time.monotonic() - begun)
            return value
        finally:
            self._lock.release()


@dataclass(frozen=True)
class Dispute:
    """A data object with all its answers, on which they differ.

    Attributes:
        object_id: Its line's number in the input manifest, from 0.
        source: Which image.
        labels: The findings in dispute, in the order of the label set.
    """

    object_id: int
    source: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """All answers at one moment.

    Attributes:
        stamp: The store's, before they were read.
        readings: One per worker and data object.
        wanted: How many the job wants in all.
        disputes: In the order of the manifest.
    """

    stamp: int
    readings: tuple[Reading, ...]
    wanted: int
    disputes: tuple[Dispute, ...]


class Board:
    """A job's answers and figures, kept up to date as somebody asks."""

    def __init__(self, job: Job, answers: Answers) -> None:
        self._job, self._answers = job, answers
        self._told: Kept[Told] = Kept()
        self._figures: Kept[dict[str, Any]] = Kept()
        self._parsed: dict[tuple[int, str], Reading] = {}

    def stamp(self) -> int:
        """Give a number that grows with everything that is stored."""
        return self._answers.head().count

    def told(self, *, fresh: bool = False) -> Told:
        """Give all answers; up to the last one where `fresh`."""
        stamp = self.stamp()
        return self._told.get(stamp, lambda: self._read(stamp), fresh=fresh)

    def figures(self) -> dict[str, Any]:
        """Give what takes long to compute: agreement, known answers, repeats."""
        told = self.told()

        def compute() -> dict[str, Any]:
            return {
                "stamp": told.stamp,
                "answers": len(told.readings),
                "findings": overview.findings(told.readings, self._job),
                "honeypots": overview.honeypots(self._answers.known_results(), self._job),
                "repeats": overview.repeats(self._answers.repeats(), self._job),
            }

        return self._figures.get(told.stamp, compute)

    def _read(self, stamp: int) -> Told:
        told: list[Reading] = []
        found: list[Dispute] = []
        wanted = 0
        for object_id, line, answers in self._answers.results():
            label_set = labels.from_data_object(line)
            wanted += 0 if self._job.name in line else self._job.workers_per_object
            mine = []
            for answer in answers:
                key = (object_id, answer.worker_id)
                kept = self._parsed.get(key)
                if kept is None or kept.submitted_at != answer.submitted_at:
                    kept = self._parsed[key] = overview.reading(object_id, answer, label_set)
                mine.append(kept)
            told += mine
            if mine and len(mine) >= self._job.workers_per_object:
                names = _disputed(mine, label_set)
                if names:
                    found.append(Dispute(object_id, manifest.source(line), tuple(names)))
        return Told(stamp, tuple(told), wanted, tuple(found))


def _disputed(told: list[Reading], label_set: LabelSet) -> list[str]:
    votes = [{"label": name, "votes": overview.count(told, name)} for name in label_set.findings]
    return consolidation.disputes({"findings": votes, consolidation.ANSWERS: told}, label_set)
