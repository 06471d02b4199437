"""Ground Truth's operations: what it takes, what it refuses, what it says of a job."""

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aws_double import policies, tasks
from aws_double.account import Account
from aws_double.calls import ACCOUNT, REGION, Call, RefusedError
from aws_double.faults import Faults
from aws_double.lambdas import Lambdas
from aws_double.tasks import Answering
from aws_double.workteams import Workteams

_CLASSIFIERS = {"FreeOfPersonallyIdentifiableInformation", "FreeOfAdultContent"}
_LAST_STATES = ("Completed", "Failed", "Stopped")
_DESCRIBED = (
    "LabelingJobName", "LabelAttributeName", "InputConfig", "OutputConfig", "RoleArn",
    "LabelCategoryConfigS3Uri", "StoppingConditions", "HumanTaskConfig", "Tags",
)  # fmt: skip


class LabelingJob:
    """One job, as far as it came.

    Attributes:
        request: Of CreateLabelingJob.
        arn: With the job's name in lower case, as real ones are.
        status: Of LabelingJobStatus.
        counters: Of LabelCounters.
        reason: Of FailureReason.
        stopping: Set when it is to end early.
        answering: Who answers, and what.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = dict(request)
        self.name = str(request["LabelingJobName"])
        self.arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{self.name.lower()}"
        self.status, self.reason = "Initializing", ""
        names = "TotalLabeled HumanLabeled MachineLabeled FailedNonRetryableError Unlabeled"
        self.counters = dict.fromkeys(names.split(), 0)
        self.created = self.changed = datetime.now(UTC)
        self.stopping = threading.Event()
        self.answering = Answering(self.name)

    @property
    def human(self) -> dict[str, Any]:
        """HumanTaskConfig of the request."""
        return dict(self.request["HumanTaskConfig"])

    @property
    def attribute(self) -> str:
        """LabelAttributeName of the request."""
        return str(self.request["LabelAttributeName"])

    @property
    def folder(self) -> str:
        """Where its output goes, as an s3:// URI."""
        return f"{self.request['OutputConfig']['S3OutputPath'].rstrip('/')}/{self.name}"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in _LAST_STATES

    def goes(self, status: str, reason: str = "") -> None:
        """Change the state."""
        self.reason, self.changed, self.status = reason, datetime.now(UTC), status

    def described(self) -> dict[str, Any]:
        """Give what DescribeLabelingJob answers."""
        told = {key: self.request[key] for key in _DESCRIBED if key in self.request}
        told |= {
            "LabelingJobArn": self.arn,
            "LabelingJobStatus": self.status,
            "LabelCounters": dict(self.counters),
            "CreationTime": self.created,
            "LastModifiedTime": self.changed,
            "JobReferenceCode": f"{abs(hash(self.arn)):016x}",
        }
        if self.reason:
            told["FailureReason"] = self.reason
        if self.status in ("Completed", "Stopped"):
            where = f"{self.folder}/manifests/output/output.manifest"
            told["LabelingJobOutput"] = {"OutputDatasetS3Uri": where}
        return told


