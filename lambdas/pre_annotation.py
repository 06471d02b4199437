"""Pre-annotation Lambda: say what a worker is to see.

SageMaker Ground Truth calls `handler` once per line of the input manifest (API:
PreHumanTaskLambdaArn, contract 2018-10-16); the local portal calls the same one.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from cxr.contract import jobs, labels, manifest, signing, telling
from cxr.contract.jobs import Settings
from cxr.contract.labels import LabelSet
from cxr.errors import ConfigError, CxrError, LabelError, ManifestError

ENVIRONMENT: Mapping[str, str] = os.environ
"""The function's configuration; the local portal, which is no function, puts its own here."""
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S.*")
_SETTINGS: telling.Kept[Settings | None] = telling.Kept(300)
_KEYS: telling.Kept[signing.Keys] = telling.Kept(60)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Turn one data object into one task.

    Environment: CXR_JOBS, the s3:// folder with each job's settings (`contract.jobs`), and
    CXR_TOKEN_SECRET, the ARN of the secret with the keys that sign image URLs; CXR_PACS_URL where
    the settings name none. A job without settings takes them from CXR_VIEWER_URL, CXR_TOKEN_KEY,
    CXR_TOKEN_TTL_S, CXR_TEMPLATE_SHA, CXR_VIEWER_SHA, CXR_LABEL_SET and CXR_PAGE.

    Args:
        event: As in tests/events/pre_annotation.json.
        context: Lambda's; only its request ID is read.

    Returns:
        `taskInput`, which the worker template reads as `task.input`.

    Raises:
        CxrError: The line has no image that can be shown, or another label set than its job; or
            something is not configured. A lost data object must not look like success. In Lambda
            the message holds nothing of the line.
    """
    if ENVIRONMENT is not os.environ:  # on this machine: whoever reads it may know what it quotes
        return _answer(event)
    try:
        answer = _answer(event)
    except Exception as error:  # noqa: BLE001 - the function's edge: what leaves it is logged
        refused = telling.nameless(error)
    else:
        task = answer["taskInput"]
        telling.tell(
            "pre-annotation", context, job=task["jobId"], labels=len(task["labels"]),
            companions=len(task["companions"]), image=task["imageUrl"].partition(":")[0],
        )  # fmt: skip
        return answer
    raise refused


def _answer(event: dict[str, Any]) -> dict[str, Any]:
    data_object = event["dataObject"]
    job_name = jobs.name_of(event.get("labelingJobArn"))
    settings = _settings(job_name)
    label_set = _label_set(data_object, settings)
    source = data_object.get("source") or data_object.get("source-ref")
    return {
        "taskInput": {
            "imageUrl": _image_url(data_object, settings),
            "source": source,
            "jobId": job_name,
            "itemId": source,
            "labels": list(label_set.names),
            "noFinding": label_set.no_finding,
            "compatible": list(label_set.compatible),
            "parents": {parent: list(names) for parent, names in label_set.parents.items()},
            "instructions": settings.instructions,
            "examples": list(settings.examples),
            "page": settings.page,
            "shown": data_object.get("shown", {}),
            "unit": data_object.get("unit", "image"),
            "companions": [
                _companion(given, settings, f"companions[{i}]")
                for i, given in enumerate(data_object.get("companions", ()))
            ],
            "viewerSrc": settings.viewer_url,
            "templateSha": settings.template_sha,
            "viewerSha": settings.viewer_sha,
        },
        "isHumanAnnotationRequired": True,
    }


def _settings(job_name: str) -> Settings:
    """Give the job's settings; without any, what the environment says."""
    folder = ENVIRONMENT.get("CXR_JOBS", "").rstrip("/")
    uri = f"{folder}/{jobs.key(job_name)}"
    kept = _SETTINGS.get(uri, lambda: _stored_settings(uri)) if folder and job_name else None
    return kept or _environment_settings()


def _stored_settings(uri: str) -> Settings | None:
    import boto3  # in every Lambda's runtime; not needed by the local portal

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    try:
        text = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return jobs.parse(text)


