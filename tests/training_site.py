"""A labelled job of drawn radiographs, and `python -m cxr.train` on it as real processes."""

import csv
from pathlib import Path

from preloaded import Command, Preloaded
from sagemaker_site import NET, _line

from cxr.contract import manifest
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

TINY = (
    "data=job", "data.job=few", "data.image_size=[32,32]", "data.batch_size=4", "data.workers=1",
    "draws=100", "trainer.accelerator=cpu",
    "model=densenet121", f"model.net={NET}",
    "evaluate.shortcuts=false", "evaluate.subgroups=[]",
)  # fmt: skip


class Site:
    """A data root with a labelled job."""

    def __init__(self, folder: Path, preloaded: Preloaded, images: int = 48) -> None:
        self.root, self._preloaded = folder, preloaded
        with FolderPacs(folder / "pacs") as pacs:
            truth = folder / "synthetic" / "truth.csv"
            synthetic.draw_into(pacs, truth, images=images, seed=7, size=(64, 64))
        job = folder / "jobs" / "few" / "manifests" / "output" / "output.manifest"
        job.parent.mkdir(parents=True)
        with truth.open(newline="") as file:
            manifest.write(job, [_line(row) for row in csv.DictReader(file)])

    def train(self, *overrides: str) -> Command:
        """Start `python -m cxr.train` on the job."""
        return self.start("cxr.train", *TINY, *overrides)

    def start(self, module: str, *overrides: str) -> Command:
        """Start any command."""
        flags = [word for word in overrides if word.startswith("-")]  # which Hydra takes first
        settings = [word for word in overrides if word not in flags]
        return self._preloaded.begin(module, *flags, f"root={self.root}", *settings)
