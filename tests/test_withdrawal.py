"""What runs and published tables wrote of single images goes, whatever was killed in between."""

import json
from dataclasses import asdict

import pytest

from cxr.images.dicom import Instance
from cxr.learning import withdrawal
from cxr.pacs import published, withdrawn
from cxr.pacs.withdrawn import Images, Run

UID = "1.2.3.4.5"
IMAGES = Images("mark", (Instance("NIH00000001", "1.2", "1.2.9", UID),))
PICTURE = '<image href="data:image/png;base64,AAAA"/>'


def mark(uid):
    return f"{len(uid):032x}"


def run(root, name, *, split="", predicted=True, **record):
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"run_id": f"id of {name}"} | record))
    rows = f"{UID},{split}\n" if split else ""
    (folder / "split.csv").write_text(f"sop_instance_uid,split\n{rows}9.9,train\n")
    shown = f"{UID},0.5\n" if predicted else ""
    (folder / "predictions.csv").write_text(f"sop_instance_uid,Edema\n{shown}9.9,0.5\n")
    return folder


def left(root):
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(word in path.read_text() for word in (UID, "NIH00000001"))
    ]


def test_what_killed_commands_left_half_written_goes_too(tmp_path):
    folder = run(tmp_path, "a", split="test")
    for name in (".predictions.csv.part", ".split.csv.part", "split.csv.part", ".report.html.part"):
        (folder / name).write_text(UID)
    (folder / ".last.ckpt.part").write_text("a model")
    tables = tmp_path / "published" / "nih"
    tables.mkdir(parents=True)
    (tables / "labels.csv.part").write_text(f"sop_instance_uid,x\n{UID},1\n")
    (tables / "test_patients.txt.part").write_text("NIH00000001\n")
    assert len(left(tmp_path)) == 8

    withdrawal.remove(tmp_path, IMAGES, mark)
    published.forget(tmp_path, IMAGES, ["NIH00000001"])

    assert left(tmp_path) == []
    assert (folder / ".last.ckpt.part").exists()


def test_tables_of_leaks_keep_the_others(tmp_path):
    table = tmp_path / "leaks" / "predictions.csv"  # of a run of this name
    table.parent.mkdir()
    table.write_text(f"shared,patient_id,sop_instance_uid\npatient,NIH00000001,{UID}\np,q,9.9\n")

    withdrawal.remove(tmp_path, IMAGES, mark)

    assert table.read_text() == "shared,patient_id,sop_instance_uid\np,q,9.9\n"


@pytest.mark.parametrize(
    ("page", "shareable", "predicted", "after"),
    [
        (PICTURE, "the same without", True, "the same without"),
        (PICTURE, "the same without", False, PICTURE),
        (PICTURE, None, True, None),  # killed before the other was written
        ("newer", "of an earlier evaluation", True, "newer"),
    ],
)
def test_of_two_reports_the_one_without_pictures_stays(tmp_path, page, shareable, predicted, after):
    folder = run(tmp_path, "a", split="test", predicted=predicted)
    (folder / "report.html").write_text(page)
    if shareable:
        (folder / "report-without-pictures.html").write_text(shareable)

    withdrawal.remove(tmp_path, IMAGES, mark)

    report = folder / "report.html"
    assert (report.read_text() if report.exists() else None) == after


def test_runs_with_weights_of_a_run_that_saw_the_patient_are_listed_however_far_back(tmp_path):
    run(tmp_path, "a", split="train")
    run(tmp_path, "b", weights={"source": "a"})
    run(tmp_path, "c", weights={"source": "b"}, split="test")
    run(tmp_path, "pool", members=["c"])
    run(tmp_path, "tested", split="test")
    run(tmp_path, "after-tested", weights={"source": "tested"})
    run(tmp_path, "imagenet", weights={"source": "densenet121-a639ec97.pth"})

    found = withdrawal.look(tmp_path, IMAGES, mark)

    assert found == [
        Run("a", "id of a", 1, 0, 0, ""),
        Run("b", "id of b", 0, 0, 0, "a"),
        Run("c", "id of c", 0, 0, 1, "b"),
        Run("pool", "id of pool", 0, 0, 0, "c"),
        Run("tested", "id of tested", 0, 0, 1, ""),
    ]
    told = withdrawn.Told(tmp_path, "mark")
    told.write(told.merged(found))
    # stopped in between, the next look finds fewer
    assert [asdict(one) for one in told.merged([])] == [asdict(one) for one in found]
