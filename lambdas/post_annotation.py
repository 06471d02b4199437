"""Post-annotation Lambda: consolidate what several workers said of each image.

SageMaker Ground Truth calls `handler` with batches of answered data objects (API:
AnnotationConsolidationLambdaArn, contract 2018-10-16); the local portal calls the same one.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cxr.contract import consolidate, labels
from cxr.errors import CxrError


def handler(event: dict[str, Any], context: object) -> list[dict[str, Any]]:
    """Make one consolidated label of each data object's annotations.

    Args:
        event: As in tests/events/post_annotation.json; its payload is an s3:// URI, or file://
            for the local portal.
        context: Unused; Lambda passes it always.

    Returns:
        One entry per data object, in the payload's order.

    Raises:
        CxrError: An answer or a label set cannot be understood; the message names the object.
    """
    attribute = event["labelAttributeName"]
    return [
        {
            "datasetObjectId": item["datasetObjectId"],
            "consolidatedAnnotation": {"content": {attribute: _consolidated(item)}},
        }
        for item in json.loads(_read(event["payload"]["s3Uri"]))
    ]


def _consolidated(item: dict[str, Any]) -> dict[str, Any]:
    try:
        data_object = json.loads(_content(item["dataObject"]))
        answers = {a["workerId"]: _content(a["annotationData"]) for a in item["annotations"]}
        return consolidate.consolidate(answers, labels.from_data_object(data_object))
    except CxrError as error:
        raise type(error)(f"data object {item['datasetObjectId']}: {error}") from error


def _content(holder: dict[str, Any]) -> str:
    content = holder.get("content")
    if content is None:
        # s3Uri in the documentation, s3uri in samples seen in the wild
        return _read(holder.get("s3Uri") or holder["s3uri"])
    return content if isinstance(content, str) else json.dumps(content)


def _read(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).read_text()
    import boto3  # in every Lambda's runtime; not needed by the local portal

    body = boto3.client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"]
    return str(body.read().decode())
