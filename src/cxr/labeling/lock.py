"""One portal per job: two would each think that they alone give out its images."""

import fcntl
import os
from pathlib import Path

from cxr.errors import JobError

_FILE = "job.lock"


class JobLock:
    """A job's folder, taken by this process; the system frees it when the process ends."""

    def __init__(self, folder: Path) -> None:
        """Take it.

        Args:
            folder: The job's; it is made.

        Raises:
            JobError: It is taken; the message names the process.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise JobError(
                f"{path}: job {folder.name!r} is open in process {holder or 'unknown'}; "
                "stop that one first"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)  # the file stays: whoever waits at it must not meet another