class Labeling:
    """All jobs of the account.

    Attributes:
        jobs: Name → job.
        workers: Name of a job, or a pattern such as `*` → who answers instead of a browser.
        pages: The tasks that wait for a browser.
    """

    def __init__(
        self, account: Account, lambdas: Lambdas, faults: Faults, teams: Workteams, shim: Path
    ) -> None:
        self.account, self.lambdas, self.faults, self.teams = account, lambdas, faults, teams
        self.jobs: dict[str, LabelingJob] = {}
        self.workers: dict[str, tasks.Worker] = {}
        self.pages = tasks.Pages(account, shim)
        self._threads: list[threading.Thread] = []
        self.operations = {
            "CreateLabelingJob": self._create,
            "DescribeLabelingJob": lambda call: self._job(call).described(),
            "StopLabelingJob": self._stop,
            "ListLabelingJobs": self._list,
            "RenderUiTemplate": self._render,
        }

    def stop(self) -> None:
        """End all jobs and wait for their threads."""
        for job in self.jobs.values():
            job.stopping.set()
            job.answering.close()
        for thread in self._threads:
            thread.join(timeout=30)
        self._threads.clear()

    def _create(self, call: Call) -> dict[str, Any]:
        from aws_double import labeling_run

        request = call.request
        self._check(request)
        job = LabelingJob(request)
        self.jobs[job.name] = job
        self.pages.jobs[job.name] = job.answering
        thread = threading.Thread(target=labeling_run.run, args=(self, job), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"LabelingJobArn": job.arn}

    def _job(self, call: Call) -> LabelingJob:
        try:
            return self.jobs[call.request["LabelingJobName"]]
        except KeyError as error:
            raise RefusedError("ResourceNotFound", "Requested resource not found.") from error

    def _stop(self, call: Call) -> dict[str, Any]:
        job = self._job(call)
        if job.ended or job.status == "Stopping":
            told = f"The labeling job is in {job.status} state and cannot be stopped."
            raise RefusedError("ValidationException", told)
        job.goes("Stopping")
        job.stopping.set()
        job.answering.close()
        return {}

    def _list(self, call: Call) -> dict[str, Any]:
        asked = call.request
        found = [
            {
                **{k: v for k, v in job.described().items() if k in _SUMMARY},
                "WorkteamArn": job.human["WorkteamArn"],
            }
            for job in self.jobs.values()
            if asked.get("NameContains", "") in job.name
            and asked.get("StatusEquals", job.status) == job.status
        ]
        return {"LabelingJobSummaryList": found[::-1][: asked.get("MaxResults", 10)]}

    def _render(self, call: Call) -> dict[str, Any]:
        asked = call.request
        self.account.need_role(asked["RoleArn"], "sagemaker.amazonaws.com")
        template = asked.get("UiTemplate", {}).get("Content")
        if template is None:
            return {"RenderedContent": "", "Errors": [_error("MissingTemplate", "no UiTemplate")]}
        try:
            given = json.loads(asked["Task"]["Input"])
            html = tasks.render(self.account, template, given)
        except (ValueError, tasks.TemplateError) as error:
            return {"RenderedContent": "", "Errors": [_error("InvalidInput", str(error))]}
        return {"RenderedContent": html, "Errors": []}

    def _check(self, request: Mapping[str, Any]) -> None:
        """Refuse what the service's description cannot say."""
        name, attribute = request["LabelingJobName"], request["LabelAttributeName"]
        if name.lower() in {known.lower() for known in self.jobs}:
            arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{name.lower()}"
            told = f"Labeling Job names must be unique within an account: {arn} already exists"
            raise RefusedError("ResourceInUse", told)
        if attribute.endswith(("-metadata", "-ref")):
            told = f"labelAttributeName: {attribute} must not end with -metadata or -ref"
            raise RefusedError("ValidationException", told)
        self._check_places(request)
        self._check_people(request)
        _check_role(request)
        for tag in request.get("Tags", ()):
            if tag["Key"].lower().startswith("aws:"):
                raise RefusedError("ValidationException", f"tags: {tag['Key']} is reserved")

    def _check_places(self, request: Mapping[str, Any]) -> None:
        account, output = self.account, request["OutputConfig"]
        source = request["InputConfig"]["DataSource"].get("S3DataSource")
        if source is None:
            raise RefusedError("ValidationException", "inputConfig.dataSource: S3DataSource only")
        account.need_role(request["RoleArn"], "sagemaker.amazonaws.com")
        account.need_object(
            source["ManifestS3Uri"], "inputConfig.dataSource.s3DataSource.manifestS3Uri"
        )
        account.need_bucket(output["S3OutputPath"], "outputConfig.s3OutputPath")
        account.need_key(output.get("KmsKeyId"), "outputConfig.kmsKeyId")
        categories = request.get("LabelCategoryConfigS3Uri")
        if categories is not None:
            account.need_object(categories, "labelCategoryConfigS3Uri")
            _check_categories(account.get(categories))

    def _check_people(self, request: Mapping[str, Any]) -> None:
        account, human = self.account, request["HumanTaskConfig"]
        where = human["UiConfig"].get("UiTemplateS3Uri")
        if where is None:
            raise RefusedError("ValidationException", "humanTaskConfig.uiConfig: UiTemplateS3Uri")
        account.need_object(where, "humanTaskConfig.uiConfig.uiTemplateS3Uri")
        tasks.check_template(account.get(where).decode())
        for arn in (
            human.get("PreHumanTaskLambdaArn"),
            human.get("AnnotationConsolidationConfig", {}).get("AnnotationConsolidationLambdaArn"),
        ):
            if arn is None:
                raise RefusedError("ValidationException", "humanTaskConfig: both Lambdas' ARNs")
            account.function(arn)
        most = {"TaskTimeLimitInSeconds": 28_800, "TaskAvailabilityLifetimeInSeconds": 2_592_000}
        for key, limit in most.items():
            if human.get(key, 0) > limit:
                told = (
                    f"humanTaskConfig.{key[0].lower()}{key[1:]}: {human[key]} is more than {limit}"
                )
                raise RefusedError("ValidationException", told)
        if (
            human.get("TaskAvailabilityLifetimeInSeconds", 864_000)
            < human["TaskTimeLimitInSeconds"]
        ):
            told = "humanTaskConfig.taskAvailabilityLifetimeInSeconds: less than the time limit"
            raise RefusedError("ValidationException", told)
        self._check_team(request, human)

    def _check_team(self, request: Mapping[str, Any], human: Mapping[str, Any]) -> None:
        team, price = human["WorkteamArn"], human.get("PublicWorkforceTaskPrice")
        public = ":workteam/public-crowd/" in team
        if not public and team not in self.teams.arns:
            raise RefusedError(
                "ValidationException", f"humanTaskConfig.workteamArn: no such team: {team}"
            )
        declared = request["InputConfig"].get("DataAttributes", {}).get("ContentClassifiers", ())
        if public and (price is None or set(declared) != _CLASSIFIERS):
            told = (
                "publicWorkforceTaskPrice and both content classifiers are needed for a public team"
            )
            raise RefusedError("ValidationException", told)
        if not public and price is not None:
            told = "publicWorkforceTaskPrice: only for the public workforce"
            raise RefusedError("ValidationException", told)


