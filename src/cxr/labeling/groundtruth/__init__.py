"""The labeling job by SageMaker Ground Truth: same page, same Lambdas, same files at the end.

Ground Truth takes no new customers since 2026-07-30. What a job has on this machine lies in its
folder: the state in `groundtruth.json`, downloads where the local portal would have put them.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cxr import progress
from cxr.contract import jobs, manifest
from cxr.contract.signing import Keys
from cxr.errors import AwsError, JobError
from cxr.infra.aws import Account, BusyError, ExpiredError, MissingError, objects, requests, secrets
from cxr.labeling import Job, Status, lock, page, preview, selection
from cxr.labeling.groundtruth import collecting, request, sending, settings, state
from cxr.labeling.groundtruth.request import Plan
from cxr.labeling.groundtruth.settings import Settings
from cxr.labeling.groundtruth.state import Round
from cxr.pacs import Pacs

T = TypeVar("T")
_SHOWN = ("instructions", "examples", "page")
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

    def dry_run(self, job: Job, *, requeue: bool = False) -> dict[str, Any]:
        """Give the request that `start` would send, and what it would cost; AWS is not asked.

        Args:
            job: What is asked.
            requeue: Whether for what has no label yet, in a job that was begun.

        Raises:
            AwsError: The API would refuse it.
            JobError: There is nothing to label, or the job was begun at the portal.
        """
        made = self._plan(job, state.read(job.folder) if requeue else [])
        return {
            "request": made.request,
            "estimate": request.estimate(job, self._given, len(made.lines)),
        }

    def shown(self, job: Job) -> Job:
        """Give the job with the page as Ground Truth's workers see it."""
        comments = job.page.comments and self._given.free_text
        return replace(job, page=replace(job.page, comments=comments))

    def preview_files(self, job: Job, keys: Keys) -> Path:
        """Write one task as a request RenderUiTemplate, and its input alone, and give the folder.

        Nothing is uploaded: what the page loads from S3 is there once the job has been started.

        Args:
            job: What is asked.
            keys: That sign the image's link; it opens what a PACS with the same keys serves.

        Raises:
            AwsError: The API would refuse the request.
            JobError: There is nothing to show.
        """
        made = self._plan(job, [])
        line = preview.first_line(job)
        shown = next(one for one in made.lines if sending.local_source(one) == line["source"])
        kid, key = next(iter(keys.by_id.items()))
        pacs_url = self._given.pacs_url or self._pacs.gateway or "https://pacs.invalid"
        environment = {
            "CXR_PACS_URL": pacs_url,
            "CXR_TOKEN_KEY": f"{kid}:{key.hex()}",
            "CXR_TOKEN_TTL_S": str(made.settings["tokenTtlS"]),
            "CXR_VIEWER_URL": made.settings["viewerUrl"],
            "CXR_PAGE": json.dumps({k: made.settings[k] for k in _SHOWN}),
            "CXR_TEMPLATE_SHA": made.settings["templateSha"],
            "CXR_VIEWER_SHA": made.settings["viewerSha"],
        }
        task = preview.task_input(job, dict(shown), environment)
        rendered = {
            "UiTemplate": {"Content": page.template_text()},
            "Task": {"Input": json.dumps(task)},
            "RoleArn": self._given.role_arn,
        }
        requests.check("sagemaker", "RenderUiTemplate", rendered)
        folder = job.folder / "preview"
        preview.write(folder, "task-input.json", task)
        preview.write(folder, "render-ui-template.json", rendered)
        return folder

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
            self._begin(job, self._plan(job, rounds), rounds)
        elif not rounds:
            self._begin(job, self._plan(job, []), [])
        elif rounds[-1].status == state.CREATING:
            self._begin(job, self._plan(job, rounds[:-1]), rounds[:-1], died=rounds[-1])

    def status(self, job: Job) -> Status:
        """Ask how far the labeling job is; one that is over is not asked again."""
        one = self._last(job)
        if not one.over:
            one = self._described(job, one)
        total = sum(1 for _ in manifest.read(job.input_manifest))
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
        goes_on = f"job {self._last(job).name} goes on in Ground Truth, and the same command"
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

        Raises:
            AwsError: The bucket may not be read.
            JobError: The labeling job is not over.
        """
        rounds = state.read(job.folder)
        if not rounds or not rounds[-1].over:
            raise JobError(f"job {job.name!r} is not over in Ground Truth; follow it first")
        self._fetch(job, rounds)
        return collecting.merge(job, state.read(job.folder))

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

    def _plan(self, job: Job, rounds: list[Round]) -> Plan:
        if (job.folder / selection.ANSWERS).exists():
            raise JobError(
                f"job {job.name!r} was begun at the local portal; choose another job.name"
            )
        name = f"{job.name}-{len(rounds) + 1}" if rounds else job.name
        lines = collecting.missing(job, rounds) if rounds else sending.unlabelled(job)
        copied = self._given.images == "s3"
        shown = sending.offered(lines, self._account, job, copied=copied)
        return request.plan(job, self._given, self._account, shown, name)

    def _begin(self, job: Job, made: Plan, rounds: list[Round], died: Round | None = None) -> None:
        """Bring one labeling job about.

        Args:
            job: Whose it is.
            made: What is asked.
            rounds: Those before.
            died: What was asked where a process died while asking.
        """
        self._account.check()
        objects.check_region(self._account)
        links = self._given.images == "links"
        secret = (self._given.token_secret_arn or "") if links else ""
        one = Round(made.name, made.sha, made.base, len(made.lines), secret=secret)
        found = self._found(made.name)
        if found is not None:
            self._adopt(job, rounds, died or one, found)
            return
        if died is None:
            self._check_free(made)
        state.write(job.folder, [*rounds, one])  # before there is anything to be found again
        if not links:
            sending.copy_images(self._local_lines(job, made), self._pacs, self._account, job)
        sending.send(made, self._account, job)
        if secret:
            secrets.add_job_key(self._account, secret, one.name)
        try:
            told = self._account.call("sagemaker", "create_labeling_job", made.name, **made.request)
        except AwsError as error:
            # the answer alone may have been lost
            if (made_after_all := self._found(made.name)) is not None:
                self._adopt(job, rounds, one, made_after_all)
                return
            self._withdraw(one)
            if "ResourceInUse" in str(error):
                raise _taken(one.name) from error
            raise
        started = replace(one, arn=str(told["LabelingJobArn"]), status="InProgress")
        state.write(job.folder, [*rounds, started])

    def _check_free(self, made: Plan) -> None:
        """Refuse a name under which another job's files lie: names are one in any case."""
        try:
            there = json.loads(objects.read(self._account, f"{made.base}/{jobs.FILE}"))
        except MissingError:
            return
        if there != made.settings:
            raise _taken(made.name)

    def _local_lines(self, job: Job, made: Plan) -> list[dict[str, Any]]:
        wanted = {sending.local_source(line) for line in made.lines}
        lines = manifest.read(job.input_manifest)
        return [line for line in lines if manifest.source(line) in wanted]

    def _found(self, name: str) -> dict[str, Any] | None:
        try:
            return self._account.call(
                "sagemaker", "describe_labeling_job", name, LabelingJobName=name
            )
        except MissingError:
            return None

    def _adopt(self, job: Job, rounds: list[Round], one: Round, found: dict[str, Any]) -> None:
        """Go on with a labeling job that is there, if it is the one that was asked for.

        Raises:
            JobError: It is another's.
        """
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
        if tags.get(request.SHA_TAG) != one.sha:
            raise _taken(one.name)
        _log.info("job %s was begun before; following it", one.name)
        started = replace(one, arn=str(found["LabelingJobArn"]), status="InProgress")
        state.write(job.folder, [*rounds, started])

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
        """End the links of what is over, and download it."""
        for number, one in enumerate(rounds, 1):
            if not one.over:
                continue
            now = self._withdraw(one)
            if not now.fetched:
                collecting.fetch(self._account, job, now, number)
                now = replace(now, fetched=True)
            if now != one:
                rounds = [*rounds[: number - 1], now, *rounds[number:]]
                state.write(job.folder, rounds)

    def _withdraw(self, one: Round) -> Round:
        """End a round's links; where AWS refuses, the next run tries again."""
        if not one.secret:
            return one
        try:
            secrets.remove_job_key(self._account, one.secret, one.name)
        except AwsError as error:
            _log.warning("the links of job %s still open its images: %s", one.name, error)
            return one
        return replace(one, secret="")


def _taken(name: str) -> JobError:
    return JobError(
        f"job.name: {name!r} is the name of another labeling job of this account, and Ground Truth "
        "never takes one twice; choose another"
    )
