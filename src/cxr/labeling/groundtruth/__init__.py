"""The labeling job by SageMaker Ground Truth: same page, same Lambdas, same files at the end.

Ground Truth takes no new customers since 2026-07-30. What a job has on this machine lies in its
folder: the state in `groundtruth.json`, downloads where the local portal would have put them.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cxr import progress
from cxr.contract import manifest
from cxr.contract.signing import Keys
from cxr.errors import AwsError, JobError
from cxr.infra.aws import Account, BusyError, ExpiredError, objects
from cxr.labeling import Job, Status, lock, selection
from cxr.labeling.groundtruth import (
    beginning,
    collecting,
    rendering,
    request,
    sending,
    settings,
    state,
)
from cxr.labeling.groundtruth.beginning import Beginning, TakenError
from cxr.labeling.groundtruth.request import Plan
from cxr.labeling.groundtruth.settings import Settings
from cxr.labeling.groundtruth.state import Round
from cxr.pacs import Pacs

T = TypeVar("T")
_NAMES = 20
"""Tried for what is offered again."""
_LONGEST = 60
"""Characters of a job's name, of the 63 that Ground Truth takes."""
_log = logging.getLogger(__name__)


class GroundTruthLabeling:
    """A LabelingBackend whose readers are a work team of the account."""

    def __init__(self, *, pacs: Pacs, account: Account, given: Settings) -> None:
        """Take what a job needs; AWS is not asked yet.

        Args:
            pacs: Where the images are.
            account: Whose Ground Truth it is.
            given: The section of the config, with what the stacks filled in.

        Raises:
            ConfigError: It cannot work, as far as can be seen from here.
        """
        settings.check(given, account)
        self._pacs, self._account, self._given = pacs, account, given
        self._lock: lock.JobLock | None = None
        self._counters: dict[str, int] = {}
        self._total = 0

    def dry_run(self, job: Job, *, requeue: bool = False) -> dict[str, Any]:
        """Give the request that `start` would send, and what it would cost; AWS is not asked.

        Args:
            job: What is asked.
            requeue: Whether for what has no label yet, in a job that was begun.

        Raises:
            AwsError: The API would refuse it.
            JobError: There is nothing to label, the job was begun at the portal, or `requeue` is
                asked of one never begun.
        """
        rounds = state.read(job.folder) if requeue else []
        if requeue and not rounds:
            raise JobError(
                f"requeue: expected a job that was begun, met {job.name!r}, which never was; "
                "leave requeue=true out"
            )
        made = self._plan(job, rounds)
        return {
            "request": made.request,
            "estimate": request.estimate(job, self._given, len(made.lines)),
        }

    def shown(self, job: Job) -> Job:
        """Give the job with the page as Ground Truth's workers see it."""
        comments = job.page.comments and self._given.free_text
        return replace(job, page=replace(job.page, comments=comments))

    def preview_files(self, job: Job, keys: Keys) -> Path:
        """Write one task as a request RenderUiTemplate, and give its folder; AWS is not asked.

        Args:
            job: What is asked.
            keys: That sign the image's link; it opens what a PACS with the same keys serves.

        Raises:
            AwsError: The API would refuse the request.
            JobError: There is nothing to show.
        """
        pacs_url = self._given.pacs_url or self._pacs.gateway or "https://pacs.invalid"
        return rendering.write(job, self._plan(job, []), keys, pacs_url)

    def start(self, job: Job, manifest: Path, *, requeue: bool = False) -> None:
        """Ask Ground Truth for the job, or find the one that was asked for; again is harmless.

        Args:
            job: What is asked.
            manifest: Its input manifest.
            requeue: Offer what has no label yet again, as a new labeling job, once the last one
                is over.

        Raises:
            AwsError: AWS refuses.
            JobError: The name is taken, there is nothing to label, or another process has it.
        """
        if manifest != job.input_manifest:
            raise JobError(f"expected {job.input_manifest}, met {manifest}")
        if self._lock is None:
            self._lock = lock.JobLock(job.folder)
        rounds = state.read(job.folder)
        if rounds and rounds[-1].over and requeue:
            self._fetch(job, rounds)
            rounds = state.read(job.folder)
            if not collecting.missing(job, rounds):
                _log.info("nothing is left to offer again: every image has its label")
                return
            self._again(job, rounds)
        elif not rounds:
            self._beginning(job).begin(self._plan(job, []), [])
        elif rounds[-1].status == state.CREATING:
            *before, died = rounds
            if before:
                self._again(job, before, died)
            else:
                self._beginning(job).begin(self._plan(job, []), [], died)

    def status(self, job: Job) -> Status:
        """Ask how far the labeling job is; one that is over is not asked again."""
        one = self._last(job)
        if not one.over:
            one = self._described(job, one)
        if not self._total:
            self._total = sum(1 for _ in manifest.read(job.input_manifest))
        total = self._total
        counters = self._counters
        labelled = total - one.objects + counters.get("TotalLabeled", 0)
        failed = counters.get("FailedNonRetryableError", 0)
        return Status(one.status if one.over else "InProgress", labelled, total, failed)

    def follow(self, job: Job) -> None:
        """Show progress until the labeling job is over.

        Throttling is waited out. Credentials are looked for anew where they have expired.

        Raises:
            AwsError: AWS is not reached or refuses; the job goes on without us.
            KeyboardInterrupt: Ctrl-C; likewise.
        """
        one = self._last(job)
        goes_on = f"job {one.name} goes on in Ground Truth, and the same command"
        if not one.over:
            team = (self._given.workteam_arn or "").rpartition("/")[2]
            _log.info("job %s is before the team %s; Ctrl-C leaves it there", one.name, team)
        try:
            status = self._patient(lambda: self.status(job))
            with progress.bar("labelled", status.total, done=status.labelled) as advance:
                while status.state == "InProgress":
                    advance(status.labelled + status.failed)
                    time.sleep(self._given.poll_s)
                    status = self._patient(lambda: self.status(job))
                advance(status.labelled)
        except AwsError as error:
            raise type(error)(f"{error}; {goes_on} follows it again") from error
        except KeyboardInterrupt:
            _log.warning("%s follows it again", goes_on)
            raise

    def collect(self, job: Job) -> Path:
        """Download what was answered, withdraw the links, and give the merged output manifest.

        Copies of images are deleted once every image has its label.

        Raises:
            AwsError: The bucket may not be read.
            JobError: The labeling job is not over.
        """
        rounds = state.read(job.folder)
        if not rounds or not rounds[-1].over:
            raise JobError(f"job {job.name!r} is not over in Ground Truth; follow it first")
        self._fetch(job, rounds)
        rounds = state.read(job.folder)
        path = collecting.merge(job, rounds)
        if self._given.images == "s3" and not collecting.missing(job, rounds):
            self._delete_copies(job)
        return path

    def verdict(self, job: Job) -> str | None:
        """Say in a sentence how the last labeling job ended, where it did not end well."""
        one = self._last(job)
        if one.status not in (state.FAILED, state.STOPPED):
            return None
        why = f": {one.reason}" if one.reason else ""
        what = "failed" if one.status == state.FAILED else "was stopped"
        return f"labeling job {one.name} {what}{why}; requeue=true offers again what has no label"

    def close(self) -> None:
        """Let others follow the job; it goes on in Ground Truth."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _again(self, job: Job, rounds: list[Round], died: Round | None = None) -> None:
        """Begin another labeling job under the first name of ours that nobody has."""
        if died is not None:
            with suppress(TakenError):
                self._beginning(job).begin(self._plan(job, rounds, died.name), rounds, died)
                return
        first = len(rounds) + 1
        for number in range(first, first + _NAMES):
            name = f"{job.name}-{number}"
            try:
                self._beginning(job).begin(self._plan(job, rounds, name), rounds)
            except TakenError:
                _log.info("%s is another job's name; taking the next", name)
            else:
                return
        raise JobError(
            f"job.name: {job.name}-{first} to -{number} are names of other labeling jobs; begin "
            "another job with what has no label"
        )

    def _delete_copies(self, job: Job) -> None:
        uri = sending.images_uri(self._account, job)
        try:
            if count := objects.delete_all(self._account, uri):
                _log.info("%d copied images deleted below %s", count, uri)
        except AwsError as error:
            _log.warning("copies of images are still below %s: %s", uri, error)

    def _plan(self, job: Job, rounds: list[Round], name: str = "") -> Plan:
        if (job.folder / selection.ANSWERS).exists():
            raise JobError(
                f"job {job.name!r} was begun at the local portal; choose another job.name"
            )
        if not rounds and len(job.name) > _LONGEST:
            raise JobError(
                f"job.name: expected at most {_LONGEST} characters, so that what is offered again "
                f"may have a number behind it, met {len(job.name)}"
            )
        name = name or (f"{job.name}-{len(rounds) + 1}" if rounds else job.name)
        lines = collecting.missing(job, rounds) if rounds else sending.unlabelled(job)
        copied = self._given.images == "s3"
        shown = sending.offered(lines, self._account, job, copied=copied)
        return request.plan(job, self._given, self._account, shown, name)

    def _beginning(self, job: Job) -> Beginning:
        return Beginning(job, self._pacs, self._account, self._given)

    def _last(self, job: Job) -> Round:
        rounds = state.read(job.folder)
        if not rounds:
            raise JobError("start the job first")
        return rounds[-1]

    def _described(self, job: Job, one: Round) -> Round:
        found = self._account.call(
            "sagemaker", "describe_labeling_job", one.name, LabelingJobName=one.name
        )
        self._counters = dict(found.get("LabelCounters", {}))
        reason = " ".join(str(found.get("FailureReason", "")).split())
        now = replace(one, status=str(found["LabelingJobStatus"]), reason=reason)
        if now != one:
            state.write(job.folder, [*state.read(job.folder)[:-1], now])
        return now

    def _patient(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, as long as waiting or a new sign-in may help."""
        renewed = False
        while True:
            try:
                return ask()
            except BusyError as error:
                _log.info("%s; waiting", error)
                time.sleep(self._given.poll_s)
            except ExpiredError:
                if renewed:
                    raise
                renewed = True
                self._account.fresh()

    def _fetch(self, job: Job, rounds: list[Round]) -> None:
        """Download what is over; then, or where that fails, end its links."""
        for number, one in enumerate(rounds, 1):
            if not one.over:
                continue
            now = one
            try:
                if not one.fetched:
                    collecting.fetch(self._account, job, one, number)
                    now = replace(one, fetched=True)
            finally:
                now = beginning.withdraw(self._account, now)
                if now != one:
                    rounds = [*rounds[: number - 1], now, *rounds[number:]]
                    state.write(job.folder, rounds)
