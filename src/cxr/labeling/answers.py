"""Which reader has which image, and everything they ever answered: one SQLite file per job.

Every accepted answer is on disk before the call returns, with its entry in the audit log, so a
killed portal loses nothing. Answers are never changed: a correction is a further version.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.errors import ClosedError, JobError, StaleError
from cxr.labeling import audit, decisions, drafts, objects, results, tasks
from cxr.labeling.database import Database, one
from cxr.labeling.decisions import Decision
from cxr.labeling.offers import Offers, Rules
from cxr.labeling.results import Answer, Answered
from cxr.labeling.tasks import Task

_GONE = "this image went back after its time limit; open the next one"


class Answers:
    """Tasks and answers of one job; safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        *,
        workers_per_object: int,
        task_time_limit_s: float,
        readers: Collection[str] | None = None,
        known_share: float = 0.0,
        repeat_share: float = 0.0,
        audit_key: bytes = b"",
    ) -> None:
        """Open or create the file.

        Args:
            path: Of the SQLite database.
            workers_per_object: Answers wanted for each data object.
            task_time_limit_s: After which a task at which nobody is at work goes back.
            readers: Who may be given tasks; None is anybody.
            known_share: Of each worker's tasks, those whose answer is known.
            repeat_share: Of each worker's tasks, those she answered before.
            audit_key: First of `audit.keys`; empty makes a log that anybody could forge.

        Raises:
            JobError: Shares that cannot be, or a file of a newer version.
        """
        rules = Rules(workers_per_object, task_time_limit_s, known_share, repeat_share)
        self._offers = Offers(rules)
        self._readers = None if readers is None else frozenset(readers)
        self._key = audit_key
        self._file = Database(path, lambda db: audit.take_up(db, audit_key))

    def add(self, data_objects: Iterable[Mapping[str, Any]], attribute: str = "") -> int:
        """Take the job's data objects up, in order; see `objects.add`."""
        with self._file.transaction() as db:
            count = objects.add(db, data_objects, attribute)
            audit.append_listed(db, self._key, "read")
            return count

    def add_known(self, pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        """Take up images whose answer is known, to be strewn in; see `objects.add_known`."""
        with self._file.transaction() as db:
            count = objects.add_known(db, pairs)
            audit.append_listed(db, self._key, "known")
            return count

    def assign(self, worker_id: str) -> Task | None:
        """Give a worker the task she has open, or the next one, or None when nothing is left.

        Raises:
            JobError: She is no reader of this job.
        """
        return self._offered(worker_id, ahead=False)

    def ahead(self, worker_id: str) -> Task | None:
        """Reserve the task that a worker gets after the one she has open, or None.

        It becomes the open one when that is answered, and goes back after the time limit.

        Raises:
            JobError: She is no reader of this job.
        """
        return self._offered(worker_id, ahead=True)

    def _offered(self, worker_id: str, *, ahead: bool) -> Task | None:
        if self._readers is not None and worker_id not in self._readers:
            raise JobError(f"expected a reader of this job, met {worker_id!r}")
        now = time.time()
        with self._file.transaction() as db:
            if _is_closed(db):
                return None
            self._offers.expire(db, now)
            current, reserved = tasks.held(db, worker_id)
            if ahead:
                if reserved is None and current is not None:
                    reserved = self._offers.reserve(db, worker_id, now, ahead=True)
                return tasks.find(db, reserved)
            if current is None:
                current = reserved or self._offers.reserve(db, worker_id, now, ahead=False)
                if current is not None:
                    self._put_before_her(db, current, now)
            return tasks.find(db, current)

    def _put_before_her(self, db: sqlite3.Connection, task_id: str, now: float) -> None:
        db.execute("UPDATE tasks SET ahead=0, accepted_at=? WHERE task_id=?", (now, task_id))
        self._log(db, "seen", task_id)

    def task(self, task_id: str, *, returned: bool = False) -> Task | None:
        """Find a task, open or answered, or also one that went back."""
        with self._file.reading() as db:
            back = tasks.returned(db, task_id) if returned else None
            return tasks.find(db, task_id) or back

    def seen(self, task_id: str) -> None:
        """Note that a worker opens a task beside her current one."""
        with self._file.transaction() as db:
            self._log(db, "seen", task_id, opened=True)

    def submit(self, task_id: str, content: str, *, skipped: bool = False) -> bool:
        """Keep an answer, and put the task that was reserved before its worker.

        One that was kept before is not kept twice, for it was sent twice; another one is a
        correction. A task that went back is taken again while its image wants an answer.

        Args:
            task_id: Open or answered.
            content: The form as submitted, a JSON string.
            skipped: Whether it is a skip.

        Returns:
            Whether it was new.

        Raises:
            ClosedError: The job is closed, or its worker saw the others' answers as adjudicator.
            JobError: The task went back and others have the image now, or it never was.
        """
        now = time.time()
        with self._file.transaction() as db:
            task = tasks.find(db, task_id) or self._offers.take_again(db, task_id, ahead=2)
            if task is None:
                raise JobError(_GONE)
            task_id = task.id
            if results.has(db, task_id, content):
                return False
            _refuse_if_closed(db)
            newest = results.latest(db, task_id)
            if newest:
                self._refuse_if_adjudicating(db, task)
            number = db.execute(
                "INSERT INTO answers(task_id, content, submitted_at, skipped) VALUES(?,?,?,?)",
                (task_id, content, now, skipped),
            ).lastrowid
            drafts.drop(db, task_id)
            event = "corrected" if newest else "answered"
            self._log(db, event, task_id, answer=number, sha256=audit.sha256(content))
            if not newest:
                self._go_on(db, task, now)
            return True

    def _refuse_if_adjudicating(self, db: sqlite3.Connection, task: Task) -> None:
        alone = self._readers is not None and len(self._readers) == 1  # no others to copy from
        if not alone and audit.opened_dispute(
            db, task.worker_id, manifest.source(task.data_object)
        ):
            raise ClosedError(
                "you saw the other readers' answers on this image as its adjudicator, so yours "
                "stays as it was; decide there"
            )

    def _go_on(self, db: sqlite3.Connection, task: Task, now: float) -> None:
        db.execute("UPDATE tasks SET answered_at=?, ahead=0 WHERE task_id=?", (now, task.id))
        current, reserved = tasks.held(db, task.worker_id)
        if current is None and reserved is not None:
            self._put_before_her(db, reserved, now)

    def save_draft(self, task_id: str, content: str, versions: int = 0) -> None:
        """Keep the state of a task's page, which `draft` gives back as it is.

        Who saves is at work: the time limit begins anew.

        Args:
            task_id: Open or answered.
            content: A JSON string.
            versions: How many versions of the answer the page knew.

        Raises:
            ClosedError: The job is closed.
            StaleError: A newer answer was kept, which the draft would hide.
            JobError: The task went back and others have the image now, she has another one before
                her, or it never was.
        """
        with self._file.transaction() as db:
            task = tasks.find(db, task_id) or self._offers.take_again(db, task_id, ahead=0)
            if task is None:
                raise JobError(_GONE)
            task_id = task.id
            _refuse_if_closed(db)
            newest = results.latest(db, task_id)
            if newest is not None and newest.versions > versions:
                raise StaleError("this image was answered since; open it again to correct that")
            drafts.save(db, task_id, content, time.time())

    def draft(self, task_id: str) -> str | None:
        """Give what was kept of a task's page, also under an earlier task on the same image."""
        with self._file.reading() as db:
            return drafts.of(db, task_id)

    def decide(
        self,
        object_id: int,
        worker_id: str,
        content: str,
        disputed: Collection[str] | None = None,
    ) -> bool:
        """Keep an adjudicator's decision on the findings in dispute; a later one supersedes it.

        Returns:
            Whether it was new: see `decisions.keep`.

        Raises:
            ClosedError: The job is closed.
            JobError: There is no such data object.
        """
        with self._file.transaction() as db:
            _refuse_if_closed(db)
            return decisions.keep(db, self._key, object_id, worker_id, content, disputed)

    def decisions(self) -> dict[int, Decision]:
        """Give the newest decision on each data object that has one."""
        with self._file.reading() as db:
            return decisions.newest(db)

    def close_job(self, worker_id: str) -> None:
        """Take nothing more: no answer, correction, draft or decision; again is harmless."""
        self._set_closed(worker_id, closed=True)

    def reopen_job(self, worker_id: str) -> None:
        """Take answers again; again is harmless."""
        self._set_closed(worker_id, closed=False)

    def _set_closed(self, worker_id: str, *, closed: bool) -> None:
        with self._file.transaction() as db:
            if _is_closed(db) is not closed:
                db.execute("INSERT INTO closings(closed) VALUES(?)", (closed,))
                event = "closed" if closed else "reopened"
                audit.append(db, self._key, event, worker=worker_id)

    @property
    def closed(self) -> bool:
        """Whether the lead closed the job."""
        with self._file.reading() as db:
            return _is_closed(db)

    def latest(self, task_id: str) -> Answer | None:
        """Give the newest version of a task's answer."""
        with self._file.reading() as db:
            return results.latest(db, task_id)

    def place(self, task_id: str) -> tuple[int, str | None, str | None]:
        """Say which of its worker's images a task is, from 1, and give those before and after."""
        with self._file.reading() as db:
            around = results.previous(db, task_id), results.following(db, task_id)
            return results.ordinal(db, task_id), *around

    def answered(self, worker_id: str) -> list[Answered]:
        """List a worker's answered tasks, the newest first, hidden ones too."""
        with self._file.reading() as db:
            return results.answered(db, worker_id)

    def position(self, worker_id: str) -> tuple[int, int]:
        """Say how many tasks a worker answered, and how many it will be, about."""
        with self._file.reading() as db:
            return results.answered_by(db, worker_id), self._offers.most(db, worker_id)

    def counts(self) -> tuple[int, int]:
        """Say how many data objects have all their answers, and how many there are."""
        with self._file.reading() as db:
            return results.counts(db, self._offers.rules.workers_per_object)

    def answered_by(self, worker_id: str) -> int:
        """Say how many tasks one worker has answered, hidden ones too."""
        with self._file.reading() as db:
            return results.answered_by(db, worker_id)

    def results(
        self, only: int | None = None
    ) -> Iterator[tuple[int, dict[str, Any], list[Answer]]]:
        """Give every data object, or only one, with each worker's newest answer, in order."""
        with self._file.reading() as db:
            found = results.of_objects(db, only)
        for object_id, line, answers in found:
            yield object_id, json.loads(line), answers

    def newer(self, than: int) -> tuple[int, list[int]]:
        """Give the number of the newest answer, and what was answered after another one."""
        with self._file.reading() as db:
            return results.newer(db, than)

    def known_results(self) -> list[tuple[str, dict[str, Any], Answer]]:
        """Give worker, the known image's line with its known answer, and what she said."""
        with self._file.reading() as db:
            return results.known(db)

    def repeats(self) -> list[tuple[str, int, Answer, Answer]]:
        """Give worker, object ID, and what she said at first and on meeting it again."""
        with self._file.reading() as db:
            return results.repeats(db)

    def record(self, event: str, worker_id: str = "", source: str = "", **detail: Any) -> None:
        """Add an entry to the audit log: `signed-in`, `exported`, or whatever else befell."""
        with self._file.transaction() as db:
            audit.append(db, self._key, event, worker=worker_id, source=source, **detail)

    def head(self) -> audit.Head:
        """Give the end of the audit log."""
        with self._file.reading() as db:
            return audit.head(db)

    def close(self) -> None:
        """Fold the write-ahead log back and close the file."""
        self._file.close()

    def _log(self, db: sqlite3.Connection, event: str, task_id: str, **detail: Any) -> None:
        worker, source = db.execute(
            "SELECT worker_id, source FROM tasks JOIN objects USING(object_id) WHERE task_id=?",
            (task_id,),
        ).fetchone()
        audit.append(db, self._key, event, worker=worker, source=source, task=task_id, **detail)


def _is_closed(db: sqlite3.Connection) -> bool:
    newest = "SELECT closed FROM closings ORDER BY closing_id DESC LIMIT 1"
    return bool(one(db, f"SELECT coalesce(({newest}), 0)"))


def _refuse_if_closed(db: sqlite3.Connection) -> None:
    if _is_closed(db):
        raise ClosedError("this job is closed; ask its lead to open it again")
