"""What a `_target_` takes, read from its source without importing it.

Importing torch or monai to check a config would cost seconds; parsing one file of theirs costs
milliseconds. Only annotations that plain Python types can express are checked; a parameter
annotated with anything else (a Tensor, a Callable) takes every value.
"""

import ast
import difflib
import functools
import importlib.util
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cxr.errors import ConfigError

ALLOWED = ("cxr.", "monai.networks.nets.", "torch.optim.")
"""Where a `_target_` may lie: a config must not become a way to call anything."""
_TYPES: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "None": None, "Any": Any,
    "list": list, "tuple": tuple, "dict": dict, "Sequence": Sequence, "Path": str,
}  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """Parameters of a `_target_`.

    Attributes:
        types: Parameter name → type, or Any where it cannot be expressed.
        open: Whether it takes further keywords that cannot be followed to where they end.
    """

    types: Mapping[str, Any]
    open: bool = False


def read(target: str, within: tuple[str, ...] = ALLOWED) -> Signature:
    """Find the parameters of a class or function from its dotted path.

    Raises:
        ConfigError: The path lies outside `within`, or nothing stands there.
    """
    if not target.startswith(within):
        raise ConfigError(f'expected a target within {", ".join(within)}, met "{target}"')
    module, _, name = target.rpartition(".")
    place = _definition(module, name)
    if place is None:
        raise ConfigError(f'nothing is called "{target}"')
    return _signature(*place)


def problems(
    target: str, arguments: Mapping[str, Any], within: tuple[str, ...] = ALLOWED
) -> dict[str, str]:
    """Say what is wrong with each argument, by name; empty where all fit.

    Raises:
        ConfigError: As `read`.
    """
    signature = read(target, within)
    found = {}
    for name, value in arguments.items():
        if name not in signature.types:
            if not signature.open:
                near = difflib.get_close_matches(name, signature.types, n=1)
                found[name] = f"no such key; did you mean {near[0]}?" if near else "no such key"
            continue
        adapter = TypeAdapter(
            signature.types[name], config=ConfigDict(strict=True, arbitrary_types_allowed=True)
        )
        try:
            adapter.validate_python(value)
        except ValidationError:
            found[name] = f"expected {_words(signature.types[name])}, met {_shown(value)}"
    return found


def _definition(module: str, name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef] | None:
    """Find where a name is defined, following re-exports of the package's own modules."""
    path = _source(module)
    if path is None:
        return None
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom):
            for alias in found.names:
                if (alias.asname or alias.name) == name:
                    return _definition(_absolute(found, package), alias.name)
        elif isinstance(found, ast.Assign) and isinstance(found.value, ast.Name):
            names = [target.id for target in found.targets if isinstance(target, ast.Name)]
            if name in names:
                return _definition(module, found.value.id)
    return None


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base


def _source(module: str) -> Path | None:
    # find_spec imports the parents of a dotted name, so only the top package is asked for
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _signature(module: str, node: ast.ClassDef | ast.FunctionDef) -> Signature:
    function: ast.FunctionDef | None = node if isinstance(node, ast.FunctionDef) else None
    if isinstance(node, ast.ClassDef):
        function = next(
            (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
        )
    own = _parameters(function) if function is not None else _fields(node)
    if function is not None and function.args.kwarg is None:
        return Signature(own)
    passed = [_definition(module, name) for name in _receivers(node, function)]
    inherited = [_signature(*place) for place in passed if place]
    types: dict[str, Any] = {}
    for signature in inherited:
        types |= signature.types
    is_open = function is not None and (not inherited or any(s.open for s in inherited))
    return Signature({**types, **own}, is_open)


def _receivers(node: ast.ClassDef | ast.FunctionDef, function: ast.FunctionDef | None) -> list[str]:
    """Name what **kwargs are passed on to: the base classes, or the function called with them."""
    if isinstance(node, ast.ClassDef):
        return [base.id for base in node.bases if isinstance(base, ast.Name)]
    name = function.args.kwarg.arg if function and function.args.kwarg else None
    return [
        call.func.id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        for keyword in call.keywords
        if keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
    ]


def _parameters(function: ast.FunctionDef) -> dict[str, Any]:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {a.arg: _type(a.annotation) for a in every if a.arg != "self"}


def _fields(node: ast.ClassDef | ast.FunctionDef) -> dict[str, Any]:
    """Give the fields of a dataclass."""
    fields = (n for n in node.body if isinstance(n, ast.AnnAssign))
    return {n.target.id: _type(n.annotation) for n in fields if isinstance(n.target, ast.Name)}


def _type(node: ast.expr | None) -> Any:
    if node is None:
        return Any
    expression = ast.unparse(node).strip("'\"")
    names = {n.id for n in ast.walk(ast.parse(expression, mode="eval")) if isinstance(n, ast.Name)}
    if "Tensor" in names:  # lr: float | Tensor; nobody writes a Tensor in YAML
        names.discard("Tensor")
        expression = expression.replace("| Tensor", "").replace("Tensor |", "")
        expression = expression.replace("Union[float, Tensor]", "float")
    if not names <= set(_TYPES):
        return Any
    try:
        return _in_yaml(eval(expression, {"__builtins__": {}}, _TYPES))  # names are ours
    except (TypeError, SyntaxError, NameError):
        return Any


def _in_yaml(kind: Any) -> Any:
    """Put lists where Python has tuples."""
    if kind is tuple or typing.get_origin(kind) is tuple:
        return list
    if isinstance(kind, types.UnionType):
        return functools.reduce(operator.or_, map(_in_yaml, typing.get_args(kind)))
    return kind


def _words(kind: Any) -> str:
    plain = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    plain[list] = "a list"
    return plain.get(kind, str(kind).replace("collections.abc.", "").replace("typing.", ""))


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
