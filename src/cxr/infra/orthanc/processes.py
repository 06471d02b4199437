"""Servers that outlive the command which starts them, and are stopped by their process ID.

A PID file alone proves nothing: after a crash or a reboot its number may be somebody else's. So it
also keeps when that process began, which /proc tells of every process on Linux, and what it was
started with, so that a changed config is seen.
"""

import fcntl
import hashlib
import json
import logging
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import PacsError

LOGS_KEPT = 5
_LOCK_S = 300.0  # all parts may take long to start, one after the other
_SAY_AFTER_S = 5.0
_ORTHANC_LINE = re.compile(r"^[EWI]\d{4} [\d:.]+ +(?:\S+ +)?\S+\.(?:cpp|h|c):\d+\] ")
_TELLING = re.compile(r"^E\d{4} |\[emerg\]|\bFATAL\b|\bERROR\b|\bPANIC\b|Error:")

_log = logging.getLogger(__name__)
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Those that this very process started: it must take their exit status, or they stay as zombies."""


@dataclass(frozen=True)
class Daemon:
    """One server: its PID is in `<folder>/run/<name>.pid`, what it says in `<folder>/logs`.

    Attributes:
        name: Of the PID file and of the log.
        folder: Private, where all servers that belong together have their files.
    """

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """Where the running one writes; the ones before it are `<name>.log.1` and so on."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Give the process ID; None where it does not run, whatever the PID file says."""
        noted = self._noted()
        pid = noted.get("pid")
        if not isinstance(pid, int):
            return None
        child = _children.get(pid)
        if child is not None:
            child.poll()
        born = _born(pid)
        return pid if born is not None and born == noted.get("born") else None

    def runs_with(self, fingerprint: str) -> bool:
        """Say whether it runs, and was started with exactly this."""
        return self.pid() is not None and self._noted().get("fingerprint") == fingerprint

    def start(
        self,
        command: Sequence[str | Path],
        *,
        fingerprint: str,
        user: str | None = None,
        cwd: Path | None = None,
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it detached from this process and its terminal; see `wait` for when it answers.

        Args:
            command: Program and arguments; no secrets, every user of the machine can read them.
            fingerprint: What tells this config from another one; see the function of that name.
            user: Whose rights it gets; None keeps ours.
            cwd: Its working folder; None takes `folder`.
            inherited: File descriptors that stay open in it.
            environment: Of the process; None passes ours on.

        Raises:
            PacsError: It runs already, or the program cannot be executed.
        """
        if (pid := self.pid()) is not None:
            raise PacsError(f"{self.name} runs already, as process {pid}")
        for folder in (self.folder, self.log.parent, self._pid_file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _rotate(self.log)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        group = None if user is None else pwd.getpwnam(user).pw_gid
        try:
            child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, umask=0o077, cwd=cwd or self.folder,
                pass_fds=inherited, env=environment,
                user=user, group=group, extra_groups=None if user is None else [],
            )  # fmt: skip
        except OSError as error:
            raise PacsError(f"{command[0]}: cannot be started: {error.strerror}") from error
        finally:
            os.close(log)
        _children[child.pid] = child
        noted = {"pid": child.pid, "born": _born(child.pid), "fingerprint": fingerprint}
        try:
            write_private(self._pid_file, json.dumps(noted))
        except BaseException:
            child.kill()  # nobody could find it again
            raise

    def wait(self, healthy: Callable[[], bool], limit_s: float) -> None:
        """Return once it is healthy.

        Raises:
            PacsError: It ended, or is not healthy after `limit_s` seconds; with the last telling
                line of its log.
        """
        begun = time.monotonic()
        said = begun
        while not healthy():
            now = time.monotonic()
            if self.pid() is None:
                raise PacsError(f"{self.name} ended while it started: {self.last_words()}")
            if now - begun > limit_s:
                raise PacsError(
                    f"{self.name} gave no answer within {limit_s:g} s: {self.last_words()}"
                )
            if now - said > _SAY_AFTER_S:
                said = now
                _log.info("waiting for %s: %.0f s of %.0f s", self.name, now - begun, limit_s)
            time.sleep(0.05)

    def tell(self, number: signal.Signals) -> bool:
        """Send a signal; gives False where nothing runs."""
        pid = self.pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise PacsError(
                f"{self.name} runs as process {pid} of another user; stop it as that user"
            ) from error
        return True

    def stop(self, *, by: signal.Signals = signal.SIGTERM, limit_s: float = 30) -> bool:
        """Ask it to end and wait until it has; after `limit_s` seconds it is killed.

        Returns:
            Whether it ran.
        """
        ran = self.tell(by)
        self.tell(signal.SIGCONT)  # one that is halted cannot end
        if not self._ends_within(limit_s):
            _log.warning("%s did not end within %g s and is killed", self.name, limit_s)
            self.tell(signal.SIGKILL)
            if not self._ends_within(10):
                raise PacsError(f"{self.name} cannot be ended: process {self.pid()}")
        self._pid_file.unlink(missing_ok=True)
        return ran

    def last_words(self) -> str:
        """Give the last line of its log that looks like a reason, and where that log is."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-200:]
        except OSError:
            lines = []
        lines = [line for line in lines if line.strip()]
        telling = [line for line in lines if _TELLING.search(line)]
        last = (telling or lines or ["it said nothing"])[-1]
        return f"{_ORTHANC_LINE.sub('', last)[:300]} ({self.log})"

    def _ends_within(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _noted(self) -> dict[str, object]:
        try:
            noted = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}


def fingerprint(*parts: str) -> str:
    """Give what tells one config from another: the same parts give the same text.

    >>> fingerprint("a", "bc") == fingerprint("ab", "c")
    False
    """
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `<folder>/run/lock`, so that two commands at once do not start two of each.

    Raises:
        PacsError: Another one has held it for minutes.
    """
    place = folder / "run"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline, said = time.monotonic() + _LOCK_S, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    _log.info("waiting for another command at work in %s", folder)
                    said = True
                if time.monotonic() > deadline:
                    raise PacsError(
                        f"another command has been at work in {folder} for over {_LOCK_S:g} s"
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def _born(pid: int) -> str | None:
    """Say when a process began, as no later one with its number can; None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _rotate(log: Path) -> None:
    """Make room for a new log, and keep the last few: the one before may say why it ended."""
    if not log.exists():
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    log.replace(log.with_name(f"{log.name}.1"))
