"""SageMaker's training jobs: what it takes, what it refuses, what it says of a job."""

import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aws_double import policies
from aws_double.account import Account, split
from aws_double.calls import ACCOUNT, REGION, Call, RefusedError
from aws_double.faults import Faults
from aws_double.lambdas import Credentials

_LAST_STATES = ("Completed", "Failed", "Stopped")
_MOST_LOGGED = 1_000_000  # lines, of one job
_DESCRIBED = (
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig",
    "OutputDataConfig", "ResourceConfig", "VpcConfig", "StoppingCondition", "CheckpointConfig",
    "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining", "Environment", "RetryStrategy", "ExperimentConfig",
)  # fmt: skip


class TrainingJob:
    """One job, as far as it came.

    Attributes:
        request: Of CreateTrainingJob.
        status: Of TrainingJobStatus.
        secondary: Of SecondaryStatus.
        reason: Of FailureReason.
        lines: All that its processes wrote, as CloudWatch has it.
        stopping: Set by StopTrainingJob.
        interrupted: Set to take its machine away.
        attempts: How often its machine was started.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = dict(request)
        self.name = str(request["TrainingJobName"])
        self.arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{self.name.lower()}"
        self.status, self.secondary, self.reason = "InProgress", "Starting", ""
        self.created = self.changed = datetime.now(UTC)
        self.started: datetime | None = None
        self.finished: datetime | None = None
        self.transitions: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.stopping, self.interrupted = threading.Event(), threading.Event()
        self.attempts = 0
        self.goes("Starting", "Preparing the instances for training")

    @property
    def spot(self) -> bool:
        """Whether its machine may be taken away."""
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def artifacts(self) -> str:
        """Where its model goes, as an s3:// URI."""
        where = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{where}/{self.name}/output/model.tar.gz"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in _LAST_STATES

    def goes(self, secondary: str, message: str = "", status: str = "InProgress") -> None:
        """Change the state, and remember since when."""
        now = datetime.now(UTC)
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", now)
        self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
        if status in _LAST_STATES:
            self.finished = now
            self.transitions[-1]["EndTime"] = now
        self.secondary, self.changed = secondary, now
        if self.status != "Stopping" or status in _LAST_STATES:
            self.status = status

    def described(self) -> dict[str, Any]:
        """Give what DescribeTrainingJob answers."""
        told = {key: self.request[key] for key in _DESCRIBED if key in self.request}
        told |= {
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
            "SecondaryStatusTransitions": list(self.transitions),
            "CreationTime": self.created,
            "LastModifiedTime": self.changed,
            "FinalMetricDataList": self._metrics(),
        }
        if self.started is not None:
            told["TrainingStartTime"] = self.started
        if self.finished is not None:
            told["TrainingEndTime"] = self.finished
            took = (self.finished - (self.started or self.finished)).total_seconds()
            told["TrainingTimeInSeconds"] = max(1, int(took))
            told["BillableTimeInSeconds"] = max(1, int(took * (0.3 if self.spot else 1)))
            told["ModelArtifacts"] = {"S3ModelArtifacts": self.artifacts}
            if self.request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
                told["WarmPoolStatus"] = {"Status": "Available"}
        if self.reason:
            told["FailureReason"] = self.reason
        return told

    def _metrics(self) -> list[dict[str, Any]]:
        """Give the last value of each metric that the log's lines hold."""
        found = []
        for metric in self.request["AlgorithmSpecification"].get("MetricDefinitions", ()):
            values = re.findall(metric["Regex"], "\n".join(self.lines[-_MOST_LOGGED:]))
            if values:
                value = float(values[-1])
                found.append(
                    {"MetricName": metric["Name"], "Value": value, "Timestamp": self.changed}
                )
        return found