_SUMMARY = (
    "LabelingJobName", "LabelingJobArn", "CreationTime", "LastModifiedTime", "LabelingJobStatus",
    "LabelCounters", "FailureReason", "LabelingJobOutput", "InputConfig",
)  # fmt: skip


def _check_role(request: Mapping[str, Any]) -> None:
    """Refuse a role that may not do what the job will do with it."""
    role, human, output = request["RoleArn"], request["HumanTaskConfig"], request["OutputConfig"]
    reads = [
        request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"],
        human["UiConfig"]["UiTemplateS3Uri"],
        *filter(None, [request.get("LabelCategoryConfigS3Uri")]),
    ]
    for uri in reads:
        policies.need(role, "s3:GetObject", policies.object_arn(uri))
    written = f"{output['S3OutputPath'].rstrip('/')}/{request['LabelingJobName']}/manifests/x"
    policies.need(role, "s3:PutObject", policies.object_arn(written))
    for arn in (
        human["PreHumanTaskLambdaArn"],
        human["AnnotationConsolidationConfig"]["AnnotationConsolidationLambdaArn"],
    ):
        policies.need(role, "lambda:InvokeFunction", arn)
    key = output.get("KmsKeyId", "")
    for action in ("kms:GenerateDataKey", "kms:Decrypt") if key.startswith("arn:") else ():
        policies.need(role, action, key)


def _check_categories(content: bytes) -> None:
    try:
        document = json.loads(content)
        version, names = document["document-version"], [e["label"] for e in document["labels"]]
    except (ValueError, KeyError, TypeError) as error:
        told = f"labelCategoryConfigS3Uri: not a label category file: {error!r}"
        raise RefusedError("ValidationException", told) from error
    if version != "2018-11-28" or not names or len(set(names)) != len(names) or not all(names):
        told = "labelCategoryConfigS3Uri: expected document-version 2018-11-28 and distinct labels"
        raise RefusedError("ValidationException", told)


def _error(code: str, message: str) -> dict[str, str]:
    return {"Code": code, "Message": message}
