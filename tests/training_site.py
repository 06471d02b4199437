"""A labelled job of drawn radiographs, and `python -m cxr.train` on it as processes of their own.

Loading everything takes a process ten seconds, so one process loads it and then, for each
command, becomes two (fork): what runs is a real process with signals and an exit status.
"""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from sagemaker_site import NET, _line

from cxr.contract import manifest
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

HERE = Path(__file__).parent
TINY = (
    "data=job", "data.job=few", "data.image_size=[32,32]", "data.batch_size=4", "data.workers=1",
    "draws=100", "trainer.accelerator=cpu",
    "model=densenet121", f"model.net={NET}",
    "evaluate.shortcuts=false", "evaluate.subgroups=[]",
)  # fmt: skip
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
    sys.argv = [asked["module"], *asked["words"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)
"""


class Command:
    """A process that runs a command."""

    def __init__(self, site: "Site", pid: int, err: Path, out: Path) -> None:
        self._site, self.pid, self._err, self._out = site, pid, err, out

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

    def ends(self, signal: int = 0) -> int:
        """Give its exit status, after a signal where one is given; negative if that ended it."""
        if signal:
            os.kill(self.pid, signal)
        return self._site._ask(wait=self.pid)


class Site:
    """A data root with a labelled job."""

    def __init__(self, folder: Path, images: int = 48) -> None:
        self.root = folder
        with FolderPacs(folder / "pacs") as pacs:
            truth = folder / "synthetic" / "truth.csv"
            synthetic.draw_into(pacs, truth, images=images, seed=7, size=(64, 64))
        job = folder / "jobs" / "few" / "manifests" / "output" / "output.manifest"
        job.parent.mkdir(parents=True)
        with truth.open(newline="") as file:
            manifest.write(job, [_line(row) for row in csv.DictReader(file)])
        path = os.pathsep.join([str(HERE), str(HERE.parent / "src")])
        self._loaded = subprocess.Popen(
            [sys.executable, "-c", LOADED], text=True, cwd=HERE.parent,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._count = 0

    def _ask(self, **asked: object) -> int:
        assert self._loaded.stdin is not None
        assert self._loaded.stdout is not None
        print(json.dumps(asked), file=self._loaded.stdin, flush=True)
        return int(self._loaded.stdout.readline())

    def train(self, *overrides: str) -> Command:
        """Start `python -m cxr.train` on the job."""
        return self.start("cxr.train", *TINY, *overrides)

    def start(self, module: str, *overrides: str) -> Command:
        """Start any command."""
        self._count += 1
        out, err = (self.root / f"{self._count}.{name}" for name in ("out", "err"))
        err.touch()  # whoever reads it may come before the process does
        flags = [word for word in overrides if word.startswith("-")]  # which Hydra takes first
        words = [*flags, f"root={self.root}", *(word for word in overrides if word not in flags)]
        pid = self._ask(module=module, words=words, out=str(out), err=str(err))
        return Command(self, pid, err, out)

    def stop(self) -> None:
        """End the process that has everything loaded."""
        self._loaded.kill()  # it holds nothing, and takes seconds to unload it
        self._loaded.wait()
