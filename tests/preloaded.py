"""Commands as processes of their own that start at once, for tests that run many of them.

Loading what a training needs takes a process ten seconds. One process loads it, then becomes each
command by fork: what runs is a real process, with an environment, signals and an exit status.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
LOADED = """
import json, os, runpy, sys
sys.argv = ["loading"]
import mlflow, monai.networks.nets, pytorch_lightning, rich.progress, scipy.stats, torch
import cxr.learning.evaluation, cxr.learning.running, cxr.learning.tracked
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        _, status = os.waitpid(asked["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = [asked["module"], *asked["words"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)
"""


class Command:
    """A process that runs a command."""

    def __init__(self, by: "Preloaded", pid: int, err: Path, out: Path) -> None:
        self._by, self.pid, self._err, self._out = by, pid, err, out

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def out(self) -> str:
        return self._out.read_text()

    def reaches(self, text: str, timeout_s: float = 300) -> "Command":
        """Wait until it says so."""
        end = time.monotonic() + timeout_s
        while text not in self.err:
            assert time.monotonic() < end, self.err
            time.sleep(0.002)
        return self

    def ends(self, by: int = 0, timeout_s: float = 600) -> int:
        """Give its exit status, after a signal where one is given; negative if that ended it."""
        if by:
            os.kill(self.pid, by)
        return self._by._asked(timeout_s, wait=self.pid)


class Preloaded:
    """A process that has loaded everything, and becomes commands; one at a time is waited for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._start()

    def _start(self) -> None:
        path = os.pathsep.join([str(HERE), str(HERE.parent / "src")])
        self._loaded = subprocess.Popen(
            [sys.executable, "-c", LOADED], text=True, cwd=HERE.parent,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def begin(
        self, module: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> Command:
        """Start `python -m <module> <words>` in the checkout."""
        if self._loaded.poll() is not None:  # ended with a command that took too long
            self._start()
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        err.touch()  # whoever reads it may come before the process does
        pid = self._asked(
            600, module=module, words=[str(word) for word in words], out=str(out), err=str(err),
            environment={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )  # fmt: skip
        return Command(self, pid, err, out)

    def run(
        self, module: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        command = self.begin(module, *words, environment=environment)
        status = command.ends()
        return subprocess.CompletedProcess([module, *words], status, command.out, command.err)

    def stop(self) -> None:
        """End the process that has everything loaded."""
        self._loaded.kill()  # it holds nothing, and takes seconds to unload it
        self._loaded.wait()

    def _asked(self, timeout_s: float, **asked: object) -> int:
        assert self._loaded.stdin is not None
        assert self._loaded.stdout is not None
        print(json.dumps(asked), file=self._loaded.stdin, flush=True)
        ready, _, _ = select.select([self._loaded.stdout], [], [], timeout_s)
        if not ready:
            self.stop()  # its next answer would be to this question
            with contextlib.suppress(KeyError):
                os.kill(int(str(asked["wait"])), signal.SIGKILL)
            raise TimeoutError(f"nothing within {timeout_s} s of {asked.get('module', asked)}")
        return int(self._loaded.stdout.readline())
