"""The zip that AWS gets: the same bytes each time, and nothing in it but what it needs."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lambda_site import EVENTS, KEY, event

from cxr.infra.aws import lambdas
from cxr.labeling import handlers

ROOT = Path(__file__).parents[1]
IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
module = __import__(sys.argv[2])
took = time.perf_counter() - began
assert callable(module.handler)
origins = [str(getattr(m, "__file__", "") or "") for m in sys.modules.values()]
assert not [origin for origin in origins if "site-packages" in origin or "boto" in origin]
ours = [str(m.__file__) for n, m in sys.modules.items() if n.partition(".")[0] == "cxr"]
assert ours and all(origin.startswith(sys.argv[1]) for origin in ours), ours
print(took)
"""
RUN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
module = __import__(sys.argv[2])
module.ENVIRONMENT = dict(os.environ)
print(json.dumps(module.handler(json.load(sys.stdin), None)))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "lambdas.zip"
    lambdas.build(path)
    return path


def alone(bundle, script, name, given="", **environment):
    """Run with the standard library alone: no site-packages, no working folder, no environment."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(bundle), name],
        input=given, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_zip_is_the_same_bytes_from_other_files_at_another_time(bundle, tmp_path):
    again = tmp_path / "elsewhere" / "again.zip"
    copy = tmp_path / "cxr-copy"
    for name in ("src/cxr", "lambdas"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for path in copy.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    code = "import sys, pathlib; from cxr.infra.aws import lambdas; "
    code += "print(lambdas.build(pathlib.Path(sys.argv[1])))"

    said = subprocess.run(
        [sys.executable, "-c", code, str(again)], env={"PYTHONPATH": str(copy / "src")},
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout.strip()  # fmt: skip

    assert again.read_bytes() == bundle.read_bytes()
    assert said == lambdas.build(tmp_path / "third.zip")


def test_the_zip_holds_the_handlers_the_contract_and_the_errors(bundle):
    with zipfile.ZipFile(bundle) as archive:
        entries = archive.infolist()

    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {name for name in names if "/" not in name} == {
        f"{handler.partition('.')[0]}.py" for handler in lambdas.HANDLERS
    }
    assert {name for name in names if "/" in name} == {
        "cxr/__init__.py", "cxr/errors.py",
        *(f"cxr/contract/{path.name}" for path in (ROOT / "src/cxr/contract").glob("*.py")),
    }  # fmt: skip
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert bundle.stat().st_size < 200_000


def test_what_the_zip_holds_is_python_that_its_runtime_knows(bundle):
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            ast.parse(archive.read(name), name, feature_version=(3, 11))


@pytest.mark.parametrize("handler", lambdas.HANDLERS)
def test_each_handler_imports_with_the_standard_library_alone(bundle, handler):
    took = min(float(alone(bundle, IMPORT, handler.partition(".")[0])) for _ in range(2))

    assert took < 2  # seconds; a tenth of that where nothing else runs


def test_the_zip_answers_as_this_machine_does(bundle, tmp_path):
    settings = {
        "CXR_PACS_URL": "https://pacs.example",
        "CXR_TOKEN_KEY": KEY,
        "CXR_VIEWER_URL": "https://assets.example/viewer-1.js",
    }
    text = (EVENTS / "consolidation_request_source_ref.json").read_text()
    request = tmp_path / "request.json"
    request.write_text(text.replace("s3://cxr-bucket", EVENTS.as_uri()))
    batch = event("post_annotation") | {"payload": {"s3Uri": request.as_uri()}}
    line = json.dumps(event("pre_annotation"))

    pre = json.loads(alone(bundle, RUN, "pre_annotation", line, **settings))
    post = json.loads(alone(bundle, RUN, "post_annotation", json.dumps(batch)))

    here = handlers.load("pre_annotation", settings)(json.loads(line), None)
    for answer in (pre, here):
        answer["taskInput"]["imageUrl"] = answer["taskInput"]["imageUrl"].partition("?")[0]
    assert pre == here
    assert post == json.loads(
        (EVENTS / "consolidation_request_source_ref.expected.json").read_text()
    )
