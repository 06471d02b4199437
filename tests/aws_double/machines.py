"""A machine of a training job: its /opt/ml, its process, and how folders are packed."""

import os
import signal
import subprocess
import tarfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

ML = "/opt/ml"
_SCRIPTS = (".sh", ".py", ".json")


@dataclass
class Host:
    """One machine of a job.

    Attributes:
        name: As resourceconfig.json has it.
        ml: What stands for /opt/ml.
        log: What the process writes.
        read: Bytes of the log that have been seen.
    """

    name: str
    ml: Path
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    read: int = 0
    stream: str = ""
    sent: dict[str, tuple[float, int]] = field(default_factory=dict)


def send(host: Host, number: signal.Signals, *, group: bool) -> None:
    """Signal a machine's first process, as SageMaker does, or all of them.

    A shell that started a program without `exec` does not pass SIGTERM on, here as there.
    """
    if host.process is None:
        return
    try:
        if group:
            os.killpg(host.process.pid, number)
        elif host.process.poll() is None:
            host.process.send_signal(number)
    except ProcessLookupError:
        return


def state(path: Path) -> tuple[float, int]:
    """Say by what a changed file is known."""
    found = path.stat()
    return found.st_mtime, found.st_size


def packed(folder: Path) -> bytes:
    """Pack what is in a folder as SageMaker packs the model."""
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return made.getvalue()


def rebase(folder: Path, ml: Path) -> None:
    """Let the SDK's own scripts, which know nothing of CXR_ML_ROOT, find their files."""
    for path in folder.rglob("*"):
        if path.suffix in _SCRIPTS and path.is_file():
            path.write_text(path.read_text().replace(ML, str(ml)))
            path.chmod(0o755)
