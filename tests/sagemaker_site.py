"""A labelled job on this machine, and an account on loopback that trains on it."""

import csv
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from preloaded import Preloaded

from cxr import config, evaluate, schema, train
from cxr.contract import manifest
from cxr.images import synth
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

BUCKET = "cxr-tests"
NET = (
    "{_target_: monai.networks.nets.DenseNet, spatial_dims: 2, in_channels: 1, init_features: 4, "
    "growth_rate: 2, block_config: [1], bn_size: 1}"
)
TINY = (
    "data=job", "data.job=few", "data.image_size=[32,32]", "data.batch_size=8", "data.workers=1",
    "draws=100", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "model=densenet121", f"model.net={NET}",
    "aws=account", "compute=sagemaker", f"aws.bucket={BUCKET}", "compute.instance=ml.m5.xlarge",
    "compute.poll_s=0.2",
)  # fmt: skip


class Site:
    """A data root with a labelled job, and what trains on it."""

    def __init__(self, folder: Path, aws, images: int = 48) -> None:
        self.root, self.aws = folder, aws
        size = (64, 64)
        with FolderPacs(folder / "pacs") as pacs:
            truth = folder / "synthetic" / "truth.csv"
            synthetic.draw_into(pacs, truth, images=images, seed=7, size=size)
        job = folder / "jobs" / "few" / "manifests" / "output" / "output.manifest"
        job.parent.mkdir(parents=True)
        with truth.open(newline="") as file:
            manifest.write(job, [_line(row) for row in csv.DictReader(file)])
        wheels = folder / "wheels"
        wheels.mkdir()
        with zipfile.ZipFile(wheels / "cxr-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("cxr/__init__.py", "")  # jobs of the double have cxr already
        aws.bucket(BUCKET)
        self.role = aws.role("training")

    @property
    def overrides(self) -> list[str]:
        """What every run here is told."""
        given = (f"compute.role_arn={self.role}", f"compute.wheelhouse={self.root}/wheels")
        return [*TINY, f"root={self.root}", *given]

    def train(self, *overrides: str) -> float:
        """Train as the command does, in this process."""
        told = [*self.overrides, *overrides]
        _as_hydra("train", told)
        composed = config.compose("train", told)
        return train.main(config.check(composed, schema.Train), composed)

    def evaluate(self, *overrides: str) -> None:
        """Evaluate as the command does, in this process."""
        told = [f"root={self.root}", *overrides]
        _as_hydra("evaluate", told)
        composed = config.compose("evaluate", told)
        evaluate.main(config.check(composed, schema.Evaluate), composed)

    def command(
        self, preloaded: Preloaded, name: str, *overrides: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a process of its own."""
        told = [*overrides[:1], *self.overrides, *overrides[1:]]
        return preloaded.run(f"cxr.{name}", *told, environment=self.aws.environment)


def _as_hydra(name: str, told: list[str]) -> None:
    """Let Hydra know of the command, as where it starts it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        forced = [config._forced(word) for word in told]
        asked = hydra.compose(name, forced, return_hydra_config=True)
    HydraConfig.instance().set_config(asked)


def _line(row: dict) -> dict:
    states = [
        {"label": name, "state": "present" if row[name] == "1" else "absent"}
        for name in synth.FINDINGS
    ]
    meta = manifest.metadata("few", human_annotated=True, created=datetime.now(UTC))
    return {
        "source": row["source"],
        "sop-instance-uid": row["sop_instance_uid"],
        "labels": ",".join(synth.FINDINGS),
        "label-set": "drawn",
        "few": {"schema": manifest.SCHEMA, "findings": states, "usable": True},
        "few-metadata": meta | {"label-source": "readers"},
    }
