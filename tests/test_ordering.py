"""What a training job elsewhere begins with travels with its labels, and leaks are found here."""

import pytest
import torch
from test_trace import root  # noqa: F401 a fixture

from cxr import config, schema
from cxr.errors import DataError
from cxr.infra import compute
from cxr.infra.sagemaker import order
from cxr.learning import folds, ordering, predictor


def asked(folder, weights, *overrides):
    cfg = config.compose("train", [
        f"root={folder}", f"pacs.folder={folder}/pacs", "data.job=chest", "name=next",
        "data.image_size=[32,32]", f"model.weights={weights}", *overrides,
    ])  # fmt: skip
    made = ordering.order(config.check(cfg, schema.Train), folder)
    value = order.hyperparameter("train", *compute.plain(cfg), made.name, made.weights)
    return made, order.unpacked(value)["config"]["model"]["weights"]


@pytest.fixture
def trained(root):  # noqa: F811
    """A root with a run of one image, whose split.csv says that it was trained on."""
    folder, _, chosen = root
    torch.save({"state_dict": {}}, folder / "runs" / "one" / "best.ckpt")
    return folder, [i.sop_instance_uid for i in chosen]


def given_split(folder, uids, *splits):
    path = folder / "given.csv"
    folds.save(path, uids[: len(splits)], list(splits))
    return f"data.split={path}"


def test_weights_of_a_run_travel_with_what_says_their_labels(trained, tmp_path):
    folder, uids = trained
    folds.save(folder / "runs" / "one" / "split.csv", ["9.9"], ["train"])
    made, told = asked(folder, "one", given_split(folder, uids, "train", "train"))
    (scratch := tmp_path / "scratch").mkdir()

    sent = {path.name: path for path in made.prepare(scratch).labels}

    assert told == "${root}/jobs/${data.job}/manifests/output/best.ckpt"
    assert sent["best.ckpt"].read_bytes() == (folder / "runs" / "one" / "best.ckpt").read_bytes()
    assert predictor.load_run(sent["run.json"].parent).name == "one"


def test_weights_of_a_file_travel_under_a_name_of_their_own(trained, tmp_path):
    folder, uids = trained
    (given := tmp_path / "densenet121-a639ec97.pth").write_bytes(b"weights")
    made, told = asked(folder, given, given_split(folder, uids, "train", "train"))
    (scratch := tmp_path / "scratch").mkdir()

    sent = {path.name: path for path in made.prepare(scratch).labels}

    assert told == "${root}/jobs/${data.job}/manifests/output/weights.pth"
    assert sent["weights.pth"].read_bytes() == b"weights"
    assert "run.json" not in sent


def test_weights_that_know_the_answers_are_refused_before_anything_is_sent(trained, tmp_path):
    folder, uids = trained
    folds.save(folder / "runs" / "one" / "split.csv", uids[1:2], ["train"])
    made, _ = asked(folder, "one", given_split(folder, uids, "test", "test"))
    (scratch := tmp_path / "scratch").mkdir()

    with pytest.raises(DataError, match=r"'one' of model\.weights was trained or tuned on"):
        made.prepare(scratch)


def test_no_weights_are_none(trained):
    folder, _ = trained

    made, told = asked(folder, "null")

    assert (made.weights, told) == (None, None)
