"""A run folder answers as the net did when it was trained."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from test_fit import NAMES, NET, SIZE, classifier, learnable

from cxr.contract import labels
from cxr.contract.labels import LabelSet
from cxr.errors import RunError
from cxr.learning import answering, fit, predictor
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor, RunRecord
from cxr.learning.targets import Policy

RECORD = RunRecord(
    name="toy-1",
    run_id="0" * 32,
    label_names=NAMES,
    label_set="toy",
    label_source="readers",
    no_finding="No Finding",
    image_size=(SIZE, SIZE),
    preset="voi",
    net=NET,
    job="toy",
    manifest_sha256="0" * 64,
    seed=42,
    counts={"train": 64, "val": 32},
)


LABELS = LabelSet("toy", NAMES, "No Finding", parents={"Top": ("Bottom",)})
FULL = dataclasses.replace(
    RECORD, standardize=True, tta=answering.moves(3, mirror=True),
    labels=labels.to_data_object(LABELS),
    calibration={
        "Top": {"method": "platt", "slope": 1.5, "intercept": -0.4},
        "No Finding": {"method": "temperature", "slope": 0.8, "intercept": 0.0},
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    module, data = classifier(), learnable()
    fit.fit(module, data, folder=folder, max_epochs=2, accelerator="cpu", precision="32-true")
    predictor.save_run(folder, RECORD)
    return folder, module.eval(), data._images


def test_record_comes_back_whole(tmp_path):
    record = dataclasses.replace(
        RECORD, thresholds={"Top": {"threshold": 0.25}}, standardize=True, members=("a", "b"),
        tta=answering.moves(3, mirror=True), calibration={"Top": {"slope": 0.5, "intercept": 1.0}},
        labels=labels.to_data_object(LABELS), machine={"cpu": "one"},
    )  # fmt: skip

    path = predictor.save_run(tmp_path / "new", record)

    assert predictor.load_run(tmp_path / "new") == record
    document = json.loads(path.read_text())
    assert document["note"] == "Research use only. Not for clinical decisions."
    assert {"python", "torch", "monai", "pytorch-lightning"} <= set(document["versions"])


def test_predictor_gives_the_probabilities_of_the_trained_module(trained):
    folder, module, images = trained
    state = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    module.load_state_dict(state)

    probabilities = Predictor.load(folder, "cpu").predict(images)

    with torch.no_grad():
        logits = module(torch.from_numpy(images)[:, None].float() / 255)
    assert probabilities.shape == (len(images), len(NAMES))
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - logits.sigmoid().numpy()).max() < 1e-6


def test_batches_do_not_change_the_answer(trained):
    folder, _, images = trained
    asked = Predictor.load(folder, "cpu")

    assert np.allclose(asked.predict(images, 7), asked.predict(images), atol=1e-6)
    assert asked.predict(images[:0]).shape == (0, len(NAMES))


def test_predictions_are_made_in_float32(trained):
    asked = Predictor.load(trained[0], "cpu")

    assert {parameter.dtype for parameter in asked.net.parameters()} == {torch.float32}


class Precise(torch.nn.Module):
    """A net that notes how float32 is computed while it is asked."""

    def forward(self, image):
        self.met = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
        return torch.zeros(len(image), len(NAMES))


def test_float32_is_not_rounded_for_speed_and_the_setting_comes_back():
    net = Precise()
    torch.set_float32_matmul_precision("high")

    try:
        Predictor(RECORD, net, "cpu").predict(np.zeros((1, SIZE, SIZE), np.uint8))
        after = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    finally:
        torch.set_float32_matmul_precision("highest")

    assert net.met == (False, "highest")
    assert after == (True, "high")


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8), np.uint8), np.zeros((2, SIZE, SIZE)), np.zeros((SIZE, SIZE), np.uint8)],
)
def test_images_of_another_kind_are_refused(trained, images):
    with pytest.raises(RunError, match=r"expected uint8 images \(N, 16, 16\), met"):
        Predictor.load(trained[0], "cpu").predict(images)


def test_onnx_gives_the_same_for_every_batch_size(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, _, images = trained
    asked = Predictor.load(folder, "cpu")

    path = asked.export_onnx(tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(str(path))
    for count in (1, 3, 32):
        (probabilities,) = session.run(
            ["probabilities"], {"image": images[:count, None].astype(np.float32) / 255}
        )
        assert np.abs(probabilities - asked.predict(images[:count])).max() < 1e-5
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == list(NAMES)
    assert (json.loads(told["image_size"]), told["preset"]) == ([SIZE, SIZE], "voi")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_all_that_a_prediction_is_made_of_is_in_its_onnx(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, module, images = trained
    two = FULL.tta[0], FULL.tta[3]
    nets = [module.net, build_net(NET, 3, seed=5)]
    asked = Predictor(dataclasses.replace(FULL, tta=two), nets, "cpu")

    session = onnxruntime.InferenceSession(str(asked.export_onnx(tmp_path / "model.onnx")))

    for count in (1, 5):
        (probabilities,) = session.run(
            ["probabilities"], {"image": images[:count, None].astype(np.float32) / 255}
        )
        assert probabilities.dtype == np.float32
        assert np.abs(probabilities - asked.predict(images[:count])).max() < 1e-5


def test_members_and_views_are_averaged_as_logits_then_calibrated_then_consistent(trained):
    _, module, images = trained
    nets = [module.net, build_net(NET, 3, seed=5)]

    given = Predictor(FULL, nets, "cpu").predict(images)

    each = [
        Predictor(dataclasses.replace(FULL, tta=(view,)), net, "cpu").logits(images)
        for view in FULL.tta for net in nets
    ]  # fmt: skip
    logits = np.mean(each, axis=0)
    assert logits.dtype == np.float64
    top, bottom, none = (
        1 / (1 + np.exp(-logits * [1.5, 1.0, 0.8] - [-0.4, 0.0, 0.0]))
    ).T  # fmt: skip
    top = np.maximum(top, bottom)
    none = np.minimum(none, 1 - np.maximum(top, bottom))
    assert np.abs(given - np.column_stack([top, bottom, none])).max() < 1e-6
    assert np.ptp(each, axis=0).max() > 0.01


def test_a_run_of_inconsistent_labels_answers_as_its_net_says_also_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    images = np.random.default_rng(0).integers(256, size=(40, SIZE, SIZE), dtype=np.uint8)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE * SIZE, len(NAMES)))
    asked = Predictor(dataclasses.replace(FULL, tta=()), net, "cpu")
    consistent = asked.predict(images)
    policy = dataclasses.asdict(Policy(consistent=False))
    asked.record = dataclasses.replace(asked.record, policy=policy)
    predictor.save_run(tmp_path, asked.record)

    given = asked.predict(images)

    logits = asked.logits(images) * [1.5, 1.0, 0.8] - [0.4, 0.0, 0.0]
    assert np.abs(given - 1 / (1 + np.exp(-logits))).max() < 1e-6
    assert np.abs(given - consistent).max() > 0.01
    assert not predictor.load_run(tmp_path).consistent
    session = onnxruntime.InferenceSession(str(asked.export_onnx(tmp_path / "model.onnx")))
    (told,) = session.run(None, {"image": images[:, None].astype(np.float32) / 255})
    assert np.abs(told - given).max() < 1e-5


def test_a_run_of_before_answers_as_it_did(trained):
    folder, _, images = trained
    asked = Predictor.load(folder, "cpu")

    logits = asked.logits(images)

    assert np.abs(asked.predict(images) - 1 / (1 + np.exp(-logits))).max() < 1e-6


def test_another_record_calibrates_what_is_loaded_already(trained):
    folder, _, images = trained
    asked = Predictor.load(folder, "cpu")
    plain = asked.predict(images)

    asked.record = FULL

    assert np.abs(asked.predict(images) - plain).max() > 0.01


def test_an_embedding_is_what_the_last_layer_is_shown(trained):
    folder, _, images = trained
    asked = Predictor.load(folder, "cpu")

    embedded = asked.embed(images)

    last = asked.net.class_layers.out
    assert embedded.shape == (len(images), last.in_features)
    with torch.no_grad():
        logits = last(torch.from_numpy(embedded)).numpy()
    assert np.abs(logits - asked.logits(images)).max() < 1e-5
    assert not last._forward_pre_hooks


def test_a_net_without_a_linear_layer_has_no_embedding():
    with pytest.raises(RunError, match="Precise has no linear layer, so no embedding"):
        Predictor(RECORD, Precise(), "cpu").embed(np.zeros((1, SIZE, SIZE), np.uint8))


def test_what_a_net_is_shown_is_standardized_as_in_training(trained):
    folder, _, images = trained
    data = learnable()
    data._standardize = True
    rows = torch.from_numpy(images[:4])[:, None]

    shown = Predictor(FULL, Predictor.load(folder, "cpu").net, "cpu").inputs(images[:4])

    trained_on = data.on_after_batch_transfer({"image": rows}, 0)["image"]
    assert torch.equal(shown, trained_on)
    flat = images[:4].reshape(4, -1) / 255
    expected = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    assert np.abs(shown.reshape(4, -1).numpy() - expected).max() < 1e-5


def test_an_ensemble_folder_holds_its_members(trained, tmp_path):
    folder, _, images = trained
    for name in ("a", "b"):
        shutil.copytree(folder, tmp_path / "members" / name)
    predictor.save_run(tmp_path, dataclasses.replace(RECORD, members=("a", "b")))

    both = Predictor.load(tmp_path, "cpu")

    assert len(both.members) == 2
    assert np.abs(both.predict(images) - Predictor.load(folder, "cpu").predict(images)).max() < 1e-6
    shutil.rmtree(tmp_path / "members" / "b")
    with pytest.raises(RunError, match=r"members/b/run.json: expected the record of a training"):
        Predictor.load(tmp_path, "cpu")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": []}, "labels: label set 'manifest': expected at least one name"),
        ({"labels": "Top,Bottom"}, "labels: expected those of label_names"),
    ],
)
def test_a_label_set_that_is_not_the_runs_is_refused(given, message):
    with pytest.raises(RunError, match=message):
        predictor.label_set(dataclasses.replace(RECORD, labels=given))


class Unexportable(torch.nn.Module):
    def forward(self, image):
        if image.mean().item() > 2:  # ONNX cannot branch on a number
            return torch.ones(len(image), len(NAMES))
        return torch.zeros(len(image), len(NAMES))


def test_a_net_that_onnx_cannot_express_is_one_line(tmp_path):
    asked = Predictor(RECORD, Unexportable(), "cpu")

    with pytest.raises(RunError, match=r"model.onnx: this net cannot be written as ONNX") as met:
        asked.export_onnx(tmp_path / "model.onnx")

    assert "\n" not in str(met.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"run.json: expected the record of a training run, met no"):
        Predictor.load(tmp_path)

    predictor.save_run(tmp_path, RECORD)
    with pytest.raises(RunError, match=r"best.ckpt: expected a checkpoint, met none"):
        Predictor.load(tmp_path)


def test_a_checkpoint_of_another_net_or_a_torn_one_is_refused(trained, tmp_path):
    whole = (trained[0] / "best.ckpt").read_bytes()
    (tmp_path / "best.ckpt").write_bytes(whole)
    predictor.save_run(tmp_path, dataclasses.replace(RECORD, net=NET | {"growth_rate": 8}))
    with pytest.raises(RunError, match=r"best.ckpt: expected weights of the net in run.json"):
        Predictor.load(tmp_path)

    predictor.save_run(tmp_path, RECORD)
    (tmp_path / "best.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"best.ckpt: expected weights of the net in run.json"):
        Predictor.load(tmp_path)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    torch.save({"state_dict": Trap()}, tmp_path / "best.ckpt")
    predictor.save_run(tmp_path, RECORD)

    with pytest.raises(RunError, match=r"best.ckpt: expected tensors alone, met other objects"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json: expected JSON"),
        ("{}", 'run.json: expected "schema": "cxr-run/1"'),
        ('{"schema": "cxr-run/1"}', "run.json: KeyError"),
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)

    with pytest.raises(RunError, match=message):
        predictor.load_run(tmp_path)
