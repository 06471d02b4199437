"""Requests held against what AWS publishes of its API, before they are sent.

boto3 checks types, required members and minimums only; patterns, enumerations and maxima come back
from the service, one refusal at a time. Here all are read from the same service model, offline.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from cxr.errors import AwsError

# Java's classes inside [...], which Python's re lacks: each at least as wide as the original
_CLASSES = {
    r"\p{Alnum}": "A-Za-z0-9",
    r"\p{L}": r"\w",
    r"\p{M}": r"\u0300-\u036f",
    r"\p{N}": r"\d",
    r"\p{S}": r"$+<=>^`|~\u00a2-\u00b9",
    r"\p{P}": r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2027",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
_NUMBERS: dict[str, Any] = {
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}
_SHOWN = 80


def check(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Refuse a request that the service would refuse.

    Args:
        service: As boto3 names it, such as `sagemaker`.
        operation: As the API names it, such as `CreateLabelingJob`.
        request: Its parameters.

    Raises:
        AwsError: The first thing that is wrong, and how many more there are.
    """
    met = problems(service, operation, request)
    if met:
        more = f" (and {len(met) - 1} more)" if met[1:] else ""
        raise AwsError(f"{operation}: {met[0]}{more}")


def problems(service: str, operation: str, request: Mapping[str, Any]) -> list[str]:
    """Say all that is wrong with a request, each as `Member.Member: expected …, met …`.

    Args:
        service: As boto3 names it.
        operation: As the API names it.
        request: Its parameters.
    """
    shape = _model(service).operation_model(operation).input_shape
    return [] if shape is None else list(_wrong(shape, request, ""))


def choices(service: str, operation: str, *path: str) -> list[str]:
    """Give the values that an operation's parameter may have; empty where any will do.

    Args:
        service: As boto3 names it.
        operation: As the API names it.
        path: Of members down to the parameter, such as ResourceConfig, InstanceType.
    """
    shape = _model(service).operation_model(operation).input_shape
    for name in path:
        shape = shape.members[name]
    return list(shape.metadata.get("enum", ()))


@cache
def _model(service: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model(service)


def _wrong(shape: Any, met: Any, place: str) -> Iterator[str]:
    kind = shape.type_name
    if not _is(kind, met):
        yield f"{place or 'the request'}: expected {_named(kind)}, met {_shown(met)}"
    elif kind == "structure":
        yield from _members(shape, met, place)
    elif kind == "list":
        yield from _size(shape, met, place, "entries")
        for number, item in enumerate(met):
            yield from _wrong(shape.member, item, f"{place}[{number}]")
    elif kind == "map":
        yield from _size(shape, met, place, "entries")
        for key, value in met.items():
            yield from _wrong(shape.key, key, f"{place} key {_shown(key)}")
            yield from _wrong(shape.value, value, f"{place}.{key}")
    elif kind == "string":
        yield from _text(shape, met, place)
    elif kind in _NUMBERS:
        yield from _number(shape, met, place)


def _is(kind: str, met: Any) -> bool:
    if kind in ("structure", "map"):
        return isinstance(met, Mapping)
    if kind == "list":
        return isinstance(met, Sequence) and not isinstance(met, str | bytes)
    if kind == "string":
        return isinstance(met, str)
    if kind == "boolean":
        return isinstance(met, bool)
    if kind in _NUMBERS:
        return isinstance(met, _NUMBERS[kind]) and not isinstance(met, bool)
    if kind == "blob":
        return isinstance(met, str | bytes | bytearray) or hasattr(met, "read")
    return isinstance(met, datetime | int | float | str) and not isinstance(met, bool)


def _members(shape: Any, met: Mapping[str, Any], place: str) -> Iterator[str]:
    dot = f"{place}." if place else ""
    for name in shape.required_members:
        if name not in met:
            yield f"{dot}{name}: expected a value, met none"
    if getattr(shape, "is_tagged_union", False) and len(met) != 1:
        yield f"{place}: expected one of {', '.join(shape.members)}, met {len(met)}"
    for name, value in met.items():
        if name not in shape.members:
            yield f"{dot}{name}: no such member"
        else:
            yield from _wrong(shape.members[name], value, f"{dot}{name}")


def _size(shape: Any, met: Any, place: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", math.inf)
    if not low <= len(met) <= high:
        bound = f"at least {low}" if len(met) < low else f"at most {high}"
        yield f"{place}: expected {bound} {what}, met {len(met)}"


def _text(shape: Any, met: str, place: str) -> Iterator[str]:
    yield from _size(shape, met, place, "characters")
    allowed = shape.metadata.get("enum")
    if allowed and met not in allowed:
        yield f"{place}: expected one of {', '.join(allowed[:20])}, met {_shown(met)}"
    pattern = shape.metadata.get("pattern")
    compiled = _compiled(pattern) if pattern else None
    if compiled and not compiled.fullmatch(met):
        yield f"{place}: expected what matches {pattern}, met {_shown(met)}"


def _number(shape: Any, met: float, place: str) -> Iterator[str]:
    low, high = shape.metadata.get("min", -math.inf), shape.metadata.get("max", math.inf)
    if not low <= met <= high:  # nor is a NaN
        bound = f"at most {high}" if met > high else f"at least {low}"
        yield f"{place}: expected {bound}, met {met}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Give a Java pattern as Python's, or None where it cannot be said in it."""
    for java, ours in _CLASSES.items():
        pattern = pattern.replace(java, ours)
    try:
        return re.compile(pattern)
    except re.error:
        return None  # three of SageMaker's 252, none in a request of ours


def _named(kind: str) -> str:
    names = {
        "structure": "members", "map": "keys and values", "list": "a list", "string": "text",
        "boolean": "true or false", "integer": "an integer", "long": "an integer",
        "float": "a number", "double": "a number", "blob": "bytes", "timestamp": "a time",
    }  # fmt: skip
    return names.get(kind, kind)


def _shown(met: Any) -> str:
    text = repr(met)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
