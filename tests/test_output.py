"""What a job leaves behind can be opened in a spreadsheet, and runs nothing there."""

import csv
import json

import pytest
from specimens import LABELS, form, skip

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Job, output


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def written(folder, *objects, label_set=LABELS):
    """Write a job of images, each a dict of worker → form, or None where nobody answered."""
    job = Job("demo", folder, label_set)
    carried = labels.to_data_object(label_set)
    lines = [
        (
            {"source": f"s{i}", **carried, "sop-instance-uid": f"1.2.{i}"},
            consolidate.consolidate(answers, label_set) if answers else None,
        )
        for i, answers in enumerate(objects)
    ]
    output.write(job, lines, human_annotated=True, label_source="readers")
    return job


def test_an_output_line_is_its_input_line_with_two_more_keys(tmp_path):
    job = written(tmp_path, {"ann": form("paaa")}, None)

    first, second = manifest.read(tmp_path / "manifests" / "output" / "output.manifest")

    assert job.output_manifest == tmp_path / "manifests" / "output" / "output.manifest"
    assert list(first)[-2:] == ["demo", "demo-metadata"]
    assert first["demo"]["schema"] == "cxr-consolidated/1"
    assert first["demo-metadata"]["human-annotated"] == "yes"
    assert first["demo-metadata"]["label-source"] == "readers"
    assert second == {"source": "s1", **labels.to_data_object(LABELS), "sop-instance-uid": "1.2.1"}


def test_a_row_an_image(tmp_path):
    written(tmp_path, {"ann": form("paua")}, None, {"ann": skip()})

    assert rows(tmp_path / "labels.csv") == [
        ["sop_instance_uid", "source", "usable", *LABELS.names, "warnings"],
        ["1.2.0", "s0", "True", "present", "absent", "uncertain", "absent",
         "Edema is present but its parent Lung Opacity is absent"],
        ["1.2.2", "s2", "False", *["not_asked"] * 4, ""],
    ]  # fmt: skip


def test_a_row_an_image_reader_and_finding(tmp_path):
    written(tmp_path, {"ann": form("paaa"), "bob": skip("blurred")})

    header, *found = rows(tmp_path / "answers.csv")

    assert header == [
        "sop_instance_uid", "source", "worker_id", "label", "state", "comment", "skipped"
    ]  # fmt: skip
    assert found == [
        ["1.2.0", "s0", "ann", "Edema", "present", "", "False"],
        ["1.2.0", "s0", "ann", "Lung Opacity", "absent", "", "False"],
        ["1.2.0", "s0", "ann", "Support Devices", "absent", "", "False"],
        ["1.2.0", "s0", "ann", "No Finding", "absent", "", "False"],
        ["1.2.0", "s0", "bob", "", "", "blurred", "True"],
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(tmp_path, start):
    evil = start + "cmd|' /C calc'!A0"
    name = evil.strip()
    label_set = LabelSet("evil", (name, "Edema"), parents={"Edema": (name,)})
    said = [
        {"label": label, "state": state, "comment": evil}
        for label, state in zip(label_set.names, ("present", "absent"), strict=True)
    ]

    written(
        tmp_path, {evil: form("pa", label_set, findings=said), "b": skip(evil)},
        label_set=label_set,
    )  # fmt: skip

    cells = [
        cell for name in ("labels.csv", "answers.csv") for row in rows(tmp_path / name)
        for cell in row
    ]  # fmt: skip
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'" + evil in cells


def test_a_source_that_begins_like_a_formula_is_defused_too(tmp_path):
    job = Job("demo", tmp_path, LABELS)
    line = {"source": "=1+1", **labels.to_data_object(LABELS), "sop-instance-uid": "@x"}

    output.write(
        job, [(line, consolidate.consolidate({"a": form("aaap")}, LABELS))],
        human_annotated=True, label_source="readers",
    )  # fmt: skip

    assert rows(tmp_path / "labels.csv")[1][:2] == ["'@x", "'=1+1"]
    assert rows(tmp_path / "answers.csv")[1][:2] == ["'@x", "'=1+1"]


def test_agreement_is_written_beside_it(tmp_path):
    written(tmp_path, {"ann": form("paaa"), "bob": form("paaa")}, {"ann": form("aaap")})

    document = json.loads((tmp_path / "agreement.json").read_text())

    assert document["schema"] == "cxr-agreement/1"
    assert {name: row["objects"] for name, row in document["labels"].items()} == dict.fromkeys(
        LABELS.names, 1
    )


def test_a_page_full_of_polygons_is_kept_whole(tmp_path):
    ring = [[i + 0.25, i + 0.75] for i in range(5000)]
    drawn = {"id": "r", "type": "polygon", "label": "Edema", "points": ring}

    written(tmp_path, {w: form("paaa", rois=[drawn]) for w in ("ann", "bob", "eve")})

    (line,) = manifest.read(tmp_path / "manifests" / "output" / "output.manifest")
    assert [len(roi["points"]) for roi in line["demo"]["rois"]] == [5000] * 3
