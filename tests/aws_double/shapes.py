"""Check requests against botocore's own description of a service, as strictly as AWS does.

botocore refuses wrong types, unknown keys and what is below a minimum; patterns, enumerations and
maxima it leaves to the service.
"""

import re
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape

from aws_double.calls import Call, RefusedError, model

# Java's classes; ASCII and Latin are enough of them, and stricter
_CLASSES = {r"\p{L}": "a-zA-ZÀ-ɏ", r"\p{Z}": " ", r"\p{N}": "0-9", r"\p{Alnum}": "a-zA-Z0-9"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float, str),
    "blob": (str,),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


def check(call: Call) -> None:
    """Refuse a JSON service's request that breaks the service's description.

    Raises:
        RefusedError: ValidationException, naming each field.
    """
    described = model(call.service)
    if call.operation not in described.operation_names:
        raise RefusedError("UnknownOperationException", f"no operation {call.operation}")
    shape = described.operation_model(call.operation).input_shape
    found = list(problems(shape, call.request)) if shape is not None else []
    if found:
        many = "errors" if len(found) > 1 else "error"
        told = f"{len(found)} validation {many} detected: {'; '.join(found)}"
        raise RefusedError("ValidationException", told)


def problems(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Say what of a value breaks its shape, in AWS's words."""
    if not isinstance(value, _TYPES[shape.type_name]) or (
        isinstance(value, bool) and shape.type_name != "boolean"
    ):
        yield f"Value at '{path}' failed to satisfy constraint: Member must be {shape.type_name}"
    elif shape.type_name == "structure":
        yield from _structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _sized(shape, len(value), f"Value at '{path}'", "length")
        for number, item in enumerate(value, 1):
            yield from problems(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _sized(shape, len(value), f"Value at '{path}'", "length")
        for key, item in value.items():
            yield from problems(shape.key, key, f"{path}.{key}.key")
            yield from problems(shape.value, item, f"{path}.{key}.member")
    elif shape.type_name == "string":
        yield from _string(shape, value, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _sized(shape, value, f"Value '{value}' at '{path}'", "value")


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    here = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            told = f"Value null at '{here}{_lower(name)}'"
            yield f"{told} failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        if name not in shape.members:
            yield f"Value at '{here}{_lower(name)}' failed to satisfy constraint: Member is unknown"
        elif item is not None:
            yield from problems(shape.members[name], item, here + _lower(name))
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield f"Value at '{path}' failed to satisfy constraint: Exactly one member must be set"


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    said, must = f"Value '{value}' at '{path}'", "failed to satisfy constraint: Member must"
    yield from _sized(shape, len(value), said, "length")
    if shape.enum and value not in shape.enum:
        yield f"{said} {must} satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(_python(pattern), value):
        yield f"{said} {must} satisfy regular expression pattern: {pattern}"


def _sized(shape: Shape, size: float, said: str, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    must = f"failed to satisfy constraint: Member must have {what}"
    if least is not None and size < least:
        yield f"{said} {must} greater than or equal to {least}"
    if most is not None and size > most:
        yield f"{said} {must} less than or equal to {most}"


def _python(pattern: str) -> str:
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    return pattern


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
