"""The real command `python -m cxr.ingest`, run to its end or killed, and real servers for it."""

import os
import subprocess
import sys
import time

import pytest
import requests

from cxr import config, ingest, schema
from cxr.errors import CxrError
from cxr.images import synth

SIZE = (64, 56)
PROGRESS = ("checked ", "copied ")


def radiographs(folder, count, first=0, size=SIZE):
    """Radiographs in a folder, drawn; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        (folder / f"{index:04}.dcm").write_bytes(synth.draw(index, size=size)[0])
    return folder


def to(server, key="pacs"):
    """The overrides that make a running Orthanc the destination, or `from_pacs` the source."""
    return [f"{key}=orthanc", f"{key}.url={server.url}", f"{key}.image_url=null"]


def started(root, *overrides, **environment):
    """The command, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "cxr.ingest", "workers=1", *overrides],
        env={**os.environ, "CXR_ROOT": str(root), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="backslashreplace",
    )  # fmt: skip


def run(root, *overrides, server=None, **environment):
    """The command, run to its end, with the password of a server."""
    if server is not None:
        environment = {
            "CXR_PACS_PASSWORD": server.password,
            "CXR_FROM_PACS_PASSWORD": server.password,
        } | environment
    process = started(root, *overrides, **environment)
    process.stdout, process.stderr = process.communicate(timeout=120)
    return process


def refused(process):
    """The one line on stderr with which a command ends that could not do what was asked."""
    assert process.returncode == 1, (process.stdout, process.stderr)
    assert "Traceback" not in process.stderr
    (line,) = process.stderr.strip().splitlines()
    return line


def fine(process):
    """The lines of a command that did what was asked."""
    said = [line for line in process.stderr.splitlines() if not line.startswith(PROGRESS)]
    assert (process.returncode, said) == (0, []), (process.stdout, process.stderr)
    return process.stdout.splitlines()


def here(root, *overrides):
    """The same within this process, which starts at once; what goes wrong is raised."""
    given = config.compose("ingest", [f"root={root}", "workers=1", *overrides])
    ingest.main(config.check(given, schema.Ingest), given)


def problem(root, *overrides):
    """The one sentence with which it ends."""
    with pytest.raises(CxrError, match=r".") as caught:
        here(root, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def count(server):
    """How many instances an Orthanc holds."""
    answer = requests.get(f"{server.url}/statistics", auth=server.auth, timeout=30)
    return answer.json()["CountInstances"]


def wait_until(condition, process, timeout_s=60):
    """Wait for something that happens while a process runs; False if it ended first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return True
