"""What Ground Truth does with a job once it has taken it, and what it leaves in S3."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from aws_double import policies
from aws_double.tasks import Task

if TYPE_CHECKING:
    from aws_double.labeling import Labeling, LabelingJob

_LONGEST_LINE, _MOST_LINES = 100_000, 100_000  # bytes, objects
_LOGS = "/aws/sagemaker/LabelingJobs"


class _FailedError(Exception):
    """The job, or one object of it, cannot go on."""


@dataclass
class _Object:
    """One line of the manifest.

    Attributes:
        number: Of the line, from 0.
        line: As it came; the output adds to it.
        tasks: Of its workers.
        answers: Worker's ID → the form's fields.
    """

    number: int
    line: dict[str, Any]
    tasks: list[Task] = field(default_factory=list)

    @property
    def answered(self) -> list[Task]:
        return [task for task in self.tasks if task.answer is not None]


def run(labeling: "Labeling", job: "LabelingJob") -> None:
    """Run a job to its end, in a thread of its own."""
    _Run(labeling, job).run()


class _Run:
    def __init__(self, labeling: "Labeling", job: "LabelingJob") -> None:
        self.all, self.job, self.account = labeling, job, labeling.account
        self.output: list[dict[str, Any]] = []
        self.times: set[str] = set()

    def run(self) -> None:
        job = self.job
        try:
            objects = self._objects()
            job.goes("InProgress") if not job.stopping.is_set() else None
            for fault in self.all.faults.of("job", job.name):
                raise _FailedError(fault["reason"])
            self._label(objects)
            for fault in self.all.faults.of("partial", job.name):
                self._write_output()
                job.goes(fault["status"], "the job has ended early")
                return
            self._write_output()
            job.goes("Stopped" if job.stopping.is_set() else "Completed")
        except (_FailedError, ClientError, UnicodeDecodeError) as error:
            job.goes("Failed", str(error)[:1024])
        except Exception as error:
            job.goes("Failed", f"InternalServerError: the double broke: {error!r}"[:1024])
            raise

    def _objects(self) -> list[_Object]:
        source = self.job.request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
        lines = [line for line in self.account.get(source).decode().splitlines() if line.strip()]
        if not 0 < len(lines) <= _MOST_LINES:
            raise _FailedError(f"ClientError: the manifest has {len(lines)} objects")
        objects = [_Object(n, self._line(n, line)) for n, line in enumerate(lines)]
        self.output = [dict(item.line) for item in objects]
        # an object that has the attribute already is not asked again
        objects = [item for item in objects if self.job.attribute not in item.line]
        self.job.counters["Unlabeled"] = len(objects)
        stop_at = self.job.request.get("StoppingConditions", {}).get("MaxHumanLabeledObjectCount")
        return objects[:stop_at]

    def _line(self, number: int, text: str) -> dict[str, Any]:
        where = f"ClientError: line {number + 1} of the manifest"
        if len(text.encode()) > _LONGEST_LINE:
            raise _FailedError(f"{where} has more than {_LONGEST_LINE} bytes")
        try:
            line = json.loads(text)
        except ValueError as error:
            raise _FailedError(f"{where} is not JSON") from error
        if not isinstance(line, dict) or len({"source", "source-ref"} & line.keys()) != 1:
            raise _FailedError(f"{where} needs source or source-ref, and not both")
        return line

    # the objects

    def _label(self, objects: Sequence[_Object]) -> None:
        for fault in self.all.faults.of("partial", self.job.name):
            objects = objects[: fault["objects"]]
        size = self.job.human.get("MaxConcurrentTaskCount", 1000)
        for start in range(0, len(objects), size):
            if self.job.stopping.is_set():
                return
            batch = [item for item in objects[start : start + size] if self._offered(item)]
            wait_s = self.job.human.get("TaskAvailabilityLifetimeInSeconds", 864_000)
            self.job.answering.wait([t for item in batch for t in item.tasks], wait_s)
            self._consolidate([item for item in batch if self._collected(item)])
            self._write_output("intermediate/1")

    def _offered(self, item: _Object) -> bool:
        """Ask the pre-annotation Lambda, then the workers; say whether there are tasks."""
        if self.job.stopping.is_set():
            return False
        for fault in self.all.faults.of("object", self.job.name):
            if fault["number"] == item.number:
                self._fail(item, "ClientError: the pre-annotation Lambda failed")
                return False
        arn, role = self.job.arn, self.job.request["RoleArn"]
        event = {"version": "2018-10-16", "labelingJobArn": arn, "dataObject": item.line}
        image = item.line.get("source-ref")
        if image and not policies.allows(role, "s3:GetObject", policies.object_arn(image)):
            self._fail(item, f"ClientError: {role} may not read {image}")
            return False
        try:
            task_input = self._task_input(
                self._call(self.job.human["PreHumanTaskLambdaArn"], event)
            )
        except _FailedError as error:
            self._fail(item, f"ClientError: {error}")
            return False
        if task_input is None:
            told = self._metadata(human="no")
            self.output[item.number][self.job.attribute + "-metadata"] = told
            self.job.counters["Unlabeled"] -= 1
            return False
        text = self.account.get(self.job.human["UiConfig"]["UiTemplateS3Uri"]).decode()
        workers = range(self.job.human["NumberOfHumanWorkersPerDataObject"])
        make = self.all.pages.task
        item.tasks = [make(self.job.name, item.number, w, task_input, text) for w in workers]
        self.job.answering.offer(item.tasks)
        self._scripted(item)
        return True

    def _task_input(self, reply: Any) -> dict[str, Any] | None:
        if not isinstance(reply, dict) or not isinstance(reply.get("taskInput"), dict):
            raise _FailedError("the pre-annotation Lambda gave no taskInput")
        needed = reply.get("isHumanAnnotationRequired", True)
        if not isinstance(needed, bool):
            raise _FailedError("isHumanAnnotationRequired is not true or false")
        return dict(reply["taskInput"]) if needed else None

    def _scripted(self, item: _Object) -> None:
        named = self.all.workers
        found = named.get(self.job.name) or next(
            (worker for name, worker in named.items() if fnmatchcase(self.job.name, name)), None
        )
        nobody = any(
            f["number"] == item.number for f in self.all.faults.of("nobody", self.job.name)
        )
        for task in item.tasks:
            if nobody:
                self.job.answering.submit(task, None)
            elif found is not None and task.waits:
                self.job.answering.submit(
                    task, found(json.loads(json.dumps(task.input)), task.worker)
                )

    def _collected(self, item: _Object) -> bool:
        """Store what the workers said; say whether anyone did."""
        if not item.answered:
            if not self.job.stopping.is_set():
                self._fail(item, "ClientError: no worker answered before the task expired")
            return False
        answers = [
            {
                "acceptanceTime": _stamp(task.accepted),
                "answerContent": task.answer,
                "submissionTime": _stamp(task.submitted),
                "timeSpentInSeconds": round((task.submitted - task.accepted).total_seconds(), 3),
                "workerId": worker_id(task.worker),
                "workerMetadata": {
                    "identityData": {
                        "identityProviderType": "Cognito",
                        "issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a",
                        "sub": f"00000000-0000-4000-8000-{task.worker:012x}",
                    }
                },
            }
            for task in item.answered
            if task.submitted is not None
        ]
        where = f"annotations/worker-response/iteration-1/{item.number}/{self._time()}.json"
        self._put(where, {"answers": answers})
        return True

    def _consolidate(self, batch: Sequence[_Object]) -> None:
        if not batch:
            return
        payload = [
            {
                "datasetObjectId": str(item.number),
                "dataObject": _data_object(item.line),
                "annotations": [
                    {
                        "workerId": worker_id(task.worker),
                        "annotationData": {"content": json.dumps(task.answer)},
                    }
                    for task in item.answered
                ],
            }
            for item in batch
        ]
        where, now = "annotations/consolidated-annotation/consolidation", self._time()
        request = self._put(f"{where}-request/iteration-1/{now}.json", payload)
        event = {
            "version": "2018-10-16",
            "labelingJobArn": self.job.arn,
            "labelCategories": self._categories(),
            "labelAttributeName": self.job.attribute,
            "roleArn": self.job.request["RoleArn"],
            "payload": {"s3Uri": request},
        }
        lambdas = self.job.human["AnnotationConsolidationConfig"]
        try:
            reply = self._call(lambdas["AnnotationConsolidationLambdaArn"], event)
            labels = dict(_consolidated(reply, self.job.attribute))
        except _FailedError as error:
            for item in batch:
                self._fail(item, f"ClientError: {error}")
            return
        self._put(f"{where}-response/iteration-1/{now}.json", reply)
        for item in batch:
            self._labelled(item, labels.get(str(item.number)))

    def _labelled(self, item: _Object, label: Any) -> None:
        if label is None:
            self._fail(item, "ClientError: the post-annotation Lambda left this object out")
            return
        attribute, line = self.job.attribute, self.output[item.number]
        line[attribute], line[attribute + "-metadata"] = label, self._metadata(human="yes")
        for name, change in {"HumanLabeled": 1, "TotalLabeled": 1, "Unlabeled": -1}.items():
            self.job.counters[name] += change
        self._log(f"object {item.number} labelled")

    def _fail(self, item: _Object, reason: str) -> None:
        told = self._metadata(human="no") | {"failure-reason": reason[:1024]}
        self.output[item.number][self.job.attribute + "-metadata"] = told
        self.job.counters["FailedNonRetryableError"] += 1
        self.job.counters["Unlabeled"] -= 1
        self._log(f"object {item.number} failed")

    # calls and files

    def _call(self, arn: str, event: Mapping[str, Any]) -> Any:
        function = self.account.function(arn)
        reply, failed = self.all.lambdas.invoke(function, json.dumps(event))
        document = json.loads(reply)
        if failed:
            raise _FailedError(
                f"Lambda {document.get('errorType')}: {document.get('errorMessage')}"
            )
        return document

    def _categories(self) -> list[str] | None:
        where = self.job.request.get("LabelCategoryConfigS3Uri")
        if where is None:
            return None
        return [entry["label"] for entry in json.loads(self.account.get(where))["labels"]]

    def _metadata(self, *, human: str) -> dict[str, Any]:
        now = datetime.now(UTC).replace(tzinfo=None)
        return {
            "type": "groundtruth/custom",
            "job-name": f"labeling-job/{self.job.name.lower()}",
            "human-annotated": human,
            "creation-date": now.isoformat(timespec="microseconds"),
        }

    def _write_output(self, where: str = "output") -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.output)
        self._put(f"manifests/{where}/output.manifest", text.encode())

    def _put(self, where: str, content: Any) -> str:
        uri = f"{self.job.folder}/{where}"
        self.account.put(uri, content, self.job.request["OutputConfig"].get("KmsKeyId"))
        return uri

    def _time(self) -> str:
        """Give a time of day to name a file by, which no file of this job has yet."""
        now = datetime.now(UTC)
        while (told := now.strftime("%Y-%m-%d_%H:%M:%S")) in self.times:
            now += timedelta(seconds=1)
        self.times.add(told)
        return told

    def _log(self, line: str) -> None:
        self.account.log(_LOGS, self.job.name, [line])


def worker_id(number: int) -> str:
    """Give the opaque ID that Ground Truth has for a worker of a private team."""
    return f"private.eu-central-1.{number:016x}"


def _data_object(line: Mapping[str, Any]) -> dict[str, Any]:
    if "source" in line:
        return {"content": line["source"]}
    return {"s3Uri": line["source-ref"]}


def _consolidated(reply: Any, attribute: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(reply, list):
        raise _FailedError("the post-annotation Lambda gave no list")
    for entry in reply:
        try:
            yield entry["datasetObjectId"], entry["consolidatedAnnotation"]["content"][attribute]
        except (KeyError, TypeError) as error:
            told = "the post-annotation Lambda's entry has no datasetObjectId, or no label"
            raise _FailedError(told) from error


def _stamp(moment: datetime | None) -> str:
    moment = moment or datetime.now(UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
