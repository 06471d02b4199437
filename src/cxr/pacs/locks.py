"""Who may use ledgers now: one ingest or copy a ledger, and none while a patient is withdrawn.

All are locks of the system, which it lifts when a process ends, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import PacsError

_ALL = "all.lock"


@contextmanager
def own(ledger: Path) -> Iterator[None]:
    """Take one ledger; its file is made if it is not there, readable by its owner only.

    Raises:
        PacsError: It is taken, or cannot be written.
    """
    with _opened(ledger.with_suffix(".lock")) as lock, _opened(ledger):
        if not _taken(lock, fcntl.LOCK_EX):
            raise PacsError(
                "expected to be the only ingest into this PACS, met another at work; wait for it"
            )
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Keep every withdrawal out, and let other ingests in.

    Args:
        folder: Of the ledgers; made if it is not there.

    Raises:
        PacsError: A patient is withdrawn just now, or the folder cannot be written.
    """
    with _opened(folder / _ALL) as lock:
        if not _taken(lock, fcntl.LOCK_SH):
            raise PacsError(
                "expected no withdrawal at work, met one: a patient is removed just now; wait for "
                "it, then run the same again"
            )
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every ingest and copy of a data root out.

    Args:
        folder: Of the ledgers; made if it is not there.

    Raises:
        PacsError: One is at work; the message names the process.
    """
    with _opened(folder / _ALL) as lock:
        if not _taken(lock, fcntl.LOCK_EX):
            raise PacsError(
                f"withdraw: expected no ingest, copy or other withdrawal at work, met "
                f"{_met(folder)}; wait for it or stop it, then withdraw again"
            )
        yield


def _met(folder: Path) -> str:
    """Name the processes that have a ledger."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        with _opened(path) as lock:
            if path.name != _ALL and not _taken(lock, fcntl.LOCK_EX):
                found.append(os.read(lock, 20).decode(errors="replace").strip())
    return f"process {' and '.join(found)}" if found else "one"


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PacsError(f"{path}: cannot write: {error.strerror}; set CXR_ROOT") from error
    try:
        yield lock
    finally:
        os.close(lock)