class Training:
    """All training jobs of the account.

    Attributes:
        jobs: Name → job.
        container: More variables of the containers' environment.
        grace_s: From SIGTERM to SIGKILL.
    """

    def __init__(
        self, account: Account, faults: Faults, credentials: Credentials, folder: Path
    ) -> None:
        self.account, self.faults, self.credentials, self.folder = (
            account,
            faults,
            credentials,
            folder,
        )
        self.jobs: dict[str, TrainingJob] = {}
        self.container: dict[str, str] = {"CXR_NO_INSTALL": "1"}
        self.grace_s = 120.0
        self._threads: list[threading.Thread] = []
        self.operations = {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": lambda call: self._job(call).described(),
            "StopTrainingJob": self._stop,
            "ListTrainingJobs": self._list,
        }

    def interrupt(self, job: str) -> None:
        """Take the machine of a spot job away, now."""
        if not self.jobs[job].spot:
            raise ValueError(f"{job}: only a spot job's machine is taken away")
        self.jobs[job].interrupted.set()

    def stop(self) -> None:
        """End all jobs, without waiting for what they would still write."""
        self.grace_s = 0
        for job in self.jobs.values():
            job.stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self._threads.clear()
        self.grace_s = 120.0

    def _create(self, call: Call) -> dict[str, Any]:
        from aws_double import training_run

        self._check(call.request)
        job = self.jobs[call.request["TrainingJobName"]] = TrainingJob(call.request)
        thread = threading.Thread(target=training_run.run, args=(self, job), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"TrainingJobArn": job.arn}

    def _job(self, call: Call) -> TrainingJob:
        try:
            return self.jobs[call.request["TrainingJobName"]]
        except KeyError as error:
            raise RefusedError("ValidationException", "Requested resource not found.") from error

    def _stop(self, call: Call) -> dict[str, Any]:
        job = self._job(call)
        if job.ended or job.status == "Stopping":
            told = f"The request was rejected because the training job is in status {job.status}."
            raise RefusedError("ValidationException", told)
        job.goes("Stopping", "Stopping the training job", "Stopping")
        job.stopping.set()
        return {}

    def _list(self, call: Call) -> dict[str, Any]:
        asked = call.request
        keys = (
            "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime",
            "LastModifiedTime", "TrainingJobStatus", "SecondaryStatus",
        )  # fmt: skip
        found = [
            {k: v for k, v in job.described().items() if k in keys}
            for job in self.jobs.values()
            if asked.get("NameContains", "") in job.name
            and asked.get("StatusEquals", job.status) == job.status
        ]
        return {"TrainingJobSummaries": found[::-1][: asked.get("MaxResults", 10)]}

    def _check(self, request: Mapping[str, Any]) -> None:
        """Refuse what the service's description cannot say."""
        name, account = request["TrainingJobName"], self.account
        if name.lower() in {known.lower() for known in self.jobs}:
            told = "Training job names must be unique within an AWS account and region"
            raise RefusedError("ResourceInUse", told)
        account.need_role(request["RoleArn"], "sagemaker.amazonaws.com")
        output = request["OutputDataConfig"]
        account.need_bucket(output["S3OutputPath"], "outputDataConfig.s3OutputPath")
        account.need_key(output.get("KmsKeyId"), "outputDataConfig.kmsKeyId")
        resources = request.get("ResourceConfig", {})
        account.need_key(resources.get("VolumeKmsKeyId"), "resourceConfig.volumeKmsKeyId")
        account.need_network(request.get("VpcConfig"))
        _check_machines(request, resources)
        if "TrainingImage" not in request.get("AlgorithmSpecification", {}):
            raise RefusedError("ValidationException", "algorithmSpecification.trainingImage: null")
        names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
        if len(set(names)) != len(names):
            raise RefusedError("ValidationException", "inputDataConfig: channel names repeat")
        for channel in request.get("InputDataConfig", ()):
            self._check_channel(channel, request["RoleArn"])
        writes = [f"{output['S3OutputPath'].rstrip('/')}/{name}/output/model.tar.gz"]
        if "CheckpointConfig" in request:
            where = request["CheckpointConfig"]["S3Uri"].rstrip("/")
            account.need_bucket(where, "checkpointConfig.s3Uri")
            policies.need(request["RoleArn"], "s3:GetObject", policies.object_arn(f"{where}/x"))
            writes.append(f"{where}/x")
        for uri in writes:
            policies.need(request["RoleArn"], "s3:PutObject", policies.object_arn(uri))

    def _check_channel(self, channel: Mapping[str, Any], role: str) -> None:
        field = f"inputDataConfig.{channel['ChannelName']}"
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise RefusedError("ValidationException", f"{field}: the double knows S3Prefix alone")
        if channel.get("InputMode", "File") != "File":
            raise RefusedError("ValidationException", f"{field}: the double knows File mode alone")
        self.account.need_bucket(source["S3Uri"], field)
        keys, bucket = self.account.keys(source["S3Uri"]), split(source["S3Uri"])[0]
        policies.need(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}")
        for key in keys[:1]:
            policies.need(role, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        if not keys:
            told = f'{field}: No S3 objects found under S3 URL "{source["S3Uri"]}"'
            raise RefusedError("ValidationException", told)


def _check_machines(request: Mapping[str, Any], resources: Mapping[str, Any]) -> None:
    limits, spot = request["StoppingCondition"], request.get("EnableManagedSpotTraining", False)
    longest, waits = limits.get("MaxRuntimeInSeconds", 86_400), limits.get("MaxWaitTimeInSeconds")
    told = ""
    if spot and (waits is None or waits < longest):
        told = "stoppingCondition.maxWaitTimeInSeconds: at least maxRuntimeInSeconds with spot"
    elif not spot and waits is not None:
        told = "stoppingCondition.maxWaitTimeInSeconds: only with managed spot training"
    elif spot and resources.get("KeepAlivePeriodInSeconds"):
        told = "resourceConfig.keepAlivePeriodInSeconds: not with managed spot training"
    elif not {"InstanceType", "InstanceCount"} <= resources.keys():
        told = "resourceConfig: instanceType and instanceCount are needed"
    if told:
        raise RefusedError("ValidationException", told)
