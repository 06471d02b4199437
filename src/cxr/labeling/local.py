"""The labeling job on this machine: a portal for the readers, the real Lambda handlers behind it.

Files are laid out as Ground Truth lays them out, so whatever reads its output reads this.
"""

import json
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr.contract import labels, manifest
from cxr.contract.signing import Keys
from cxr.errors import JobError
from cxr.infra import http
from cxr.labeling import Job, Status, audit, handlers, output, portal, selection
from cxr.labeling.answers import Answers
from cxr.labeling.portal import access
from cxr.labeling.results import Answer
from cxr.pacs.folder import FolderPacs

_VERSION = "2018-10-16"
_BATCH = 200
"""Data objects in one consolidation request."""


class LocalLabeling:
    """A LabelingBackend that serves the portal from a thread of this process."""

    def __init__(
        self,
        *,
        pacs: FolderPacs,
        keys: Keys,
        host: str = "127.0.0.1",
        port: int = 8300,
        open_browser: bool = False,
    ) -> None:
        """Take what the portal needs.

        Args:
            pacs: Whose images it serves, under /pacs.
            keys: That sign image URLs and personal links.
            host: Loopback.
            port: 0 takes any free one.
            open_browser: Whether to open the page once the portal answers.
        """
        self._pacs, self._keys = pacs, keys
        self._host, self._port, self._open_browser = host, port, open_browser
        self._answers: Answers | None = None
        self._served: http.Background | None = None
        self._url = ""

    def start(self, job: Job, manifest: Path) -> None:
        """Open the job's answers and serve the portal, if it is not being served.

        Raises:
            ConfigError: The port is taken.
            JobError: an image stands in the manifest twice.
        """
        self._open(job, manifest)
        if self._served is None:
            listener = http.bind(self._host, self._port, key="labeling.port")
            self._url = listener.url
            app = portal.app(job, self._opened, self._pacs, self._keys, url=self._url)
            self._served = http.Background(app, listener)
            if self._open_browser:
                webbrowser.open(self._url)

    def status(self, job: Job) -> Status:
        """Count the data objects that have all their answers."""
        done, total = self._opened.counts()
        state = "Completed" if done == total else "InProgress"
        return Status(state, done, total, url=self._url)

    def collect(self, job: Job) -> Path:
        """Consolidate what was answered by the post-annotation Lambda's handler."""
        results = list(self._opened.results())
        found = dict(_consolidated(job, results))
        lines = ((line, found.get(object_id)) for object_id, line, _ in results)
        scripted = any(reader.skill is not None for reader in job.readers)
        source = "scripted-readers" if scripted else "readers"
        return output.write(job, lines, human_annotated=not scripted, label_source=source)

    def links(self, job: Job) -> dict[str, str]:
        """Give each reader's personal link."""
        return {r.id: access.link(job, self._keys, self._url, r.id) for r in job.readers}

    def close(self) -> None:
        """Stop the portal; answers stay on disk."""
        if self._served is not None:
            self._served.stop()
            self._served = None
        if self._answers is not None:
            self._answers.close()
            self._answers = None

    @property
    def _opened(self) -> Answers:
        if self._answers is None:
            raise JobError("start the job first")
        return self._answers

    def _open(self, job: Job, path: Path) -> None:
        if self._answers is None:
            self._answers = Answers(
                job.folder / selection.ANSWERS,
                workers_per_object=job.workers_per_object,
                task_time_limit_s=job.task_time_limit_s,
                readers=[reader.id for reader in job.answering],
                known_share=job.checks.known_share,
                repeat_share=job.checks.repeat_share,
                audit_key=audit.keys(self._keys)[0],
            )
        self._answers.add(manifest.read(path), job.name)
        if job.checks.known is not None:
            asked = labels.to_data_object(job.labels)
            self._answers.add_known(manifest.read(job.checks.known), asked)


def _consolidated(
    job: Job, results: Sequence[tuple[int, dict[str, Any], list[Answer]]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each answered object's label attribute, by way of files and events as on AWS."""
    answered = [(i, line, answers) for i, line, answers in results if answers]
    folder = job.folder / "annotations"
    for object_id, _, answers in answered:
        _write_responses(folder / "worker-response" / "iteration-1" / str(object_id), answers)
    requests = folder / "consolidated-annotation" / "consolidation-request" / "iteration-1"
    requests.mkdir(parents=True, exist_ok=True)
    handler = handlers.load("post_annotation")
    for number, start in enumerate(range(0, len(answered), _BATCH)):
        request = requests / f"{number:05d}.json"
        batch = [_request(*result) for result in answered[start : start + _BATCH]]
        request.write_text(json.dumps(batch))
        event = {
            "version": _VERSION,
            "labelingJobArn": f"arn:aws:sagemaker:local:000000000000:labeling-job/{job.name}",
            "labelCategories": None,
            "labelAttributeName": job.name,
            "roleArn": "arn:aws:iam::000000000000:role/local",
            "payload": {"s3Uri": request.resolve().as_uri()},
        }
        for item in handler(event, None):
            content = item["consolidatedAnnotation"]["content"][job.name]
            yield int(item["datasetObjectId"]), content


def _request(object_id: int, line: Mapping[str, Any], answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "datasetObjectId": str(object_id),
        "dataObject": {"content": json.dumps(line)},
        "annotations": [
            {"workerId": a.worker_id, "annotationData": {"content": a.content}} for a in answers
        ],
    }


def _write_responses(folder: Path, answers: Sequence[Answer]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    last = max(a.submitted_at for a in answers)
    name = datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    for stale in folder.glob("*.json"):
        stale.unlink()
    document = {
        "answers": [
            {
                "acceptanceTime": _time(a.accepted_at),
                "answerContent": json.loads(a.content),
                "submissionTime": _time(a.submitted_at),
                "timeSpentInSeconds": round(a.submitted_at - a.accepted_at, 3),
                "workerId": a.worker_id,
                "workerMetadata": {},
            }
            for a in answers
        ]
    }
    (folder / f"{name}.json").write_text(json.dumps(document))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
