"""Who writes results now: one process a run, and none while a patient is withdrawn.

All are locks of the system, which it lifts when a process ends, however that ends.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import RunError

_FOLDER = "at-work"
_ALL = ".all"  # no run can be called so
_HOLDER = 200  # bytes that say who has it


@contextmanager
def held(root: Path, run: str, job: str = "") -> Iterator[None]:
    """Take what a process writes, and keep every withdrawal out.

    Args:
        root: The data root.
        run: Name of a run: all of it is taken.
        job: Of a run, take its evaluation on this job alone.

    Raises:
        RunError: Another process has it, a patient is withdrawn just now, or there is no writing.
    """
    own = f"{run}@{job}.lock" if job else f"{run}.lock"
    with _opened(root, _ALL) as everything, _opened(root, own) as lock:
        if not _taken(everything, fcntl.LOCK_SH):
            raise RunError(
                "expected no withdrawal at work, met one: a patient is removed just now; wait for "
                "it, then run the same again"
            )
        if not _taken(lock, fcntl.LOCK_EX):
            raise RunError(
                f"name: {_shown(own)} is at work already, in {_holder(lock)}; wait for that one or "
                "stop it" + ("" if job else ", or choose another name")
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}"[:_HOLDER].encode(), 0)
        yield


@contextmanager
def none(root: Path) -> Iterator[None]:
    """Keep every training, ensemble and evaluation of a data root out.

    Args:
        root: The data root.

    Raises:
        RunError: One is at work; the message names it and its process.
    """
    with _opened(root, _ALL) as everything:
        if not _taken(everything, fcntl.LOCK_EX):
            raise RunError(
                "withdraw: expected no training, ensemble or evaluation at work, met "
                f"{_met(root / _FOLDER)}; wait for it or stop it, then withdraw again"
            )
        yield


def _met(folder: Path) -> str:
    """Name what is at work."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        with _opened(folder.parent, path.name) as lock:
            if not _taken(lock, fcntl.LOCK_SH):
                found.append(f"{_shown(path.name)} in {_holder(lock)}")
    return " and ".join(found) or "one"


def _shown(name: str) -> str:
    run, _, job = name.removesuffix(".lock").partition("@")
    return f"run {run!r} on job {job!r}" if job else f"run {run!r}"


def _holder(lock: int) -> str:
    return os.pread(lock, _HOLDER, 0).decode(errors="replace") or "another process"


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(root: Path, name: str) -> Iterator[int]:
    path = root / _FOLDER / name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror}; set CXR_ROOT") from error
    try:
        yield lock
    finally:
        os.close(lock)
