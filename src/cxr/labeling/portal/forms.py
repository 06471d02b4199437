"""What a page submits, checked before it is kept, and given back as the page reads it."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from fastapi import HTTPException

from cxr.contract import annotation, consolidate, labels, manifest
from cxr.contract.annotation import Annotation
from cxr.errors import AnnotationError, CxrError


def checked(body: bytes, data_object: Mapping[str, Any]) -> tuple[str, Annotation]:
    """Give a form as a JSON string, and the answer in it if it can be understood.

    Raises:
        HTTPException: 422 where it cannot or is about another image, 500 where the data object
            carries no label set.
    """
    try:
        content = json.dumps(json.loads(body))
        said = consolidate.read_content(content, labels.from_data_object(data_object))
    except AnnotationError as error:
        raise HTTPException(422, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, "expected JSON") from error
    except CxrError as error:
        raise HTTPException(500, f"{manifest.source(data_object)}: {error}") from error
    _check_item(said.document, manifest.source(data_object))
    return content, said


def _check_item(document: Mapping[str, Any], source: str) -> None:
    """Refuse what a page says of another image; programs need not say of which they speak."""
    task = document.get("task")
    item = task.get("itemId") if isinstance(task, dict) else None
    if item is not None and item != source:
        met = repr(item)[:80]
        raise HTTPException(422, f"task.itemId: expected {source!r}, met {met}; reload the page")


def document(content: str) -> Mapping[str, Any]:
    """Give the answer in a form that was accepted, as the page reads it."""
    text = json.loads(content)[annotation.FIELD]
    found: dict[str, Any] = json.loads(
        text, parse_constant=lambda _: None, parse_float=_finite_or_none
    )
    return found


def _finite_or_none(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None
