"""What Ground Truth left behind, read as this machine would have written it; no AWS."""

import csv
import json

import pytest
from specimens import LABELS, document, roi

from cxr.contract import consolidate, labels, manifest
from cxr.errors import JobError
from cxr.labeling import Job
from cxr.labeling.groundtruth import collecting, state
from cxr.labeling.groundtruth.state import Round

ROUND = Round("chest", "sha", "s3://cxr-bucket/cxr/jobs/chest", 2, status=state.COMPLETED)
LINES = [{"source": s, **labels.to_data_object(LABELS)} for s in ("a", "b")]


@pytest.fixture
def job(tmp_path):
    made = Job("chest", tmp_path, LABELS)
    manifest.write(made.input_manifest, LINES)
    return made


def attribute(*said, dumped=json.dumps):
    """A label attribute as other jobs' Lambdas pass it on: answers and no more."""
    return {
        consolidate.FROM_ALL: [
            {
                "workerId": worker,
                "annotationData": {"content": dumped({"annotation": json.dumps(one)})},
            }
            for worker, one in said
        ]
    }


def left(job, *attributes, name="chest", lines=LINES):
    one = Round(**{**ROUND.__dict__, "name": name})
    path = collecting.fetched(job, one)
    rows = [
        line | {"chest": made, "chest-metadata": {"job-name": "labeling-job/chest"}}
        for line, made in zip(lines, attributes, strict=True)
    ]
    manifest.write(path, rows, max_line=None)
    return one


def compact(form):
    return json.dumps(form, separators=(",", ":"), ensure_ascii=False)


def test_spaces_and_the_order_of_workers_are_not_theirs_to_say(job):
    first = document("aapa", comment="Größe", rois=[roi()])
    second = document("ppaa")
    left(job, attribute(("w1", first), ("w2", second)), attribute(("w1", first)))
    ours = collecting.found(job, [ROUND]).labels

    shuffled = attribute(("w2", second), ("w1", first), dumped=compact)
    left(job, shuffled, attribute(("w1", first), dumped=compact))

    assert json.dumps(collecting.found(job, [ROUND]).labels) == json.dumps(ours)
    assert [one["workerId"] for one in ours["a"][consolidate.FROM_ALL]] == ["w1", "w2"]
    assert ours["a"]["schema"] == manifest.SCHEMA


def test_labels_that_the_lambda_makes_otherwise_are_told(job, caplog):
    left(job, *(attribute(("w1", document(said))) for said in ("aapa", "ppaa")))
    ours = collecting.found(job, [ROUND]).labels

    left(job, ours["a"], ours["b"])
    collecting.merge(job, [ROUND])
    silent = caplog.text
    left(job, ours["a"], ours["b"] | {"findings": []})
    path = collecting.merge(job, [ROUND])

    assert silent == ""
    assert "Lambda made other labels of 1 images than this version makes" in caplog.text
    assert [line["chest"]["findings"] for line in manifest.read(path)] == [
        ours["a"]["findings"], ours["b"]["findings"],
    ]  # fmt: skip


def test_an_answer_that_cannot_be_read_costs_its_own_image_alone(job):
    broken = {consolidate.FROM_ALL: [{"workerId": "w", "annotationData": {"content": "{}"}}]}
    left(job, broken, attribute(("w1", document("aapa"))))

    path = collecting.merge(job, [ROUND])

    assert [manifest.labelled(line, "chest") is None for line in manifest.read(path)] == [
        True, False,
    ]  # fmt: skip
    with (job.folder / "failed.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["index"], row["source"]) == ("0", "a")
    assert row["reason"].startswith("an answer cannot be understood: ")


def test_the_first_label_of_an_image_is_the_one(job):
    said, later = attribute(("w", document("paaa"))), attribute(("w", document("aapa")))
    left(job, said, said)
    again = left(job, later, name="chest-2", lines=LINES[1:])

    told = collecting.found(job, [ROUND, again])

    assert [one["findings"][0]["state"] for one in told.labels.values()] == ["present"] * 2


def test_what_is_labelled_is_not_missing(job):
    left(job, attribute(("w", document("aapa"))), lines=LINES[1:])

    assert [line["source"] for line in collecting.missing(job, [ROUND])] == ["a"]
    assert [line["source"] for line in collecting.missing(job, [])] == ["a", "b"]


def test_the_state_is_read_as_it_was_written(job):
    rounds = [ROUND, Round("chest-2", "s", "s3://b/c", 1, secret="arn")]

    state.write(job.folder, rounds)

    assert state.read(job.folder) == rounds
    assert [one.over for one in rounds] == [True, False]
    assert not list(job.folder.glob("*.part"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": "cxr-groundtruth/2", "jobs": []}',
        '{"schema": "cxr-groundtruth/1", "jobs": [{"name": 1}]}',
    ],
)
def test_a_state_of_another_kind_is_refused(job, text):
    (job.folder / "groundtruth.json").write_text(text)

    with pytest.raises(JobError, match=r'groundtruth.json: expected "schema": "cxr-groundtruth/1"'):
        state.read(job.folder)
