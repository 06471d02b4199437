"""Bringing one labeling job about, so that whoever dies or is refused in between can repeat it.

What is asked stands in the state before anything is sent. A labeling job that is there already is
ours where its tag holds the same hash, and another's otherwise: no name is ever taken twice.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cxr.contract import jobs, manifest
from cxr.errors import AwsError, JobError
from cxr.infra.aws import Account, MissingError, objects, secrets
from cxr.labeling import Job
from cxr.labeling.groundtruth import request, sending, state
from cxr.labeling.groundtruth.request import Plan
from cxr.labeling.groundtruth.settings import Settings
from cxr.labeling.groundtruth.state import Round
from cxr.pacs import Pacs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """What beginning a labeling job needs.

    Attributes:
        job: Whose round it is.
        pacs: Where its images are.
        account: Whose Ground Truth it is.
        given: Of whom it is asked, and how.
    """

    job: Job
    pacs: Pacs
    account: Account
    given: Settings

    def begin(self, made: Plan, rounds: Sequence[Round], died: Round | None = None) -> None:
        """Ask Ground Truth for one labeling job, or find it there.

        Args:
            made: What is asked.
            rounds: Those before.
            died: What was asked where a process died while asking.

        Raises:
            AwsError: AWS refuses; what was sent is there, and no link opens anything.
            JobError: The name is another's.
        """
        self.account.check()
        objects.check_region(self.account)
        links = self.given.images == "links"
        secret = (self.given.token_secret_arn or "") if links else ""
        one = Round(made.name, made.sha, made.base, len(made.lines), secret=secret)
        if (found := self._found(made.name)) is not None:
            self._adopt(rounds, died or one, found)
            return
        if died is None:
            self._check_free(made)
        self._write([*rounds, one])  # before there is anything to be found again
        if not links:
            sending.copy_images(self._own_lines(made), self.pacs, self.account, self.job)
        sending.send(made, self.account, self.job)
        if secret:
            secrets.add_job_key(self.account, secret, one.name)
        try:
            told = self.account.call("sagemaker", "create_labeling_job", one.name, **made.request)
        except AwsError as error:
            # the answer alone may have been lost
            if (after_all := self._found(one.name)) is not None:
                self._adopt(rounds, one, after_all)
                return
            withdraw(self.account, one)
            if "ResourceInUse" in str(error):
                raise _taken(one.name) from error
            raise
        self._write([*rounds, replace(one, arn=str(told["LabelingJobArn"]), status="InProgress")])

    def _write(self, rounds: Sequence[Round]) -> None:
        state.write(self.job.folder, rounds)

    def _found(self, name: str) -> dict[str, Any] | None:
        try:
            return self.account.call(
                "sagemaker", "describe_labeling_job", name, LabelingJobName=name
            )
        except MissingError:
            return None

    def _check_free(self, made: Plan) -> None:
        """Refuse a name under which another job's files lie: names are one in any case."""
        try:
            there = json.loads(objects.read(self.account, f"{made.base}/{jobs.FILE}"))
        except MissingError:
            return
        if there != made.settings:
            raise _taken(made.name)

    def _own_lines(self, made: Plan) -> list[dict[str, Any]]:
        wanted = {sending.local_source(line) for line in made.lines}
        lines = manifest.read(self.job.input_manifest)
        return [line for line in lines if manifest.source(line) in wanted]

    def _adopt(self, rounds: Sequence[Round], one: Round, found: dict[str, Any]) -> None:
        """Go on with a labeling job that is there, if it is the one that was asked for.

        Raises:
            JobError: It is another's.
        """
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
        if tags.get(request.SHA_TAG) != one.sha:
            raise _taken(one.name)
        _log.info("job %s was begun before; following it", one.name)
        started = replace(one, arn=str(found["LabelingJobArn"]), status="InProgress")
        self._write([*rounds, started])


def withdraw(account: Account, one: Round) -> Round:
    """End a round's links; where AWS refuses, the next run tries again."""
    if not one.secret:
        return one
    try:
        secrets.remove_job_key(account, one.secret, one.name)
    except AwsError as error:
        _log.warning("the links of job %s still open its images: %s", one.name, error)
        return one
    return replace(one, secret="")


def _taken(name: str) -> JobError:
    return JobError(
        f"job.name: {name!r} is the name of another labeling job of this account, and Ground Truth "
        "never takes one twice; choose another"
    )
