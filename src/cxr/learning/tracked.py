"""What a training run leaves in MLflow: its data by name and hash, its results, its model.

Predictions and pictures of patients stay in the run's folder. What a store refuses is told and
costs nothing else: who trained for hours keeps the model.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr.infra import registry
from cxr.infra.tracking import Run
from cxr.learning import predictor, score, served
from cxr.learning.evaluation import Evaluated
from cxr.learning.material import Material
from cxr.learning.predictor import RunRecord

_log = logging.getLogger(__name__)

_CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}
_KEPT = ("run.json", "metrics.json", "model-card.json", "model-card.md")


def data(run: Run, material: Material, splits: NDArray[np.str_], job: str) -> None:
    """Say which images and labels went in, a dataset input for each split."""
    patients = np.array(material.patient_ids)
    for split, context in _CONTEXTS.items():
        rows = splits == split
        if rows.any():
            counts = {"images": int(rows.sum()), "patients": len(set(patients[rows]))}
            run.uses(
                f"{job} {split}", material.sha256, f"jobs/{job}/manifests/output/output.manifest",
                context, counts | {"manifest_sha256": material.manifest_sha256},
            )  # fmt: skip


def results(run: Run, run_folder: Path, evaluated: Evaluated) -> None:
    """Keep metrics, record, card, report and figures."""
    with run.tolerating("the metrics of the evaluation"):
        run.log(score.flat(evaluated.scored))
    for name in _KEPT:
        run.keep(run_folder / name)
    run.keep(evaluated.shareable)
    for figure in evaluated.figures:
        run.keep(figure, "figures")


def model(
    run: Run, run_folder: Path, record: RunRecord, *, register_as: str | None, alias: str
) -> None:
    """Keep the model so that `mlflow.pyfunc` loads it, and register it where a name is given.

    Args:
        run: The run it is of.
        run_folder: Its folder, evaluated.
        record: What run.json says.
        register_as: Name in the model registry, or None.
        alias: What the new version is called there.
    """
    made = ""
    with run.tolerating("the model"), tempfile.TemporaryDirectory(dir=run_folder) as scratch:
        made = registry.keep(
            run, served.gather(run_folder, Path(scratch)),
            name=record.name, loader=served.LOADER,
            signature=registry.Signature(record.image_size, record.label_names),
            requirements=[f"{name}=={version}" for name, version in record.versions.items()
                          if name in ("cxr", "torch", "monai", "numpy")],
        )  # fmt: skip
    if not made:  # a server older than MLflow 3 has no models beside runs
        run.keep(run_folder / predictor.CHECKPOINT)
    elif register_as:
        with run.tolerating("the model's registration"):
            version = registry.register(run, made, register_as, alias)
            _log.info("registered as models:/%s/%d, alias %s", register_as, version, alias)
