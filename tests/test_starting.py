"""Where weights come from is found, said, and refused where they would know the answers."""

import csv
import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from specimens import dicom
from test_ensembling import FOLD, READY, run
from test_fit import NAMES, NET

from cxr.errors import DataError, RunError
from cxr.learning import predictor, starting
from cxr.learning.model import build_net
from cxr.pacs.folder import FolderPacs

SPLITS = np.where(FOLD == 0, "test", np.where(FOLD == 1, "val", "train"))


def begin(given, runs, *, names=NAMES, splits=SPLITS):
    net = build_net(NET, len(names), seed=99)
    with FolderPacs(runs / "pacs") as pacs:
        return net, starting.begin(
            net, str(given), runs, names=names, material=READY, splits=splits, pacs=pacs,
            table=runs / "leaks" / "new.csv",
        )  # fmt: skip


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
        r"model.weights, or a run whose weights it began with, was trained or tuned on; .*new.csv "
        r"says which they are; divide as it was with data.split=.*split.csv",
    ):
        begin("before", runs, splits=splits)


def elsewhere(runs, name, **split):
    """Let a run have been trained on another job."""
    rows = [f"{uid},{role}\n" for uid, role in split.items()]
    (runs / name / "split.csv").write_text("sop_instance_uid,split\n" + "".join(rows))


def test_weights_of_another_jobs_patients_leak_nothing(runs, caplog):
    with FolderPacs(runs / "pacs") as pacs:
        pacs.store(dicom(1, patient="somebody else"))
        pacs.store(dicom(2, patient="PAT-0"))  # tested on, then and now
    elsewhere(runs, "before", **{"1.2.3.1": "train", "1.2.3.2": "test"})

    assert begin("before", runs)[1].source == "before"
    assert "cannot be told" not in caplog.text


@pytest.mark.parametrize(("then", "patient"), [("train", "PAT-1"), ("val", "PAT-0")])
@pytest.mark.parametrize("before", ["before", "later"])
def test_weights_that_saw_another_image_of_a_patient_are_a_leak_however_far_back(
    runs, then, patient, before
):
    with FolderPacs(runs / "pacs") as pacs:
        pacs.store(dicom(1, patient=patient))
        pacs.store(dicom(2, patient="somebody else"))
    elsewhere(runs, "before", **{"1.2.3.1": then})
    run(runs, "later", 0, seed=1, weights={"source": "before"})
    elsewhere(runs, "later", **{"1.2.3.2": "train"})

    with pytest.raises(
        DataError, match=rf"leak: 2 of 40 .* patients that '{before}' .* data.split of your own"
    ) as met:
        begin(before, runs)

    told = runs / "leaks" / "new.csv"
    assert f"{told} says which they are; give these" in str(met.value)
    rows = list(csv.DictReader(told.open(newline="")))
    assert [(row["shared"], row["patient_id"]) for row in rows] == [("weights", patient)] * 2


def test_images_and_runs_that_are_no_more_are_told(runs, caplog):
    run(runs, "later", 0, seed=1, weights={"source": "gone"})
    elsewhere(runs, "later", **{"9.9": "train", "9.8": "val", "9.7": "test"})

    begin("later", runs)

    assert "2 of 2 images that later learned from are in the PACS no more" in caplog.text
    assert "the run gone is missing: whether gone saw these patients cannot be told" in caplog.text


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
