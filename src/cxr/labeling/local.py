"""The labeling job on this machine: a portal for the readers, the real Lambda handlers behind it.

Files are laid out as Ground Truth lays them out, so whatever reads its output reads this.
"""

import hashlib
import json
import threading
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxr import places
from cxr.contract import jobs, labels, manifest
from cxr.contract.signing import Keys
from cxr.errors import ConfigError, JobError
from cxr.infra import http
from cxr.labeling import Job, Status, audit, handlers, lock, output, portal, quality, selection
from cxr.labeling.accounts import Accounts
from cxr.labeling.answers import Answers
from cxr.labeling.decisions import settles
from cxr.labeling.portal import access, guard
from cxr.labeling.portal.context import Portal
from cxr.labeling.results import Answer
from cxr.pacs import Pacs

_VERSION = "2018-10-16"
_BATCH = 200
"""Data objects in one consolidation request."""


class LocalLabeling:
    """A LabelingBackend that serves the portal from a thread of this process."""

    def __init__(
        self,
        *,
        pacs: Pacs,
        keys: Keys,
        host: str = "127.0.0.1",
        port: int = 8300,
        open_browser: bool = False,
        url: str | None = None,
        tls: Mapping[str, str] | None = None,
        proxy: Mapping[str, Any] | None = None,
        smtp: Mapping[str, Any] | None = None,
        accounts: Path | None = None,
    ) -> None:
        """Take what the portal needs.

        Args:
            pacs: Whose images it serves, under /pacs.
            keys: That sign image URLs and personal links.
            host: Where it listens; off loopback only with `tls` or `proxy`.
            port: 0 takes any free one.
            open_browser: Whether to open the page once the portal answers.
            url: What readers open; None is host and port.
            tls: PEM files as `certificate` and `key`.
            proxy: Who may stand before it: `addresses`, and in which `user_header` they say who
                asks.
            smtp: The mail server of invitations, which are sent without a portal.
            accounts: The readers' passphrases; None keeps them in the job's folder.
        """
        self._pacs, self._keys = pacs, keys
        self._host, self._port, self._open_browser = host, port, open_browser
        self._public, self._tls, self._proxy = url, tls, proxy or {}
        self._accounts_path = accounts
        self._accounts: Accounts | None = None
        self._lock: lock.JobLock | None = None
        self._answers: Answers | None = None
        self._served: http.Background | None = None
        self._portal: Portal | None = None
        self._collecting = threading.Lock()
        self._url = ""

    def start(self, job: Job, manifest: Path) -> None:
        """Open the job's answers and serve the portal, if it is not being served.

        Raises:
            ConfigError: The port is taken, the certificate cannot be read, or others would come
                without TLS.
            JobError: An image stands in the manifest twice, or another process has this job open.
        """
        self._open(job, manifest)
        if self._served is None:
            self._serve(job)
            if self._open_browser:
                webbrowser.open(self._url)

    def _serve(self, job: Job) -> None:
        public = self._public or f"http://{self._host}"
        outside = not all(map(places.is_loopback, (self._host, urlsplit(public).hostname or "")))
        if outside and not self._tls and not (self._proxy and public.startswith("https://")):
            raise ConfigError(
                f"labeling.tls: expected a certificate, or a proxy and its https url, where others "
                f"reach the portal, met {self._public or self._host!r}"
            )
        secured = self._tls and http.tls(
            Path(self._tls["certificate"]), Path(self._tls["key"]), section="labeling.tls"
        )
        listener = http.bind(self._host, self._port, key="labeling.port", secured=secured or None)
        self._url = self._public or listener.url
        reached = guard.entrance(
            self._url,
            listener.url,
            tuple(self._proxy.get("addresses", ())),
            self._proxy.get("user_header"),
        )
        self._accounts = Accounts(self._accounts_path or job.folder / "accounts.db")
        app = portal.app(
            job, self._opened, self._pacs, self._keys, entrance=reached, accounts=self._accounts,
            collects=lambda reader: self.collect(job, reader),
        )  # fmt: skip
        self._portal = app.state.portal
        self._served = http.Background(app, listener)

    def reopen(self) -> None:
        """Take answers and corrections again, if the job was closed."""
        self._opened.reopen_job("")

    def status(self, job: Job) -> Status:
        """Count the data objects that have all their answers, and say whether more are taken."""
        done, total = self._opened.counts()
        closed = self._opened.closed
        if done < total:
            state = "Stopped" if closed else "InProgress"
        else:
            ends = job.closes == "done" and not self._undecided(job)
            state = "Completed" if closed or ends else "InProgress"
        return Status(state, done, total, url=self._url)

    def _undecided(self, job: Job) -> bool:
        """Say whether a disagreement waits for its adjudicator."""
        if job.consolidation != "adjudicated" or self._portal is None:
            return False
        decided = self._opened.decisions()
        told = self._portal.board.told(fresh=True)
        return not all(settles(decided.get(d.object_id), d.labels) for d in told.disputes)

    def collect(self, job: Job, by: str = "") -> Path:
        """Consolidate what was answered by the post-annotation Lambda's handler.

        The audit log tells of it, and its end is written down beside it.

        Args:
            job: What is collected.
            by: Who asked for it, where it was somebody at the portal.
        """
        with self._collecting:  # a lead may download while the command collects
            return self._collect(job, by)

    def _collect(self, job: Job, by: str) -> Path:
        results = list(self._opened.results())
        found = dict(_consolidated(job, results))
        lines = ((line, found.get(object_id)) for object_id, line, _ in results)
        scripted = any(reader.skill is not None for reader in job.readers)
        source = "scripted-readers" if scripted else "readers"
        path = output.write(
            job,
            lines,
            human_annotated=not scripted,
            label_source=source,
            extras=self._extras(job, {i: manifest.source(line) for i, line, _ in results}),
        )
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._opened.record("exported", by, images=len(results), labelled=len(found), sha256=sha256)
        audit.note_head(job.folder, self._opened.head())
        return path

    def _extras(self, job: Job, sources: Mapping[int, str]) -> output.Extras:
        """Give decisions, known answers and repeats: what the portal has beyond Ground Truth."""
        decisions = self._opened.decisions()
        return output.Extras(
            {sources[i]: decision for i, decision in decisions.items() if i in sources},
            quality.known_pairs(self._opened.known_results(), job.labels),
            quality.repeat_pairs(self._opened.repeats(), job.labels),
        )

    def links(self, job: Job) -> dict[str, str]:
        """Give each reader's personal link."""
        return links(job, self._keys, self._url, by_proxy=bool(self._proxy.get("user_header")))

    @property
    def open(self) -> bool:
        """Whether the portal asks nobody to sign in."""
        return self._portal is not None and self._portal.open

    def stop(self) -> None:
        """Finish the requests under way and take no more, so that `collect` has every answer."""
        if self._served is not None:
            self._served.stop()
            self._served = self._portal = None

    def close(self) -> None:
        """Stop the portal; answers stay on disk."""
        self.stop()
        if self._answers is not None:
            self._answers.close()
            self._answers = None
        if self._accounts is not None:
            self._accounts.close()
            self._accounts = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def _opened(self) -> Answers:
        if self._answers is None:
            raise JobError("start the job first")
        return self._answers

    def _open(self, job: Job, path: Path) -> None:
        if (job.folder / selection.GROUND_TRUTH).exists():
            raise JobError(f"job {job.name!r} was begun in Ground Truth; choose another job.name")
        if self._answers is None:
            self._lock = lock.JobLock(job.folder)
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
        checks = job.checks
        if checks.known is not None:
            own = selection.manner(manifest.read(path), job.labels)
            pairs = selection.known(checks.known, self._pacs, own)
            if not self._answers.add_known(pairs) and checks.known_share:
                raise JobError(
                    f"job.honeypots: {checks.known} holds no labelled image that is in the PACS "
                    "and not in the job"
                )


def address(host: str, port: int, url: str | None = None, *, secured: bool = False) -> str:
    """Give what readers open, before anything is served.

    Raises:
        ConfigError: It is not known until the portal has its port.
    """
    if url is None and port == 0:
        raise ConfigError("labeling.url: expected the address of the links, or a labeling.port")
    name = f"[{host}]" if ":" in host else host
    return (url or f"{'https' if secured else 'http'}://{name}:{port}").rstrip("/")


def links(job: Job, keys: Keys, url: str, *, by_proxy: bool = False) -> dict[str, str]:
    """Give each reader's personal link; where a proxy says who asks, it is the address alone."""
    if by_proxy:
        return {reader.id: f"{url}/" for reader in job.readers}
    return {reader.id: access.link(job, keys, url, reader.id) for reader in job.readers}


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
    asked = next((labels.from_data_object(line) for _, line, _ in answered), job.labels)
    environment = {"CXR_LABEL_SET": json.dumps(jobs.label_set_document(asked))}
    handler = handlers.load("post_annotation", environment)
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
    # of a line Ground Truth passes the source alone
    source = {"content": line["source"]} if line.get("source") else {"s3Uri": line["source-ref"]}
    return {
        "datasetObjectId": str(object_id),
        "dataObject": source,
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
