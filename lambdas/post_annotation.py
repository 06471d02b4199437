"""Post-annotation Lambda: consolidate what several workers said of each image.

SageMaker Ground Truth calls `handler` with batches of answered data objects (API:
AnnotationConsolidationLambdaArn, contract 2018-10-16); the local portal calls the same one.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cxr.contract import consolidate, jobs, labels, telling
from cxr.contract.labels import LabelSet
from cxr.errors import AnnotationError, CxrError

ENVIRONMENT: Mapping[str, str] = os.environ
"""The function's configuration; the local portal, which is no function, puts its own here."""
MOST = 5_500_000
"""Bytes of a reply; Lambda takes 6 MB at most, and refuses the whole batch beyond."""
_LABEL_SETS: telling.Kept[LabelSet | None] = telling.Kept(300)


@dataclass(frozen=True)
class _Object:
    """A data object of the batch: its ID, what Ground Truth says of it, who said what of it."""

    id: str
    about: str
    answers: Mapping[str, str]


def handler(event: dict[str, Any], context: object) -> list[dict[str, Any]]:
    """Make one consolidated label of each data object's annotations.

    What was asked is in the job's settings below CXR_JOBS, or in CXR_LABEL_SET; a job without
    either is known by its lines, where they are passed whole, or by its answers' own findings.

    Args:
        event: As in tests/events/post_annotation.json; its payload is an s3:// URI, or file://
            for the local portal.
        context: Lambda's; only its request ID is read.

    Returns:
        One entry per data object, in the payload's order. In Lambda, one whose answers cannot be
        understood is left out: to Ground Truth it has failed, and the others have not. Of a batch
        too large for a reply, the longest answers are left where Ground Truth keeps them.

    Raises:
        CxrError: Nothing could be read; on this machine also where an answer cannot be
            understood. In Lambda the message holds nothing of what was read.
    """
    if ENVIRONMENT is not os.environ:  # on this machine: whoever reads it may know what it quotes
        return _entries(event, _refuse)
    failed: list[dict[str, str]] = []

    def note(object_id: object, error: CxrError) -> None:
        failed.append({"object": telling.index(object_id)} | telling.kind(error))

    try:
        made = _entries(event, note)
        shortened = _shortened(made)
    except Exception as error:  # noqa: BLE001 - the function's edge: what leaves it is logged
        refused = telling.nameless(error)
    else:
        telling.tell(
            "post-annotation", context, job=jobs.name_of(event.get("labelingJobArn")),
            consolidated=len(made), shortened=shortened, failed=failed,
        )  # fmt: skip
        return made
    raise refused


def _refuse(object_id: object, error: CxrError) -> None:
    raise type(error)(f"data object {object_id}: {error}") from error


def _entries(
    event: dict[str, Any], failed: Callable[[object, CxrError], None]
) -> list[dict[str, Any]]:
    attribute = event["labelAttributeName"]
    batch = json.loads(_read(event["payload"]["s3Uri"]))
    objects = []
    for item in batch:
        try:
            objects.append(_object(item))
        except CxrError as error:
            failed(item.get("datasetObjectId") if isinstance(item, dict) else None, error)
    asked = _asked(jobs.name_of(event.get("labelingJobArn")))
    own = None if asked else consolidate.asked(a for o in objects for a in o.answers.values())
    made = []
    for each in objects:
        try:
            content = consolidate.consolidate(each.answers, asked or _said(each.about, own))
        except CxrError as error:
            failed(each.id, error)
            continue
        entry = {"datasetObjectId": each.id, "consolidatedAnnotation": {}}
        entry["consolidatedAnnotation"] = {"content": {attribute: content}}
        made.append(entry)
    return made


def _shortened(entries: list[dict[str, Any]]) -> int:
    """Take out of the largest entries every worker's answer until all fit, and say of how many.

    What was consolidated of them stays; the answers themselves are under `worker-response` too.
    """
    sizes = [len(json.dumps(entry)) + 2 for entry in entries]
    count = 0
    for i in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        if sum(sizes) <= MOST:
            break
        for content in entries[i]["consolidatedAnnotation"]["content"].values():
            del content[consolidate.FROM_ALL]
        sizes[i] = len(json.dumps(entries[i])) + 2
        count += 1
    return count


def _object(item: Any) -> _Object:
    """Read one data object of the batch, and its answers wherever they are.

    Raises:
        AnnotationError: It is none; `field` says where.
    """
    if not isinstance(item, dict) or not isinstance(item.get("annotations"), list):
        raise AnnotationError("expected a list of annotations", "annotations")
    answers = {}
    for i, given in enumerate(item["annotations"]):
        if not isinstance(given, dict) or not isinstance(given.get("workerId"), str):
            raise AnnotationError("expected a worker", f"annotations[{i}].workerId")
        answers[given["workerId"]] = _content(given, f"annotations[{i}].annotationData")
    about = item.get("dataObject")
    content = about.get("content") if isinstance(about, dict) else None
    # of an image in S3 there is only its address, and the image says nothing of what was asked
    text = content if isinstance(content, str) else json.dumps(content)
    return _Object(item.get("datasetObjectId", ""), text, answers)


def _content(given: Mapping[str, Any], place: str) -> str:
    holder = given.get("annotationData")
    if not isinstance(holder, dict):
        raise AnnotationError("expected an answer", place)
    content = holder.get("content")
    if content is None:
        # s3Uri in the documentation, s3uri in samples seen in the wild
        uri = holder.get("s3Uri") or holder.get("s3uri")
        if not isinstance(uri, str):
            raise AnnotationError("expected content or s3Uri", place)
        return _read(uri)
    return content if isinstance(content, str) else json.dumps(content)


def _asked(job_name: str) -> LabelSet | None:
    """Give what the job asks; None where only its lines or answers say it."""
    folder = ENVIRONMENT.get("CXR_JOBS", "").rstrip("/")
    if folder and job_name:
        uri = f"{folder}/{jobs.key(job_name)}"
        if (kept := _LABEL_SETS.get(uri, lambda: _stored(uri))) is not None:
            return kept
    given = ENVIRONMENT.get("CXR_LABEL_SET")
    return jobs.label_set_from(json.loads(given)) if given else None


def _stored(uri: str) -> LabelSet | None:
    import boto3  # in every Lambda's runtime; not needed by the local portal

    try:
        return jobs.parse(_read(uri)).label_set
    except boto3.client("s3").exceptions.ClientError as error:
        # the role may list the folder of jobs, so that what is not there is not AccessDenied
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


def _said(about: str, own: LabelSet | None) -> LabelSet:
    """Give what a whole line asks, where one is passed; else what the batch's answers answer."""
    try:
        line = json.loads(about)
    except (ValueError, RecursionError):  # the value of `source`, as Ground Truth passes it
        line = None
    if isinstance(line, dict) and "labels" in line:
        return labels.from_data_object(line)
    if own is None:
        raise AnnotationError("expected an answer that says what was asked, met none", "findings")
    return own


def _read(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme == "file" and ENVIRONMENT is not os.environ:
        return Path(unquote(parts.path)).read_text()
    import boto3  # in every Lambda's runtime; not needed by the local portal

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return str(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())
