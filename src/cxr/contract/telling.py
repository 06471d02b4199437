"""What a Lambda may say in a log: counts, opaque IDs and kinds of errors, and nothing it was given.

CloudWatch keeps what a function prints and what leaves it as an exception, for readers who may not
see answers or images. So an exception is told by its kind and place alone, and never with the one
before it, whose message may quote an answer.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from cxr.errors import CxrError

T = TypeVar("T")
_OPAQUE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INDEX = re.compile(r"\d{1,9}")
_OURS = re.compile(r"(?:.*[/\\])?((?:cxr[/\\][\w/\\]+|\w+_annotation|rotate_keys)\.py)")


def tell(event: str, context: object, **counts: Any) -> None:
    """Print one line of JSON.

    Args:
        event: What happened.
        context: What Lambda passes; its request ID ties the line to Lambda's own.
        counts: Numbers, kinds and opaque IDs.
    """
    request = getattr(context, "aws_request_id", None)
    line = {"event": event, "request": request, **counts}
    sys.stdout.write(json.dumps(line, separators=(",", ":"), default=str) + "\n")


def kind(error: BaseException) -> dict[str, str]:
    """Say what sort of error it is: its type, where, and what AWS calls it.

    `field` is a path within what was given, such as `rois[0].points`, and `line` is ours.
    """
    told = {"error": type(error).__name__}
    if place := getattr(error, "field", ""):
        told["field"] = str(place)
    response = getattr(error, "response", None)  # of botocore, which is not imported for this
    code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
    if isinstance(code, str) and _OPAQUE.fullmatch(code):
        told["code"], told["action"] = code, str(getattr(error, "operation_name", ""))
    if line := _line(error):
        told["line"] = line
    return told


def nameless(error: BaseException, object_id: object = None) -> CxrError:
    """Give an error to raise in place of one that may quote what nobody is to read.

    Raise it outside of the `except` block, or Python ties the two together.

    Args:
        error: The one that may quote.
        object_id: Of the data object, which is its place in the manifest.
    """
    told = ({} if object_id is None else {"object": index(object_id)}) | kind(error)
    text = ", ".join(f"{name} {value}" for name, value in told.items())
    if isinstance(error, CxrError):
        return type(error)(text)
    return CxrError(text)


def index(object_id: object) -> str:
    """Give a datasetObjectId if it is the index that it ought to be."""
    text = str(object_id)
    return text if _INDEX.fullmatch(text) else "?"


def _line(error: BaseException) -> str:
    """Name the innermost line of ours that the error passed."""
    found, step = "", error.__traceback__
    while step is not None:
        if ours := _OURS.fullmatch(step.tb_frame.f_code.co_filename):
            found = f"{ours[1]}:{step.tb_lineno}"
        step = step.tb_next
    return found


class Kept(Generic[T]):
    """What was fetched, for a while: a function that stays warm answers many events.

    Attributes:
        ttl_s: How long it is good, in seconds.
    """

    def __init__(self, ttl_s: float, most: int = 64) -> None:
        """Begin empty.

        Args:
            ttl_s: How long what is fetched is good, in seconds.
            most: How many things are kept.
        """
        self.ttl_s, self._most = ttl_s, most
        self._held: dict[str, tuple[float, T]] = {}

    def get(self, key: str, fetch: Callable[[], T], ttl_s: float | None = None) -> T:
        """Give what is kept under a key, fetched anew where it is too old.

        Args:
            key: Of what is kept.
            fetch: How to get it.
            ttl_s: Another time than usual, in seconds.
        """
        now = time.time()  # a monotonic clock stands still while a function sleeps
        held = self._held.get(key)
        if held and 0 <= now - held[0] < (self.ttl_s if ttl_s is None else ttl_s):
            return held[1]
        fetched = fetch()
        if len(self._held) >= self._most:
            self._held.clear()
        self._held[key] = now, fetched
        return fetched
