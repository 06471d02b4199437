"""What a job installs, since its container reaches no package index: wheels, made once and kept."""

import hashlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cxr import places
from cxr.errors import ConfigError, RunError

_log = logging.getLogger(__name__)
_OWN = ("src", "conf", "lambdas", "templates", "pyproject.toml", "hatch_build.py")
_NEEDED = ("pyproject.toml", "constraints.txt", "scripts/bundle.py")
_NO_SOURCE = {"node_modules", "__pycache__", "dist", "build"}


def wheelhouse(
    given: str | None, kept: Path, python: str, checkout: Path | None = None
) -> list[Path]:
    """Give the wheels of a job: cxr's own and all it needs that the image lacks.

    Args:
        given: A folder that scripts/bundle.py made, or None to make one.
        kept: Where made ones are kept: what cxr needs apart from cxr, which changes more often.
        python: Of the image, such as 3.13.
        checkout: Sources of cxr; None takes those that run.

    Raises:
        ConfigError: The folder has no wheel of cxr, or none can be made here.
        RunError: pip cannot build or fetch one.
    """
    if given is not None:
        folder = Path(given)
        found = _wheels(folder) or _wheels(folder / "wheelhouse")
        if not any(wheel.name.startswith("cxr-") for wheel in found):
            raise ConfigError(
                f"compute.wheelhouse: expected a folder of wheels with cxr's own among them, met "
                f"{given!r}; scripts/bundle.py makes one, and null lets this command do it"
            )
        return found
    checkout = checkout or places.shipped("conf").parent
    if not (checkout / "scripts" / "bundle.py").is_file():
        raise ConfigError(
            "compute.wheelhouse: expected a folder made by scripts/bundle.py, met null, and the "
            "installed cxr has no sources to make a wheel of"
        )
    (own,) = _wheels(_own(checkout, kept))
    others = _wheels(_needed(checkout, kept, python, own) / "wheelhouse")
    return [own, *(wheel for wheel in others if not wheel.name.startswith("cxr-"))]


def _own(checkout: Path, kept: Path) -> Path:
    folder = kept / f"cxr-{_digest(checkout, _OWN)}"
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", str(checkout), "--wheel-dir"]
    return _made(folder, command, "building cxr's wheel")


def _needed(checkout: Path, kept: Path, python: str, own: Path) -> Path:
    folder = kept / f"needed-{python}-{_digest(checkout, _NEEDED)}"
    command = [
        str(checkout / "scripts" / "bundle.py"), "--for-sagemaker", "--python", python,
        # of [aws], the job needs what lets MLflow track to SageMaker
        "--extra", "aws", "--leave-out", "sagemaker", "--wheel", str(own),
    ]  # fmt: skip
    return _made(folder, command, "fetching the wheels that cxr needs")


def _made(folder: Path, command: Sequence[str], what: str) -> Path:
    """Let a command fill a folder, whole or not at all, unless it is there."""
    if not folder.is_dir():
        _log.info("%s, once: kept in %s", what, folder)
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, *command, str(part)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise RunError(
                f"compute.wheelhouse: {what} ended with {said[-1] if said else done.returncode}; "
                "give a folder that scripts/bundle.py made elsewhere"
            )
        part.replace(folder)
    return folder


def _digest(checkout: Path, names: Sequence[str]) -> str:
    made = hashlib.sha256()
    for path in sorted(_sources(checkout, names)):
        made.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes())
    return made.hexdigest()[:16]


def _sources(checkout: Path, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        below = checkout / name
        for path in [below] if below.is_file() else below.rglob("*"):
            if path.is_file() and not _NO_SOURCE & set(path.relative_to(checkout).parts):
                yield path


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))