def _environment_settings() -> Settings:
    viewer_url = ENVIRONMENT.get("CXR_VIEWER_URL")
    if not viewer_url:
        raise ConfigError("expected settings of this job below CXR_JOBS, met none").at("CXR_JOBS")
    label_set = ENVIRONMENT.get("CXR_LABEL_SET")
    page = json.loads(ENVIRONMENT.get("CXR_PAGE", "{}"))
    return Settings(
        attribute="",
        label_set=jobs.label_set_from(json.loads(label_set)) if label_set else None,
        viewer_url=viewer_url,
        template_sha=ENVIRONMENT.get("CXR_TEMPLATE_SHA", ""),
        viewer_sha=ENVIRONMENT.get("CXR_VIEWER_SHA", ""),
        token_ttl_s=int(ENVIRONMENT.get("CXR_TOKEN_TTL_S", "28800")),
        instructions=page.get("instructions", ""),
        examples=page.get("examples", []),
        page=page.get("page", {}),
    )


def _label_set(data_object: Mapping[str, Any], settings: Settings) -> LabelSet:
    asked = settings.label_set
    if asked is not None and "labels" not in data_object:
        return asked
    try:
        own = labels.from_data_object(data_object)
    except CxrError as error:
        raise error.at("labels") from None
    if asked is not None and own.names != asked.names:
        raise LabelError(
            f"expected the job's label set {asked.name!r} ({', '.join(asked.names)}), met "
            f"{own.name!r} ({', '.join(own.names)})"[:400]
        ).at("labels")
    return own


def _companion(given: dict[str, Any], settings: Settings, place: str) -> dict[str, str]:
    """Say how another image of the patient is shown beside the one to label."""
    days = given.get("days-before")
    says = f"{given['kind']}, {days} days before" if days is not None else str(given["kind"])
    url = _image_url(given, settings, f"{place}.")
    return {"kind": given["kind"], "imageUrl": url, "says": says}


def _image_url(data_object: Mapping[str, Any], settings: Settings, place: str = "") -> str:
    """Give what opens the image, and nothing else in the PACS, until the task is over."""
    source = data_object.get("source")
    if not source:
        uri = data_object.get("source-ref")
        if not isinstance(uri, str) or not _S3.fullmatch(uri):
            raise ManifestError(
                f"expected an Orthanc instance ID as source, or an s3:// URI as source-ref, "
                f"met {uri!r}"[:300]
            ).at(f"{place}source-ref")
        return uri  # the template's grant_read_access opens it
    # it becomes part of an address and of what a token opens: nothing else may stand there
    if not isinstance(source, str) or not manifest.INSTANCE_ID.fullmatch(source):
        raise ManifestError(f"expected an Orthanc instance ID as source, met {source!r}"[:300]).at(
            f"{place}source"
        )
    pacs_url = settings.pacs_url or ENVIRONMENT.get("CXR_PACS_URL")
    if not pacs_url:
        raise ConfigError("expected where images are, met none").at("CXR_PACS_URL")
    kid = settings.token_kid
    token = signing.sign(
        _keys(kid), [f"i:{source}"], ttl_s=settings.token_ttl_s, subject="pre-annotation", kid=kid
    )
    return f"{pacs_url.rstrip('/')}/instances/{source}/file?token={token}"


def _keys(kid: str | None) -> signing.Keys:
    """Give the keys that sign, as they were a minute ago at most.

    Args:
        kid: Of the key that has to sign; one that is not there may be newer than what is kept.
    """
    arn = ENVIRONMENT.get("CXR_TOKEN_SECRET")
    if not arn:
        if text := ENVIRONMENT.get("CXR_TOKEN_KEY"):
            return signing.keys_from_text(text)
        raise ConfigError("expected the keys that sign image URLs, met none").at("CXR_TOKEN_SECRET")
    keys = _KEYS.get(arn, lambda: _stored_keys(arn))
    if kid is None or kid in keys.by_id:
        return keys
    return _KEYS.get(arn, lambda: _stored_keys(arn), 0)


def _stored_keys(arn: str) -> signing.Keys:
    import boto3  # in every Lambda's runtime; not needed by the local portal

    client = boto3.client("secretsmanager")
    found = client.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")
    return signing.keys_from_text(found["SecretString"])
