"""MLflow 3: a run's model, loadable by `mlflow.pyfunc`, and its place in the registry."""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.infra.tracking import Run

ARTIFACT = "model"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, per image.

    Attributes:
        image_size: (H, W) pixels of uint8, as the run's preset and cache make them.
        labels: (L,) names of the probabilities, float32 in [0, 1].
    """

    image_size: tuple[int, int]
    labels: Sequence[str]


def keep(
    run: Run,
    data: Path,
    *,
    name: str,
    loader: str,
    signature: Signature,
    requirements: Sequence[str],
) -> str:
    """Keep a run's model as MLflow's LoggedModel, and give its ID.

    Args:
        run: The run it is of.
        data: Folder that the loader reads; copied.
        name: Of the model, such as the run's.
        loader: Module with `_load_pyfunc(path)` (MLflow's loader_module).
        signature: Written into the model, so that a wrong shape is refused where it is served.
        requirements: Of pip, where it is served.

    Raises:
        MlflowException: The server refuses.
    """
    import mlflow.pyfunc

    # MLflow 3.17 asks for an example; the signature says more than one would
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.filterwarnings("ignore", ".*input example.*")
        made = Path(scratch) / ARTIFACT
        mlflow.pyfunc.save_model(
            made,
            loader_module=loader,
            data_path=str(data),
            signature=_signature(signature),
            pip_requirements=list(requirements),
            metadata={"labels": list(signature.labels)},
        )
        experiment = run.client.get_run(run.run_id).info.experiment_id
        model = run.client.create_logged_model(experiment, _plain(name), source_run_id=run.run_id)
        run.client.log_model_artifacts(model.model_id, str(made))
        run.client.finalize_logged_model(model.model_id, "READY")
        _say_output(run, model.model_id)
    return str(model.model_id)


def register(run: Run, model_id: str, name: str, alias: str) -> int:
    """Register a kept model under a name, let the alias stand for it, and give its version.

    Raises:
        MlflowException: The server refuses.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    # by its place: MLflow 3.17 looks up "models:/…" in whatever store is the process's own
    place = run.client.get_logged_model(model_id).artifact_location
    version = run.client.create_model_version(name, place, run.run_id, model_id=model_id)
    run.client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _signature(said: Signature) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, *said.image_size), "image")]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, len(said.labels)), "probabilities")]),
    )


def _say_output(run: Run, model_id: str) -> None:
    """Link the run to its model, as MLflow's page shows it."""
    from mlflow.entities import LoggedModelOutput

    run.client.log_outputs(run.run_id, [LoggedModelOutput(model_id, step=0)])


def _plain(name: str) -> str:
    # MLflow 3 takes no slash, colon, dot, percent or quote in a model's name
    return "".join("-" if c in "/:.%\"'" else c for c in name)
