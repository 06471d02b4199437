"""An image is followed from pixels to prediction, and what does not fit any more is told."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sites
from specimens import dicom
from test_examples import NAMES, line

from cxr.contract import manifest
from cxr.errors import DataError, RunError
from cxr.learning import folds, material, predictions, predictor, tracing, tracing_text
from cxr.learning.predictor import RunRecord
from cxr.pacs.folder import FolderPacs

ANSWER = {
    "answers": [
        {
            "workerId": "ann",
            "submissionTime": "2026-11-22T10:00:00Z",
            "answerContent": {
                "annotation": json.dumps({"findings": [{"label": "Edema", "state": "present"}]})
            },
        }
    ]
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path):
    """Two of three images in a job, one of them tested by a run."""
    pacs = sites.filled(tmp_path / "pacs")
    chosen = sorted(pacs.search(), key=lambda i: i.sop_instance_uid)
    job, run = tmp_path / "jobs" / "chest", tmp_path / "runs" / "one"
    lines = [line(i.orthanc_id, **{"sop-instance-uid": i.sop_instance_uid}) for i in chosen[:2]]
    inputs = [{k: v for k, v in o.items() if not k.startswith("chest")} for o in lines]
    manifest.write(job / "input.manifest", inputs)
    output = job / "manifests" / "output" / "output.manifest"
    manifest.write(output, lines)
    answers = job / "annotations" / "worker-response" / "iteration-1" / "1"
    answers.mkdir(parents=True)
    (answers / "a.json").write_text(json.dumps(ANSWER))
    ready = material.prepare(
        output, pacs, tmp_path / "cache",
        attribute=None, policy=material.Policy(), image_size=(32, 32), preset="voi", workers=1,
    )  # fmt: skip
    uids = [i.sop_instance_uid for i in chosen]
    record = RunRecord(
        name="one", run_id="abc", label_names=NAMES, label_set="two", label_source="readers",
        no_finding="No Finding", image_size=(32, 32), preset="voi", net={}, job="chest",
        manifest_sha256=sha256(output), examples_sha256=ready.sha256, seed=1,
        counts={"train": 1, "test": 1}, thresholds={"Edema": {"threshold": 0.5}},
    )  # fmt: skip
    predictor.save_run(run, record)
    folds.save(run / "split.csv", uids[:2], np.array(["train", "test"]))
    predictions.write(run / "predictions.csv", uids[1:2], NAMES, np.array([[0.75, 0.25]]))
    return tmp_path, pacs, chosen


def test_an_image_is_followed_from_its_file_to_what_was_predicted(root):
    folder, pacs, chosen = root
    uid = chosen[1].sop_instance_uid

    found = tracing.of_image(folder, pacs, uid)

    assert found["pixels"]["orthanc_id"] == chosen[1].orthanc_id
    assert [d["of_this_file"] for d in found["pixels"]["decoded"]] == [True]
    (job,) = found["jobs"]
    assert [(a["worker"], a["present"]) for a in job["answers"]] == [("ann", ["Edema"])]
    assert job["label"]["states"] == {"Edema": "present", "No Finding": "absent"}
    (run,) = found["runs"]
    assert (run["run"], run["split"], run["mlflow_run_id"]) == ("one", "test", "abc")
    assert run["predictions"][0]["probabilities"] == {"Edema": 0.75, "No Finding": 0.25}
    text = tracing_text.image(found)
    assert "Edema 0.750 called, No Finding 0.250" in text
    assert "ann, 2026-11-22T10:00:00Z: Edema" in text


def test_an_image_goes_by_either_of_its_names(root):
    folder, pacs, chosen = root

    by_uid = tracing.of_image(folder, pacs, chosen[0].sop_instance_uid)

    assert tracing.of_image(folder, pacs, chosen[0].orthanc_id) == by_uid
    assert by_uid["runs"][0]["split"] == "train"
    assert by_uid["runs"][0]["predictions"] == []


def test_an_image_that_nobody_labelled_is_told_so(root):
    folder, pacs, chosen = root

    text = tracing_text.image(tracing.of_image(folder, pacs, chosen[2].sop_instance_uid))

    assert "in no labeling job here" in text
    assert "no run has seen it" in text


def test_what_became_of_an_image_that_left_the_pacs_is_still_known(root, tmp_path):
    folder, _, chosen = root
    empty = FolderPacs(tmp_path / "another")

    found = tracing.of_image(folder, empty, chosen[1].sop_instance_uid)

    assert not found["pixels"]["in_pacs"]
    assert [d["of_this_file"] for d in found["pixels"]["decoded"]] == [None]
    assert found["runs"][0]["split"] == "test"
    assert "not in the PACS" in tracing_text.image(found)


def test_pixels_of_a_file_that_was_replaced_are_told(root, tmp_path):
    folder, _, chosen = root
    pacs = FolderPacs(tmp_path / "another")
    pacs.store(dicom(1, seed=99))

    found = tracing.of_image(folder, pacs, chosen[0].sop_instance_uid)

    assert [d["of_this_file"] for d in found["pixels"]["decoded"]] == [False]
    assert "of ANOTHER file" in tracing_text.image(found)


def test_an_image_nobody_knows_is_one_line(root):
    folder, pacs, _ = root

    with pytest.raises(DataError, match=r"met '9\.9\.9'"):
        tracing.of_image(folder, pacs, "9.9.9")


def test_a_run_is_followed_to_its_labels_and_they_are_compared(root):
    folder, _, _ = root
    output = folder / "jobs" / "chest" / "manifests" / "output" / "output.manifest"

    assert tracing.of_run(folder, "one")["data"]["manifest_now"] == "the same"
    output.write_bytes(output.read_bytes() + b"\n")
    changed = tracing.of_run(folder, "one")
    assert changed["data"]["manifest_now"] == "changed since"
    assert changed["data"]["split"] == {"test": 1, "train": 1}
    assert "changed since" in tracing_text.run(changed)
    output.unlink()
    assert tracing.of_run(folder, "one")["data"]["manifest_now"] == "gone"


def test_a_run_that_is_not_there_is_one_line(root):
    with pytest.raises(RunError, match=r"run: no run called 'two' in .*runs; there are one$"):
        tracing.of_run(root[0], "two")


def test_tables_that_cannot_be_read_are_one_line(root):
    folder, pacs, chosen = root
    table = folder / "runs" / "one" / "split.csv"
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert tracing.of_run(folder, "one")["data"]["split"] == {"test": 1, "train": 1}

    table.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"split.csv: expected a CSV in UTF-8"):
        tracing.of_image(folder, pacs, chosen[0].sop_instance_uid)


def test_an_ensemble_is_followed_to_its_members_and_to_which_of_them_held_an_image_out(root):
    folder, pacs, chosen = root
    whole = folder / "runs" / "one"
    record = predictor.load_run(whole)
    for name, roles in {"a": ["train", "test"], "b": ["test", "train"]}.items():
        inner = whole / "members" / name
        predictor.save_run(inner, replace(record, name=name, seed=7))
        folds.save(inner / "split.csv", [i.sop_instance_uid for i in chosen[:2]], np.array(roles))
        (inner / "best.ckpt").write_bytes(name.encode())
    predictor.save_run(whole, replace(record, members=("a", "b")))
    (whole / "metrics.json").write_text(json.dumps({"split": "out-of-fold", "images": 2}))

    run = tracing.of_run(folder, "one")
    image = tracing.of_image(folder, pacs, chosen[1].sop_instance_uid)

    assert [one["checkpoint_sha256"] for one in run["run"]["members"]] == [
        hashlib.sha256(name).hexdigest() for name in (b"a", b"b")
    ]
    text = tracing_text.run(run)
    assert "model       the mean of 2 members, MLflow run abc" in text
    assert f"b: checkpoint {hashlib.sha256(b'b').hexdigest()[:12]}, seed 7, 1 test, 1 train" in text
    assert "prediction  its own images, out-of-fold: 2 images" in text
    assert "(job chest, MLflow abc): held out by a; train of b" in tracing_text.image(image)
