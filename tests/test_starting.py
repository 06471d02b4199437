"""Where weights come from is found, said, and refused where they would know the answers."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from test_ensembling import FOLD, READY, run
from test_fit import NAMES, NET

from cxr.errors import DataError, RunError
from cxr.learning import predictor, starting
from cxr.learning.model import build_net

SPLITS = np.where(FOLD == 0, "test", np.where(FOLD == 1, "val", "train"))


def begin(given, runs, *, names=NAMES, splits=SPLITS):
    net = build_net(NET, len(names), seed=99)
    return net, starting.begin(net, str(given), runs, names=names, material=READY, splits=splits)


@pytest.fixture
def runs(tmp_path):
    run(tmp_path, "before", 0, seed=1)
    return tmp_path


@pytest.mark.parametrize("how", ["name", "folder", "file"])
def test_a_runs_weights_are_found_by_name_folder_and_file(runs, how, caplog):
    given = {"name": "before", "folder": runs / "before", "file": runs / "before" / "best.ckpt"}

    with caplog.at_level(logging.INFO):
        net, taken = begin(given[how], runs)

    source = build_net(NET, len(NAMES), seed=1)
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in net.state_dict().items())
    assert (taken.source, taken.left, taken.initial) == ("before", {}, ())
    assert caplog.messages == [f"{taken}; all names: weights.json"]


def test_the_classifier_is_taken_only_where_labels_have_the_same_names(runs):
    _, taken = begin("before", runs, names=("Top", "Bottom", "Other"))

    assert set(taken.left) == {"net.class_layers.out.weight", "net.class_layers.out.bias"}


def test_a_file_that_is_no_run_is_taken_without_its_classifier(runs):
    state = build_net(NET, len(NAMES), seed=1).state_dict()
    torch.save(state, runs / "theirs.pth")

    _, taken = begin(runs / "theirs.pth", runs)

    assert (taken.source, len(taken.left)) == ("theirs.pth", 2)


@pytest.mark.parametrize(
    ("splits", "count"),
    [
        (np.where(FOLD == 0, "val", np.where(FOLD == 1, "test", "train")), 20),
        (np.where(FOLD == 0, "train", np.where(FOLD == 1, "val", "test")), 20),
        (np.where(FOLD == 0, "train", np.where(FOLD == 1, "test", "val")), 40),
    ],
)
def test_weights_that_saw_the_patients_to_be_scored_are_a_leak(runs, splits, count):
    with pytest.raises(
        DataError,
        match=rf"leak: {count} of 40 images in val and test are of patients that 'before' of "
        r"model.weights was trained or tuned on; divide as it was with data.split=.*split.csv",
    ):
        begin("before", runs, splits=splits)


def test_weights_of_another_jobs_run_leak_nothing(runs):
    table = runs / "before" / "split.csv"
    table.write_text("sop_instance_uid,split\n9.9,train\n9.8,val\n9.7,test\n")

    assert begin("before", runs, splits=SPLITS[::-1])[1].source == "before"


def test_a_run_whose_split_is_lost_is_told(runs, caplog):
    (runs / "before" / "split.csv").unlink()

    begin("before", runs)

    assert "whether before saw these patients cannot be told" in caplog.text


def test_what_is_nowhere_is_refused_with_what_there_is(runs):
    with pytest.raises(RunError, match="expected a file or a finished run, met 'befor'; runs are "):
        begin("befor", runs)
    shutil.move(runs / "before", runs / "members")
    (runs / "both").mkdir()
    shutil.move(runs / "members", runs / "both" / "members")
    with pytest.raises(RunError, match="'both' is an ensemble; name one of its runs instead"):
        begin("both", runs)


def test_every_name_is_written_beside_the_run_and_the_counts_into_its_record(runs):
    _, taken = begin("before", runs, names=("Top", "Bottom", "Other"))
    folder = run(runs, "new", 0)

    starting.write(folder, taken)
    starting.note(folder)

    told = json.loads((folder / "weights.json").read_text())
    assert told["schema"] == "cxr-weights/1"
    assert tuple(told["taken"]) == taken.taken
    assert told["left"] == taken.left
    assert predictor.load_run(folder).weights == taken.counts
    assert taken.counts["left"] == 2
    # a resume writes run.json anew, and the counts again
    record = dataclasses.replace(predictor.load_run(folder), weights={})
    predictor.save_run(folder, record)
    starting.note(folder)
    assert predictor.load_run(folder).weights == taken.counts
