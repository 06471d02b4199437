"""The labeling job by SageMaker Ground Truth: same page, same Lambdas, same files at the end.

Ground Truth takes no new customers since 2026-07-30. What a job has on this machine lies in its
folder: the state in `groundtruth.json`, downloads where the local portal would have put them.
"""

from typing import Any

from cxr.errors import JobError
from cxr.infra.aws import Account
from cxr.labeling import Job, selection
from cxr.labeling.groundtruth import request, sending, settings
from cxr.labeling.groundtruth.request import Plan
from cxr.labeling.groundtruth.settings import Settings
from cxr.pacs import Pacs


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

    def dry_run(self, job: Job) -> dict[str, Any]:
        """Give the request that `start` would send, and what it would cost; AWS is not asked.

        Raises:
            AwsError: The API would refuse it.
            JobError: There is nothing to label, or the job was begun at the portal.
        """
        made = self._plan(job, job.name)
        return {
            "request": made.request,
            "estimate": request.estimate(job, self._given, len(made.lines)),
        }

    def _plan(self, job: Job, name: str) -> Plan:
        if (job.folder / selection.ANSWERS).exists():
            raise JobError(
                f"job {job.name!r} was begun at the local portal; choose another job.name"
            )
        lines = sending.unlabelled(job)
        copied = self._given.images == "s3"
        shown = sending.offered(lines, self._account, job, copied=copied)
        return request.plan(job, self._given, self._account, shown, name)
