"""The viewer's own checks: TypeScript's, and node's test runner over its pure modules."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VIEWER = ROOT / "templates" / "viewer"


@pytest.mark.slow
@pytest.mark.parametrize("script", ["typecheck", "test"])
def test_viewer_passes_its_own_checks(script: str) -> None:
    spec = importlib.util.spec_from_file_location("viewer_build", ROOT / "scripts" / "viewer.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    npm = build.npm_command()
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ["PATH"]])

    done = subprocess.run(
        [*npm, "run", script],
        cwd=VIEWER,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_lock_file_names_no_download_hosts() -> None:
    assert '"resolved"' not in (VIEWER / "package-lock.json").read_text()


def test_dependencies_are_pinned_exactly() -> None:
    import json

    package = json.loads((VIEWER / "package.json").read_text())
    pins = {**package["dependencies"], **package["devDependencies"]}

    assert all(version[0].isdigit() for version in pins.values()), pins
