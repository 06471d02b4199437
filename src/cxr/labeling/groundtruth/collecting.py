"""From what Ground Truth left in S3 to the files that the local portal would have written."""

import csv
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr import progress
from cxr.contract import annotation, consolidate, labels, manifest
from cxr.errors import AnnotationError
from cxr.infra.aws import Account, objects
from cxr.labeling import Job, output
from cxr.labeling.groundtruth import sending
from cxr.labeling.groundtruth.state import Round

FAILED = "failed.csv"
_RESPONSE = re.compile(r"annotations/worker-response/iteration-(\d+)/(\d+)/([^/]+\.json)")
_UNANSWERED = "nobody answered it, or the job ended before"
_UIDS = {
    "studyUid": "study-instance-uid",
    "seriesUid": "series-instance-uid",
    "sopUid": "sop-instance-uid",
}
"""Names of the page's → keys of our lines."""
_THREADS = 8
_log = logging.getLogger(__name__)


def fetched(job: Job, one: Round) -> Path:
    """Say where a round's output manifest is on this machine."""
    return job.folder / "groundtruth" / one.name / "output.manifest"


def fetch(account: Account, job: Job, one: Round, number: int) -> None:
    """Download a round's output manifest and its workers' responses; again is harmless.

    Args:
        account: Whose bucket it is.
        job: Whose folder it goes to.
        one: The round.
        number: Of the round, from 1.

    Raises:
        AwsError: The bucket may not be read.
    """
    path = fetched(job, one)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    where = _output_manifest(account, one)
    if where is None:
        return  # it failed before there was anything
    objects.download(account, where, path)
    path.chmod(0o600)
    own = _own(job)
    # Ground Truth numbers answers by what it was given; what it gives back may hold less
    asked = objects.read(account, f"{one.base}/input.manifest").splitlines()
    numbers = [own.get(sending.local_source(json.loads(line)), -1) for line in asked]
    _fetch_responses(account, job, one, number, numbers)
    lines = list(manifest.read(path))
    kept = [line for line in lines if sending.local_source(line) in own]
    if len(kept) < len(lines):  # of a patient who has withdrawn since
        manifest.write(path, kept, max_line=None)
        path.chmod(0o600)


def _output_manifest(account: Account, one: Round) -> str | None:
    stored = [uri for uri, _ in objects.below(account, f"{one.output}/manifests/")]
    whole = f"{one.output}/manifests/output/output.manifest"
    if whole in stored:
        return whole
    # a job that was stopped may have come no further
    between = [uri for uri in stored if "/manifests/intermediate/" in uri]
    return max(between, key=lambda uri: [int(n) for n in re.findall(r"\d+", uri)], default=None)


def _own(job: Job) -> dict[str, int]:
    """Give, by its source, the number of each of the job's lines."""
    return {manifest.source(line): n for n, line in enumerate(manifest.read(job.input_manifest))}


