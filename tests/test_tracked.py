"""MLflow holds the data by name and hash, the results, and a model that it can load itself."""

import json
import time

import mlflow
import numpy as np
import pytest
import sites
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from test_examples import NAMES, line

from cxr.contract import manifest
from cxr.infra import tracking
from cxr.learning import material, model, predictor, tracked
from cxr.learning.predictor import Predictor, RunRecord

NET = {
    "_target_": "monai.networks.nets.DenseNet", "spatial_dims": 2, "in_channels": 1,
    "init_features": 4, "growth_rate": 4, "block_config": [1, 1],
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run's folder and its model, as training leaves them."""
    folder = tmp_path_factory.mktemp("runs") / "lungs.v1"
    record = RunRecord(
        name="lungs.v1", run_id="", label_names=NAMES, label_set="two", label_source="readers",
        no_finding="No Finding", image_size=(32, 32), preset="voi", net=NET, job="chest",
        manifest_sha256="0" * 64, seed=1, counts={},
    )  # fmt: skip
    predictor.save_run(folder, record)
    net = model.build_net(NET, len(NAMES))
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state}, folder / predictor.CHECKPOINT)
    (folder / "predictions.csv").write_text("sop_instance_uid,Edema\n1.2.3,0.5\n")
    return folder, record


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    yield f"sqlite:///{folder}/mlflow.db", folder / "mlartifacts"
    mlflow.set_tracking_uri(None)


def started(store):
    return tracking.start(store[0], "cxr", "lungs", params={}, artifacts=store[1])


def test_a_registered_model_predicts_as_the_run_does(finished, store):
    folder, record = finished
    run = started(store)
    for _ in range(2):
        tracked.model(run, folder, record, register_as="chest", alias="candidate")
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32), np.uint8)

    mlflow.set_tracking_uri(store[0])
    served = mlflow.pyfunc.load_model("models:/chest@candidate")

    assert np.array_equal(served.predict(images), Predictor.load(folder).predict(images))
    version = MlflowClient(store[0]).get_model_version_by_alias("chest", "candidate")
    assert (version.version, version.run_id) == (2, run.run_id)
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, 32, 32)
    with pytest.raises(MlflowException, match="schema"):
        served.predict(images[:, :8])


def test_a_kept_model_belongs_to_its_run_and_names_no_image(finished, store):
    folder, record = finished
    run = started(store)

    tracked.model(run, folder, record, register_as=None, alias="candidate")

    held = MlflowClient(store[0]).get_run(run.run_id)
    assert len(held.outputs.model_outputs) == 1
    model_id = held.outputs.model_outputs[0].model_id
    assert MlflowClient(store[0]).search_model_versions(f"run_id='{run.run_id}'") == []
    kept = {path.name for path in (store[1] / "cxr" / "models" / model_id).rglob("*")}
    assert {"MLmodel", "best.ckpt", "run.json"} <= kept
    assert "predictions.csv" not in kept


def test_what_the_store_refuses_costs_the_run_nothing(finished, store, caplog):
    folder, record = finished
    run = started(store)

    tracked.model(run, folder, record, register_as="no/such:name", alias="candidate")

    assert "MLflow did not take the model's registration" in caplog.text
    assert len(MlflowClient(store[0]).get_run(run.run_id).outputs.model_outputs) == 1


def test_each_split_is_a_dataset_of_the_run(store, tmp_path):
    pacs = sites.filled(tmp_path / "pacs")
    found = list(pacs.search())
    path = tmp_path / "output.manifest"
    manifest.write(path, [line(i.orthanc_id) for i in found])
    ready = material.prepare(
        path, pacs, tmp_path / "cache",
        attribute=None, policy=material.Policy(), image_size=(32, 32), preset="voi", workers=1,
    )  # fmt: skip
    run = started(store)

    tracked.data(run, ready, np.array(["train", "train", "test"]), "chest")

    inputs = MlflowClient(store[0]).get_run(run.run_id).inputs.dataset_inputs
    told = {i.tags[0].value: (i.dataset.name, json.loads(i.dataset.profile)) for i in inputs}
    assert told.keys() == {"training", "testing"}
    assert told["training"][0] == "chest train"
    assert told["training"][1]["images"] == 2
    assert {i.dataset.digest for i in inputs} == {ready.sha256[:36]}
    assert not any(i.sop_instance_uid in str(inputs) for i in found)


def test_the_machine_is_measured_while_it_works(store):
    run = started(store)

    def measured():
        return MlflowClient(store[0]).get_run(run.run_id).data.metrics

    deadline = time.monotonic() + 30
    with run.measured(store[0], every_s=0.05):
        while not measured() and time.monotonic() < deadline:
            time.sleep(0.05)

    assert measured()["system/system_memory_usage_megabytes"] > 0
