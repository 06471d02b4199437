"""What a job installs, since its container reaches no package index: wheels, made once and kept."""

import hashlib
import importlib.metadata
import json
import logging
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cxr import places
from cxr.errors import ConfigError, RunError

_log = logging.getLogger(__name__)
_IN_IMAGE = re.compile(r"torch|triton|(nvidia|cuda)-.*|setuptools|pip")
"""What AWS's PyTorch images have already, built for their CUDA; some of it is gigabytes."""
_PLATFORMS = (
    "manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_27_x86_64",
    "manylinux_2_24_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any",
)  # fmt: skip
_SOURCES = ("src", "conf", "lambdas", "templates", "pyproject.toml", "hatch_build.py")
_NO_SOURCE = {"node_modules", "__pycache__", "dist", "build"}


def wheelhouse(given: str | None, kept: Path, python: str) -> list[Path]:
    """Give the wheels of a job: cxr's own and all it needs that the image lacks.

    Args:
        given: A folder that scripts/bundle.py made, or None to make one.
        kept: Where made ones are kept, by what is in them.
        python: Of the image, such as 3.13.

    Raises:
        ConfigError: The folder has no wheel of cxr, or none can be made here.
        RunError: pip cannot build or fetch one.
    """
    if given is not None:
        folder = Path(given)
        found = sorted(folder.glob("*.whl")) or sorted(folder.glob("wheelhouse/*.whl"))
        if not any(wheel.name.startswith("cxr-") for wheel in found):
            raise ConfigError(
                f"compute.wheelhouse: expected a folder of wheels with cxr's own among them, met "
                f"{given!r}; scripts/bundle.py makes one, and null lets this command do it"
            )
        return found
    checkout = places.shipped("conf").parent
    if not (checkout / "pyproject.toml").is_file():
        raise ConfigError(
            "compute.wheelhouse: expected a folder made by scripts/bundle.py, met null, and the "
            "installed cxr has no sources to make a wheel of"
        )
    pins = sorted(pinned(_needed(checkout), python))
    return [*_own(checkout, kept), *_others(pins, kept, python)]


def pinned(requirements: Iterable[str], python: str) -> Iterator[str]:
    """Name what requirements need in turn, at the versions installed here.

    Args:
        requirements: As pyproject.toml has them.
        python: Of the image; conditions are read for it, on Linux.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there = {"python_version": python, "python_full_version": f"{python}.0",
             "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
             "platform_machine": "x86_64", "implementation_name": "cpython"}  # fmt: skip
    todo = [Requirement(text) for text in requirements]
    seen: set[tuple[str, ...]] = set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        extras = sorted(wanted.extras) or [""]
        if _IN_IMAGE.fullmatch(name) or (name, *extras) in seen:
            continue
        if wanted.marker and not wanted.marker.evaluate(there | {"extra": ""}):
            continue
        new = not any(name == known[0] for known in seen)
        seen.add((name, *extras))
        try:
            version = importlib.metadata.version(name)
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # needed by the image's Python alone
            yield f"{name}{wanted.specifier}"
            continue
        if new:
            yield f"{name}=={version.partition('+')[0]}"
        for line in map(Requirement, further):
            if not line.marker or any(line.marker.evaluate(there | {"extra": e}) for e in extras):
                line.marker = None
                todo.append(line)


def _needed(checkout: Path) -> list[str]:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    plugin = [
        r for r in project["optional-dependencies"]["aws"] if r.startswith("sagemaker-mlflow")
    ]
    return [*project["dependencies"], *plugin]


def _own(checkout: Path, kept: Path) -> list[Path]:
    made = hashlib.sha256()
    for path in sorted(_sources(checkout)):
        made.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes())
    arguments = ["wheel", "--no-deps", str(checkout)]
    return _kept(kept / f"cxr-{made.hexdigest()[:16]}", arguments, "building cxr's wheel")


def _others(pins: Sequence[str], kept: Path, python: str) -> list[Path]:
    name = hashlib.sha256(json.dumps([pins, python]).encode()).hexdigest()[:16]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    arguments = [
        "download", "--no-deps", "--only-binary=:all:", "--implementation=cp",
        f"--python-version={python}", *platforms, *pins,
    ]  # fmt: skip
    return _kept(kept / f"needed-{name}", arguments, f"fetching {len(pins)} wheels for the job")


def _sources(checkout: Path) -> Iterator[Path]:
    for name in _SOURCES:
        below = checkout / name
        for path in [below] if below.is_file() else below.rglob("*"):
            if path.is_file() and not _NO_SOURCE & set(path.relative_to(checkout).parts):
                yield path


def _kept(folder: Path, arguments: Sequence[str], what: str) -> list[Path]:
    """Let pip fill a folder, whole or not at all, unless it is there."""
    if not folder.is_dir():
        _log.info("%s, once: they are kept in %s", what, folder.parent)
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", *arguments, "--quiet"]
        command += ["--wheel-dir" if arguments[0] == "wheel" else "--dest", str(part)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise RunError(
                f"compute.wheelhouse: pip stopped at {what}: {said[-1] if said else 'no reason'}; "
                "give a folder made by scripts/bundle.py"
            )
        part.replace(folder)
    return sorted(folder.glob("*.whl"))
