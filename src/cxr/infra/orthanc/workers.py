"""nginx's workers, as Linux tells of them: which take requests, and which were left behind."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import PacsError
from cxr.infra.orthanc import processes

_LIMIT_S = 20.0


@dataclass(frozen=True)
class Worker:
    """One that takes requests; one that only finishes its last ones is none.

    Attributes:
        pid: Its process ID.
        master: Of the nginx that it belongs to; another one's where that was killed.
        folder: Where it works: that of its gateway.
    """

    pid: int
    master: int
    folder: str


def every() -> Iterator[Worker]:
    """Give the workers of all nginx on this machine that are ours to look at."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            said = (place / "cmdline").read_bytes().rstrip(b"\0")
            if said == b"nginx: worker process":
                fields = _fields(int(place.name))
                yield Worker(int(place.name), int(fields[1]), str((place / "cwd").readlink()))
        except OSError:  # it has ended, or is somebody else's
            continue


def exchange(daemon: processes.Daemon) -> None:
    """Have nginx read its config anew; returns once no worker with the one before takes requests.

    Raises:
        PacsError: It did not; the workers from before go on.
    """
    master = daemon.pid()

    def taking() -> set[int]:
        return {worker.pid for worker in every() if worker.master == master}

    before = taking()
    daemon.tell(signal.SIGHUP)
    deadline = time.monotonic() + _LIMIT_S
    while (now := taking()) & before or not now:
        if time.monotonic() > deadline:
            raise PacsError(f"the gateway did not take its new config: {daemon.last_words()}")
        time.sleep(0.02)


def end_orphans(folder: Path) -> None:
    """End workers whose master was killed: they would hold the port, with the config of then."""
    known = [worker.pid for worker in every() if worker.folder == str(folder.absolute())]
    for pid in known:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _LIMIT_S
    while any(map(_runs, known)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return _fields(pid)[0] not in "ZX"
    except OSError:
        return False


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