def _fetch_responses(
    account: Account, job: Job, one: Round, number: int, numbers: Sequence[int]
) -> None:
    wanted = {}
    for uri, size in objects.below(account, f"{one.output}/annotations/worker-response/"):
        met = _RESPONSE.fullmatch(uri.removeprefix(f"{one.output}/"))
        if met and int(met[2]) < len(numbers) and numbers[int(met[2])] >= 0:
            iteration = f"iteration-{int(met[1]) + number - 1}"
            place = Path(iteration) / str(numbers[int(met[2])]) / met[3]
            path = job.folder / "annotations" / "worker-response" / place
            if not path.exists() or path.stat().st_size != size:
                wanted[uri] = path
    with (
        progress.bar("downloaded", len(wanted)) as advance,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        done = pool.map(lambda item: objects.download(account, *item), wanted.items())
        for count, _ in enumerate(done, 1):
            advance(count)


@dataclass(frozen=True)
class Found:
    """What the rounds on this machine say.

    Attributes:
        labels: Source → label attribute by majority.
        reasons: Source → why there is none.
    """

    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def found(job: Job, rounds: Sequence[Round]) -> Found:
    """Read all rounds that are on this machine; the first label of an image is the one.

    Raises:
        ManifestError: A line is none.
    """
    told = Found()
    own = list(manifest.read(job.input_manifest))
    numbers = {manifest.source(line): n for n, line in enumerate(own)}
    for line in _lines(job, rounds):
        source, meta = sending.local_source(line), line.get(job.name + manifest.METADATA)
        value = line.get(job.name)
        if isinstance(meta, dict) and "failure-reason" in meta:
            told.reasons[source] = str(meta["failure-reason"])
        elif isinstance(value, dict) and meta is not None and source not in told.labels:
            try:
                if (number := numbers.get(source)) is None:
                    continue
                if consolidate.FROM_ALL not in value:
                    value = value | {consolidate.FROM_ALL: _responses(job, number)}
                told.labels[source] = _as_of_here(value, line, own[number], job)
            except (AnnotationError, ValueError, KeyError, TypeError) as error:
                told.reasons[source] = f"an answer cannot be understood: {error}"
    return told


def _responses(job: Job, number: int) -> list[dict[str, Any]]:
    """Give what workers said of an image, from where Ground Truth keeps it.

    The post-annotation Lambda leaves answers out where a batch is too large for its reply.
    """
    folder = job.folder / "annotations" / "worker-response"
    return [
        {"workerId": a["workerId"], "annotationData": {"content": a["answerContent"]}}
        for path in sorted(folder.glob(f"*/{number}/*.json"))
        for a in json.loads(path.read_text())["answers"]
    ]


def _lines(job: Job, rounds: Sequence[Round]) -> Iterator[dict[str, Any]]:
    for one in rounds:
        if fetched(job, one).exists():
            yield from manifest.read(fetched(job, one))


def _as_of_here(
    value: dict[str, Any], line: Mapping[str, Any], own: Mapping[str, Any], job: Job
) -> dict[str, Any]:
    """Give a label attribute as this machine's post-annotation handler would have made it.

    What a worker submitted is a JSON document, whose spaces and whose place among the others are
    not hers to say; two backends must not differ in them, nor in the image's UIDs, which do not
    leave this machine and so are not in what comes back.
    """
    answers = value.get(consolidate.FROM_ALL)
    if not answers:
        return value
    said = {a["workerId"]: _plain(a["annotationData"]["content"], own) for a in answers}
    label_set = labels.from_data_object(line) if "labels" in line else job.labels
    return consolidate.consolidate(dict(sorted(said.items())), label_set)


def _plain(content: Any, own: Mapping[str, Any]) -> str:
    form = json.loads(content) if isinstance(content, str) else content
    if isinstance(form, dict) and isinstance(text := form.get(annotation.FIELD), str):
        for name, key in _UIDS.items():
            uid = own.get(key)
            if isinstance(uid, str) and re.fullmatch(r"[0-9.]+", uid):
                # no text within the document holds this: quotes in it are escaped
                text = text.replace(f'"{name}":""', f'"{name}":"{uid}"', 1)
        form = form | {annotation.FIELD: text}
    return json.dumps(form)


def merge(job: Job, rounds: Sequence[Round]) -> Path:
    """Write the job's output manifest, tables and `failed.csv`, and give the manifest's path.

    Raises:
        ManifestError: What was downloaded is no manifest.
    """
    told = found(job, rounds)
    _compare(job, rounds, told)
    lines = list(manifest.read(job.input_manifest))
    path = output.write(
        job,
        # what another job's output brought along stays as it is
        (
            (line, None if job.name in line else told.labels.get(manifest.source(line)))
            for line in lines
        ),
        human_annotated=True,
        label_source="readers",
    )
    _list_failed(job, lines, told)
    return path


def _compare(job: Job, rounds: Sequence[Round], told: Found) -> None:
    """Warn where the deployed Lambda made other findings of the same answers."""
    made = (
        (told.labels.get(sending.local_source(line)), line.get(job.name))
        for line in _lines(job, rounds)
    )
    count = sum(
        ours is not None
        and isinstance(theirs, dict)
        and "findings" in theirs  # another's Lambda may leave them to whoever reads
        and theirs["findings"] != ours.get("findings")
        for ours, theirs in made
    )
    if count:
        _log.warning(
            "the post-annotation Lambda made other labels of %d images than this version makes "
            "of the same answers; these are taken, and scripts/stack.py up labeling deploys anew",
            count,
        )


def missing(job: Job, rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Give the job's lines that have no label yet."""
    told = found(job, rounds)
    return [one for one in sending.unlabelled(job) if manifest.source(one) not in told.labels]


def _list_failed(job: Job, lines: Sequence[Mapping[str, Any]], told: Found) -> None:
    path = job.folder / FAILED
    part = path.with_name(f"{FAILED}.part")
    count = 0
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "source", "reason"])
        for number, line in enumerate(lines):
            source = manifest.source(line)
            if job.name not in line and source not in told.labels:
                count += 1
                writer.writerow([number, source, told.reasons.get(source, _UNANSWERED)])
    part.replace(path)
    if count:
        _log.warning(
            "%d of %d images have no label; %s says why, and requeue=true offers them again",
            count, len(lines), path,
        )  # fmt: skip
