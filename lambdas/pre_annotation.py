"""Pre-annotation Lambda: say what a worker is to see.

SageMaker Ground Truth calls `handler` once per line of the input manifest (API:
PreHumanTaskLambdaArn, contract 2018-10-16); the local portal calls the same one.
"""

import os
from collections.abc import Mapping
from typing import Any

from cxr.contract import labels, signing

ENVIRONMENT: Mapping[str, str] = os.environ
"""The function's configuration; the local portal, which is no function, puts its own here."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Turn one data object into one task.

    Environment: CXR_PACS_URL, CXR_TOKEN_KEY, CXR_TOKEN_TTL_S, CXR_VIEWER_URL and, if there are
    any, CXR_INSTRUCTIONS, CXR_TEMPLATE_SHA, CXR_VIEWER_SHA.

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
            "instructions": ENVIRONMENT.get("CXR_INSTRUCTIONS", ""),
            "viewerSrc": ENVIRONMENT["CXR_VIEWER_URL"],
            "templateSha": ENVIRONMENT.get("CXR_TEMPLATE_SHA", ""),
            "viewerSha": ENVIRONMENT.get("CXR_VIEWER_SHA", ""),
        },
        "isHumanAnnotationRequired": True,
    }


def _image_url(data_object: dict[str, Any]) -> str:
    if "source" not in data_object:
        return str(data_object["source-ref"])  # the template's grant_read_access opens it
    source = data_object["source"]
    keys = signing.keys_from_text(ENVIRONMENT["CXR_TOKEN_KEY"])
    ttl_s = int(ENVIRONMENT.get("CXR_TOKEN_TTL_S", "28800"))
    token = signing.sign(keys, [f"i:{source}"], ttl_s=ttl_s, subject="pre-annotation")
    return f"{ENVIRONMENT['CXR_PACS_URL']}/instances/{source}/file?token={token}"
