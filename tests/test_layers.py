"""Imports go only downwards, as drawn in the README; whoever breaks this breaks the building."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
COMMANDS = ("ingest", "label", "train", "evaluate", "serve", "orthanc", "trace", "ensemble")
GROUND = (
    "errors", "config", "schema", "aws_schema", "labeling_schema", "learning_schema", "pacs_schema",
    "ingest_rules",
    "sections", "signatures", "places", "root", "progress", "wal",
)  # fmt: skip
# root reads the signing keys, which are the contract's
BELOW = {
    "contract": {"errors"},
    "ground": {"ground", "contract"},
    "images": {"ground", "contract"},
    "pacs": {"ground", "contract", "images"},
    "infra": {"ground", "contract", "images", "pacs"},
    "labeling": {"ground", "contract", "images", "pacs", "infra"},
    "learning": {"ground", "contract", "images", "pacs", "infra"},
}
HYDRA = {"config", "infra.compute", "infra.trials", *COMMANDS}
FILES = {
    ".".join(path.relative_to(SRC / "cxr").with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "cxr").rglob("*.py"))
}
AWS = {"pacs.sigv4", *(m for m in FILES if m.startswith("infra.aws"))}
SAGEMAKER = {m for m in FILES if m.startswith("infra.sagemaker")}


def imports(path):
    """Every module that a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path):
    """The modules of cxr that a file imports, by their name below cxr; the package holds a note."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "cxr":
            inner = ".".join(parts[1:])
            found = inner if inner in FILES else inner.rpartition(".")[0]
            if found:
                yield found


def wing(module):
    top = module.partition(".")[0]
    return "commands" if top in COMMANDS else "ground" if top in GROUND else top


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"__init__"}))
def test_imports_go_only_downwards(module):
    here, allowed = wing(module), BELOW.get(wing(module), set(BELOW))

    for target in ours(FILES[module]):
        fits = {target, wing(target)} & (allowed | {here})
        assert fits, f"{module} may not import {target}"
        assert wing(target) != "commands", f"{module} imports the command {target}"


def test_no_imports_go_in_circles():
    graph = {module: set(ours(path)) - {module} for module, path in FILES.items()}

    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    "path",
    [*(SRC / "cxr" / "contract").glob("*.py"), SRC / "cxr" / "errors.py"],
    ids=lambda path: path.name,
)
def test_the_contract_needs_the_standard_library_alone(path):
    tops = {name.partition(".")[0] for name in imports(path)} - {"cxr"}

    assert tops <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", [*(ROOT / "lambdas").glob("*.py")], ids=lambda path: path.name)
def test_a_lambda_needs_the_contract_and_nothing_else(path):
    at_the_top = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import)]
    tops = {name.partition(".")[0] for name in imports(path)} - {"cxr"}

    assert {wing(name) if name != "errors" else name for name in ours(path)} <= {
        "contract", "errors"
    }  # fmt: skip
    assert tops - set(sys.stdlib_module_names) <= {"boto3"}
    assert "boto3" not in {alias.name for node in at_the_top for alias in node.names}


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("hydra", HYDRA),
        ("omegaconf", HYDRA | {"infra.tracking"}),
        ("boto3", AWS),
        ("botocore", AWS),
        ("sagemaker", SAGEMAKER),
    ],
)
def test_a_framework_stays_in_its_place(package, places):
    users = {
        module
        for module, path in FILES.items()
        if package in {name.partition(".")[0] for name in imports(path)}
    }

    assert users <= places


def test_every_module_has_a_wing():
    known = {*COMMANDS, *GROUND, *BELOW, "__init__"}

    assert {module.partition(".")[0] for module in FILES} <= known
