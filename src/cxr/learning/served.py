"""How `mlflow.pyfunc` loads a run's model: `mlflow.pyfunc.load_model("models:/name@alias")`."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import predictor
from cxr.learning.predictor import Predictor

LOADER = __name__
"""What MLflow calls loader_module."""


def gather(run_folder: Path, target: Path) -> Path:
    """Copy what a model needs out of a run's folder, and nothing else: no split, no predictions.

    Args:
        run_folder: Of the run.
        target: An empty folder.
    """
    for name in (predictor.RUN, predictor.CHECKPOINT, "model-card.json", "model-card.md"):
        if (run_folder / name).exists():
            shutil.copyfile(run_folder / name, target / name)
    for member in predictor.load_run(run_folder).members:
        inner = Path(predictor.MEMBERS) / member
        (target / inner).mkdir(parents=True)
        for name in (predictor.RUN, predictor.CHECKPOINT):
            shutil.copyfile(run_folder / inner / name, target / inner / name)
    return target


class Served:
    """A model as `mlflow.pyfunc` wants it."""

    def __init__(self, loaded: Predictor) -> None:
        self._predictor = loaded

    def predict(self, images: Any, params: Any = None) -> NDArray[np.float32]:
        """Give probabilities (N, L) for images (N, H, W) uint8, alone or under the key `image`."""
        del params
        given = images["image"] if isinstance(images, dict) else images
        return self._predictor.predict(np.asarray(given))


def _load_pyfunc(path: str) -> Served:
    return Served(Predictor.load(Path(path)))
