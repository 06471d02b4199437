"""Pre-annotation Lambda: say what a worker is to see.

SageMaker Ground Truth calls `handler` once per line of the input manifest (API:
PreHumanTaskLambdaArn, contract 2018-10-16); the local portal calls the same one.
"""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cxr.contract import labels, signing

ENVIRONMENT: Mapping[str, str] = os.environ
"""The function's configuration; the local portal, which is no function, puts its own here."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Turn one data object into one task.

    Environment: CXR_PACS_URL, CXR_TOKEN_KEY, CXR_TOKEN_TTL_S, CXR_VIEWER_URL and, if there are
    any, CXR_TEMPLATE_SHA, CXR_VIEWER_SHA, and CXR_PAGE: what the job shows (`instructions`,
    `examples`, `page`), as JSON or as the s3:// URI of such a file, since an environment holds
    4 KB.

    Args:
        event: As in tests/events/pre_annotation.json.
        context: Unused; Lambda passes it always.

    Returns:
        `taskInput`, which the worker template reads as `task.input`.

    Raises:
        LabelError: The line carries no label set. A lost data object must not look like success.
    """
    data_object = event["dataObject"]
    label_set = labels.from_data_object(data_object)
    source = data_object.get("source") or data_object["source-ref"]
    page = _page(ENVIRONMENT.get("CXR_PAGE", "{}"))
    return {
        "taskInput": {
            "imageUrl": _image_url(data_object),
            "source": source,
            "jobId": str(event.get("labelingJobArn", "")).rpartition("/")[2],
            "itemId": source,
            "labels": list(label_set.names),
            "noFinding": label_set.no_finding,
            "compatible": list(label_set.compatible),
            "parents": {parent: list(names) for parent, names in label_set.parents.items()},
            "instructions": page.get("instructions", ""),
            "examples": page.get("examples", []),
            "page": page.get("page", {}),
            "shown": data_object.get("shown", {}),
            "unit": data_object.get("unit", "image"),
            "companions": [_companion(given) for given in data_object.get("companions", ())],
            "viewerSrc": ENVIRONMENT["CXR_VIEWER_URL"],
            "templateSha": ENVIRONMENT.get("CXR_TEMPLATE_SHA", ""),
            "viewerSha": ENVIRONMENT.get("CXR_VIEWER_SHA", ""),
        },
        "isHumanAnnotationRequired": True,
    }


def _companion(given: dict[str, Any]) -> dict[str, str]:
    """Say how another image of the patient is shown beside the one to label."""
    days = given.get("days-before")
    says = f"{given['kind']}, {days} days before" if days is not None else str(given["kind"])
    return {"kind": given["kind"], "imageUrl": _image_url(given), "says": says}


@cache  # a function answers many events with one page
def _page(setting: str) -> dict[str, Any]:
    parts = urlsplit(setting)
    if parts.scheme == "s3":
        import boto3  # in every Lambda's runtime; not needed by the local portal

        stored = boto3.client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
        setting = stored["Body"].read().decode()
    elif parts.scheme == "file":
        setting = Path(unquote(parts.path)).read_text()
    page: dict[str, Any] = json.loads(setting)
    return page


def _image_url(data_object: dict[str, Any]) -> str:
    if "source" not in data_object:
        return str(data_object["source-ref"])  # the template's grant_read_access opens it
    source = data_object["source"]
    keys = signing.keys_from_text(ENVIRONMENT["CXR_TOKEN_KEY"])
    ttl_s = int(ENVIRONMENT.get("CXR_TOKEN_TTL_S", "28800"))
    token = signing.sign(keys, [f"i:{source}"], ttl_s=ttl_s, subject="pre-annotation")
    return f"{ENVIRONMENT['CXR_PACS_URL']}/instances/{source}/file?token={token}"
