"""Bringing one labeling job about, so that whoever dies or is refused in between can repeat it.

Its folder in the bucket is claimed before anything else is written there, by whoever is first; and
what is asked stands in the state before anything is sent. A labeling job that is there already is
ours where its tag holds the same hash, and another's otherwise: no name is ever taken twice.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cxr.contract import jobs, manifest, signing
from cxr.errors import AwsError, ConfigError, JobError
from cxr.infra.aws import Account, BusyError, MissingError, objects, secrets
from cxr.labeling import Job
from cxr.labeling.groundtruth import request, sending, state
from cxr.labeling.groundtruth.request import Plan
from cxr.labeling.groundtruth.settings import Settings
from cxr.labeling.groundtruth.state import Round
from cxr.pacs import Pacs

CLAIM = "claim.json"
_log = logging.getLogger(__name__)


class TakenError(JobError):
    """The name is another's, whom it stays with."""


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
            TakenError: The name is another's; nothing of theirs was changed.
        """
        self.account.check()
        objects.check_region(self.account)
        links = self.given.images == "links"
        secret = (self.given.token_secret_arn or "") if links else ""
        one = Round(made.name, made.sha, made.base, len(made.lines), secret=secret)
        if (found := self._found(made.name)) is not None:
            self._adopt(rounds, replace(died, secret=secret) if died else one, found)
            return
        one = replace(one, kid=self._claimed(made, died, secret))
        self._write([*rounds, one])  # before there is anything to be found again
        if not links:
            sending.copy_images(self._own_lines(made), self.pacs, self.account, self.job)
        sending.send(made, self.account, self.job, kid=one.kid)
        if secret:
            secrets.add_job_key(self.account, secret, one.kid)
        try:
            told = self.account.call("sagemaker", "create_labeling_job", one.name, **made.request)
        except AwsError as error:
            # the answer alone may have been lost
            if (after_all := self._found(one.name)) is not None:
                self._adopt(rounds, one, after_all)
                return
            if isinstance(error, BusyError):
                raise  # it may be there all the same, and then its links have to open
            self._write([*rounds, withdraw(self.account, one)])
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

    def _claimed(self, made: Plan, died: Round | None, secret: str) -> str:
        """Take the folder of a name, which is one in any case, and give the ID of the job's key.

        Raises:
            TakenError: Another was first.
        """
        kid = signing.new_job_kid(made.name) if secret else ""
        if died is not None and died.kid and secret:
            kid = died.kid  # its key may be there, and links signed by it
        uri = f"{made.base}/{CLAIM}"
        mine = {"sha": made.sha, "kid": kid}
        if objects.claim(self.account, uri, json.dumps(mine).encode()):
            return kid
        there = json.loads(objects.read(self.account, uri))
        if there["sha"] not in (made.sha, died and died.sha):
            raise _taken(made.name)
        if died is None:  # the same job, begun elsewhere or by a process that left nothing here
            return str(there["kid"])
        if there != mine:
            objects.write_json(self.account, uri, mine)
        return kid

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
        over = replace(one, status=str(found["LabelingJobStatus"])).over
        if one.secret and (kid := one.kid or self._kid(one)):
            started = replace(started, kid=kid)
            if not over:  # it may have been withdrawn when the job was not to be seen yet
                secrets.add_job_key(self.account, one.secret, kid)
        self._write([*rounds, started])

    def _kid(self, one: Round) -> str:
        """Read by which key a job that is there is signed for."""
        told = jobs.parse(objects.read(self.account, f"{one.base}/{jobs.FILE}"))
        return told.token_kid or ""


def withdraw(account: Account, one: Round) -> Round:
    """End a round's links; where AWS refuses or the secret is damaged, the next run tries again."""
    if not one.secret:
        return one
    try:
        if one.kid:
            secrets.remove_job_key(account, one.secret, one.kid)
    except (AwsError, ConfigError) as error:
        _log.warning("the links of job %s may still open its images: %s", one.name, error)
        return one
    return replace(one, secret="", kid="")


def _taken(name: str) -> TakenError:
    return TakenError(
        f"job.name: {name!r} is the name of another labeling job of this account, and Ground Truth "
        "never takes one twice; choose another"
    )
