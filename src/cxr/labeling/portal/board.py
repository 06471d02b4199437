"""What lead and adjudicators look at, worked out once for all who look.

Answers are read again only when the store has changed, and parsed once. What is slow is done
again only after ten times as long as it took: watching a job takes a tenth of a core at most.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from cxr.contract import labels, manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Job, consolidation, overview
from cxr.labeling.answers import Answers
from cxr.labeling.overview import Reading
from cxr.labeling.results import Answer

_REST = 10
"""A value is not worked out again before this many times its cost has gone by …"""
_REST_S = 15
"""… but then, whatever it cost."""
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
            self._rested_at = time.monotonic() + min(_REST_S, _REST * (time.monotonic() - begun))
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
        stamp: The number of the newest answer.
        readings: One per worker and data object.
        wanted: How many the job wants in all.
        disputes: In the order of the manifest.
    """

    stamp: int
    readings: tuple[Reading, ...]
    wanted: int
    disputes: tuple[Dispute, ...]


@dataclass(frozen=True)
class _Object:
    """What was said of one data object.

    Attributes:
        label_set: What is asked of it.
        source: Which image.
        wanted: Answers that the job wants of it.
        readings: One per worker.
        dispute: Where they differ and none is missing.
    """

    label_set: LabelSet
    source: str
    wanted: int
    readings: tuple[Reading, ...] = ()
    dispute: Dispute | None = None


class Board:
    """A job's answers and figures, kept up to date as somebody asks."""

    def __init__(self, job: Job, answers: Answers) -> None:
        self._job, self._answers = job, answers
        self._told: Kept[Told] = Kept()
        self._figures: Kept[dict[str, Any]] = Kept()
        self._objects: dict[int, _Object] = {}
        self._upto = 0

    def told(self, *, fresh: bool = False) -> Told:
        """Give all answers; up to the last one where `fresh`."""
        newest, _ = self._answers.newer(self._upto)
        return self._told.get(newest, self._read, fresh=fresh)

    def figures(self) -> dict[str, Any]:
        """Give what takes long to compute: agreement, known answers, repeats."""
        told = self.told()

        def compute() -> dict[str, Any]:
            return {
                "answers": len(told.readings),
                "upto": told.stamp,
                "findings": overview.findings(told.readings, self._job),
                "honeypots": overview.honeypots(self._answers.known_results(), self._job),
                "repeats": overview.repeats(self._answers.repeats(), self._job),
            }

        return self._figures.get(told.stamp, compute)

    def _read(self) -> Told:
        """Take up what was said since it was last asked; one thread at a time."""
        newest, changed = self._answers.newer(self._upto)
        if not self._objects:
            results = self._answers.results()
        else:
            results = (result for i in changed for result in self._answers.results(i))
        for object_id, line, answers in results:
            known = self._objects.get(object_id) or self._begun(line)
            self._objects[object_id] = _updated(object_id, known, answers)
        self._upto = newest
        objects = self._objects.values()
        return Told(
            newest,
            tuple(reading for one in objects for reading in one.readings),
            sum(one.wanted for one in objects),
            tuple(one.dispute for one in objects if one.dispute),
        )

    def _begun(self, line: Mapping[str, Any]) -> _Object:
        # what an earlier job labelled is asked of nobody
        wanted = 0 if self._job.name in line else self._job.workers_per_object
        return _Object(labels.from_data_object(line), manifest.source(line), wanted)


def _updated(object_id: int, known: _Object, answers: Sequence[Answer]) -> _Object:
    had = {reading.worker: reading for reading in known.readings}
    readings = tuple(
        had[answer.worker_id]
        if answer.worker_id in had and had[answer.worker_id].submitted_at == answer.submitted_at
        else overview.reading(object_id, answer, known.label_set)
        for answer in answers
    )
    names = _disputed(readings, known.label_set) if len(readings) >= max(1, known.wanted) else []
    dispute = Dispute(object_id, known.source, tuple(names)) if names else None
    return replace(known, readings=readings, dispute=dispute)


def _disputed(told: Sequence[Reading], label_set: LabelSet) -> list[str]:
    votes = [{"label": name, "votes": overview.count(told, name)} for name in label_set.findings]
    return consolidation.disputes({"findings": votes, consolidation.ANSWERS: told}, label_set)
