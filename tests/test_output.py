"""What a job leaves behind can be opened in a spreadsheet, and runs nothing there."""

import csv
import json

import pytest
from specimens import LABELS, form, roi, skip

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import LabelSet, State
from cxr.labeling import Job, consolidation, output, regions
from cxr.labeling.decisions import Decision


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def written(folder, *objects, label_set=LABELS, extras=None, **changes):
    """Write a job of images, each a dict of worker → form, or None where nobody answered."""
    job = Job("demo", folder, label_set, **changes)
    carried = labels.to_data_object(label_set)
    lines = [
        (
            {"source": f"s{i}", **carried, "sop-instance-uid": f"1.2.{i}"},
            consolidate.consolidate(answers, label_set) if answers else None,
        )
        for i, answers in enumerate(objects)
    ]
    output.write(job, lines, human_annotated=True, label_source="readers", extras=extras)
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
    drawn = [roi(id=evil, comment=evil, label=name)]

    written(
        tmp_path,
        {evil: form("pa", label_set, findings=said, rois=drawn), "b": skip(evil)},
        label_set=label_set, consolidation="dawid_skene",
    )  # fmt: skip

    cells = [
        cell for name in ("labels", "answers", "rois", "probabilities")
        for row in rows(tmp_path / f"{name}.csv") for cell in row
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


def test_metadata_says_by_which_rule_and_what_was_shown_with_each_image(tmp_path):
    job = Job("demo", tmp_path, LABELS, consolidation="any_present", shown=("age", "sex"))
    prior = {"kind": "prior", "source": "s9", "sop-instance-uid": "1.2.9", "days-before": 3}
    told = [{}, {"shown": {"sex": "F"}}, {"unit": "study", "companions": [prior], "shown": {}}]
    lines = [
        (
            {"source": f"s{i}", **labels.to_data_object(LABELS), **one},
            consolidate.consolidate({"ann": form("paaa")}, LABELS),
        )
        for i, one in enumerate(told)
    ]
    output.write(job, lines, human_annotated=True, label_source="readers")

    found = [line["demo-metadata"] for line in manifest.read(job.output_manifest)]

    assert [one["consolidation"] for one in found] == ["any_present"] * 3
    assert [one["shown"] for one in found] == [[], ["sex"], []]
    assert [one["unit"] for one in found] == ["image", "image", "study"]
    assert [one["companions"] for one in found] == [[], [], ["prior"]]


def test_of_a_replay_no_rule_is_said(tmp_path):
    job = Job("demo", tmp_path, LABELS)
    line = {"source": "s0", **labels.to_data_object(LABELS)}
    findings = [{"label": n, "state": "not_mentioned", "votes": {}} for n in LABELS.names]
    replayed = {"schema": manifest.SCHEMA, "findings": findings, consolidate.FROM_ALL: []}

    output.write(job, [(line, replayed)], human_annotated=False, label_source="model")

    (found,) = manifest.read(job.output_manifest)
    assert found["demo"] == replayed
    assert "consolidation" not in found["demo-metadata"]


def test_a_job_is_consolidated_by_its_rule(tmp_path):
    answers = {"ann": form("paaa"), "bob": form("aaap"), "eve": form("aaap")}

    written(tmp_path, answers, consolidation="any_present")

    assert rows(tmp_path / "labels.csv")[1][3:7] == ["present", "absent", "absent", "absent"]
    assert not (tmp_path / "probabilities.csv").exists()
    assert not (tmp_path / "readers.json").exists()


def test_decisions_are_heeded_and_kept(tmp_path):
    decision = Decision("judge", form("upaa", rois=[roi(id="j1")]), 0.0)

    job = written(
        tmp_path, {"ann": form("paaa"), "bob": form("aaap")}, consolidation="adjudicated",
        extras=output.Extras(decisions={"s0": decision}),
    )  # fmt: skip

    (line,) = manifest.read(job.output_manifest)
    assert manifest.labelled(line, "demo").states["Edema"] == "uncertain"
    assert line["demo"]["adjudication"]["annotationData"]["content"] == decision.content
    assert rows(tmp_path / "rois.csv")[1][2:5] == ["judge", "True", "j1"]
    assert {row[2] for row in rows(tmp_path / "answers.csv")[1:]} == {"ann", "bob"}


def weighed(folder, **changes):
    objects = [
        {w: form(("p" if i % 3 == 0 else "a") + "aaa") for w in ("ann", "bob", "eve")}
        for i in range(40)
    ]
    return written(folder, *objects, None, {"ann": skip()}, **changes)


def test_weighed_readers_leave_probabilities_and_what_is_thought_of_them(tmp_path):
    job = weighed(tmp_path, consolidation="dawid_skene")

    header, first, second, *_, skipped = rows(tmp_path / "probabilities.csv")
    lines = list(manifest.read(job.output_manifest))
    assert header == ["sop_instance_uid", "source", *LABELS.findings]
    assert float(first[2]) == manifest.labelled(lines[0]).probabilities["Edema"] > 0.9
    assert float(second[2]) < 0.1
    assert first[3] == ""  # nobody ever saw Lung Opacity
    assert skipped[2:] == ["", "", ""]
    readers = json.loads((tmp_path / "readers.json").read_text())
    assert readers["schema"] == "cxr-readers/1"
    assert set(readers["labels"]["Edema"]["workers"]) == {"ann", "bob", "eve"}
    assert readers["labels"]["Lung Opacity"] == {"fell_back": "0 positives"}


def test_another_rule_leaves_no_probabilities_of_an_earlier_one(tmp_path):
    weighed(tmp_path, consolidation="dawid_skene")
    weighed(tmp_path)

    assert not (tmp_path / "probabilities.csv").exists()
    assert not (tmp_path / "readers.json").exists()


def test_what_training_reads_is_the_same_under_every_rule(tmp_path):
    found = {}
    for rule in consolidation.RULES:
        job = weighed(tmp_path / rule, consolidation=rule)
        found[rule] = [
            labelled.states
            for line in manifest.read(job.output_manifest)
            if (labelled := manifest.labelled(consolidate.completed(line)))
        ]

    assert all(states == found["majority"] for states in found.values())


def test_a_row_a_roi_with_its_size(tmp_path):
    image = {"pixelSpacing": [0.5, 0.25]}
    drawn = [
        roi(points=[[10, 20], [30, 60]]),
        roi(id="r2", type="length", label="Support Devices", points=[[0, 0], [40, 0]]),
        roi(id="r3", type="point", points=[[7.5, 8]]),
    ]

    written(tmp_path, {"ann": form("paaa", rois=drawn, image=image)})

    header, *found = rows(tmp_path / "rois.csv")
    assert header == [
        "sop_instance_uid", "source", "worker_id", "adjudicator", "id", "label", "type", "state",
        "length_mm", "area_mm2", "spacing", "x_min", "y_min", "x_max", "y_max", "comment",
    ]  # fmt: skip
    assert [row[:2] for row in found] == [["1.2.0", "s0"]] * 3
    assert found[0][4:] == [
        "r1", "Edema", "rectangle", "present", "", "100.0", "PixelSpacing", "10.0", "20.0",
        "30.0", "60.0", "",
    ]  # fmt: skip
    assert found[1][8:11] == ["10.0", "", "PixelSpacing"]
    assert found[2][8:15] == ["", "", "", "7.5", "8.0", "7.5", "8.0"]


def test_the_box_around_an_ellipse_askew_holds_all_of_it(tmp_path):
    askew = [[0, 0], [100, 100], [40, 60], [60, 40]]
    drawn = roi(type="ellipse", points=askew)

    written(tmp_path, {"ann": form("paaa", rois=[drawn])})

    box = [float(side) for side in rows(tmp_path / "rois.csv")[1][11:15]]
    assert box == pytest.approx(regions.outline("ellipse", askew).bounds, abs=0.1)


def test_quality_is_written_beside_it(tmp_path):
    timing = {"activeMs": 12_000}
    edema, none = ({**dict.fromkeys(LABELS.findings, State.ABSENT), "Edema": s}
                   for s in (State.PRESENT, State.ABSENT))  # fmt: skip

    written(
        tmp_path, {"ann": form("paaa", timing=timing), "bob": skip()},
        extras=output.Extras(
            known={"ann": [(edema, none)]}, repeats={"ann": [(edema, edema), (none, none)]}
        ),
    )  # fmt: skip

    document = json.loads((tmp_path / "quality.json").read_text())
    ann, bob = document["workers"]["ann"], document["workers"]["bob"]
    assert document["schema"] == "cxr-quality/1"
    assert ann["pace"] == {
        "answered": 1, "median_active_s": 12.0, "images_per_active_hour": 300.0
    }  # fmt: skip
    assert ann["honeypots"]["sensitivity"]["value"] == 0
    assert ann["honeypots"]["specificity"]["value"] == 1
    assert ann["repeats"]["kappa"] == 1
    assert bob == {
        "pace": {"answered": 1, "median_active_s": None, "images_per_active_hour": None},
        "honeypots": None,
        "repeats": None,
    }


def test_a_page_full_of_polygons_is_kept_whole(tmp_path):
    ring = [[i + 0.25, i + 0.75] for i in range(5000)]
    drawn = {"id": "r", "type": "polygon", "label": "Edema", "points": ring}

    written(tmp_path, {w: form("paaa", rois=[drawn]) for w in ("ann", "bob", "eve")})

    (line,) = manifest.read(tmp_path / "manifests" / "output" / "output.manifest")
    assert [len(roi["points"]) for roi in line["demo"]["rois"]] == [5000] * 3


def test_a_file_being_downloaded_stays_whole_while_the_job_is_collected_again(tmp_path):
    written(tmp_path, {"ann": form("paaa")})

    with (tmp_path / "labels.csv").open() as download:
        written(tmp_path, {"ann": form("aaap")}, {"ann": form("aaap")})
        first = download.read()

    assert "present,absent,absent,absent" in first
    assert len(rows(tmp_path / "labels.csv")) == 3
    assert [path.name for path in tmp_path.rglob("*.part")] == []
