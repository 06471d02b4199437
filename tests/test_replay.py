"""Existing labels arrive in the output manifest as the CSV says them, five states kept apart."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingesting import ingest
from specimens import dicom

from cxr.contract import manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import JobError
from cxr.labeling import Existing, Job, selection
from cxr.labeling.replay import ReplayLabeling, read
from cxr.pacs.folder import FolderPacs

PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN
NOT_MENTIONED, NOT_ASKED = State.NOT_MENTIONED, State.NOT_ASKED
LABELS = LabelSet(
    "few",
    ("Edema", "Pleural Effusion", "Lung Opacity", "No Finding"),
    no_finding="No Finding",
    parents={"Lung Opacity": ("Edema",)},
    aliases={"Effusion": "Pleural Effusion"},
)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """Four images, ingested as a.dcm, b.dcm, sub/c.dcm and d.dcm; a and b are not one study."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "sub").mkdir()
    for number, name in enumerate(["a.dcm", "b.dcm", "sub/c.dcm", "d.dcm"], 1):
        (folder / name).write_bytes(dicom(number, view="LL" if number == 4 else "PA"))
    store = FolderPacs(tmp_path_factory.mktemp("pacs"))
    ingest(folder, store)
    return store


def existing(path, text, key="sop_instance_uid", **changes):
    path.write_text(text)
    given = {"key_column": None, "column": None, "unlisted": "absent"} | changes
    return Existing(path, key, label_source="report-text-mined", **given)


def table(tmp_path, text, **changes):
    return read(existing(tmp_path / "labels.csv", text, **changes), LABELS)


def replayed(tmp_path, pacs, text, **changes):
    """Run a whole job; its output lines by SOPInstanceUID's last part."""
    source = existing(tmp_path / "labels.csv", text, **changes)
    job = Job("old", tmp_path / "job", LABELS, existing=source)
    selected = selection.from_query(
        job.folder, pacs, query={}, views=["frontal", "lateral"], label_set=LABELS
    )
    backend = ReplayLabeling(pacs=pacs)
    backend.start(job, selected.path)
    assert backend.status(job).state == "Completed"
    path = backend.collect(job)
    return {line["sop-instance-uid"].rpartition(".")[2]: line for line in manifest.read(path)}


def states(line):
    return list(manifest.labelled(line, "old").states.values())


def test_names_joined_by_bars_are_present_and_the_rest_absent(tmp_path):
    found = table(tmp_path, "sop_instance_uid,finding_labels\n1,Edema|effusion\n2,No Finding\n3,\n")

    assert [list(s.values()) for s in found.states.values()] == [
        [PRESENT, PRESENT, ABSENT, ABSENT],
        [ABSENT, ABSENT, ABSENT, PRESENT],
        [ABSENT, ABSENT, ABSENT, PRESENT],
    ]
    assert list(found.states["1"]) == list(LABELS.names)


def test_what_a_list_does_not_name_may_count_as_not_mentioned(tmp_path):
    found = table(tmp_path, "SOPInstanceUID,findings\n1,Edema\n", unlisted="not_mentioned")

    assert list(found.states["1"].values()) == [PRESENT, NOT_MENTIONED, NOT_MENTIONED, ABSENT]


def test_a_name_the_label_set_lacks_is_no_absence_of_findings(tmp_path):
    found = table(tmp_path, "sop_instance_uid,finding_labels\n1,Hernia\n")

    assert list(found.states["1"].values()) == [ABSENT, ABSENT, ABSENT, ABSENT]


@pytest.mark.parametrize("suffix", ["", ".0"])
def test_columns_keep_five_states_apart(tmp_path, suffix):
    rows = f"a,1{suffix},0{suffix},\nb,-1{suffix}, ,0{suffix}\n"

    found = table(tmp_path, "sop_instance_uid,Edema,Effusion,No Finding\n" + rows)

    assert list(found.states["a"].values()) == [PRESENT, ABSENT, NOT_ASKED, NOT_MENTIONED]
    assert list(found.states["b"].values()) == [UNCERTAIN, NOT_MENTIONED, NOT_ASKED, ABSENT]


def test_names_the_label_set_lacks_are_counted(tmp_path):
    text = "sop_instance_uid,finding_labels\n1,Edema|Hernia\n2,Hernia|Mass\n"

    assert table(tmp_path, text).unknown == {"Hernia": 2, "Mass": 1}


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    found = table(tmp_path, "\ufeffsop_instance_uid,Edema\r\n1,1\r\n")

    assert found.states["1"]["Edema"] is PRESENT


def test_the_same_row_twice_is_one_row(tmp_path):
    assert len(table(tmp_path, "sop_instance_uid,Edema\n1,1\n1,1.0\n").states) == 1


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("", r"expected a column 'sop_instance_uid' or .*, met an empty file; name it with"),
        ("uid,Edema\n1,1\n", "expected a column 'sop_instance_uid' or .*, met uid, Edema"),
        ("sop_instance_uid,age\n1,1\n", "expected a column 'finding_labels' or 'Finding Labels'"),
        ("sop_instance_uid,Edema\n1,1\n2,yes\n", r':3: expected 1, 0, -1 or nothing in "Edema", '),
        ("sop_instance_uid,Edema\n1,2\n", r':2: .* met "2"'),
        ("sop_instance_uid,Edema\n1,.0\n", r':2: .* met ".0"'),
        ("sop_instance_uid,Edema\n1,1.00\n", 'met "1.00"'),
        ("sop_instance_uid,Edema\n,1\n", r':2: expected a sop_instance_uid in "sop_inst'),
        ("sop_instance_uid,Edema\n1,1\n1,0\n", r":3: expected one row about '1', met another"),
        ("sop_instance_uid,age,Edema\n1,7,1\n2,8\n", r":3: expected 3 cells as in the header"),
        ("sop_instance_uid,Edema\n1,1,1\n", r":2: expected 2 cells as in the header"),
        ("sop_instance_uid,Effusion,Pleural Effusion\n1,1,0\n",
         "expected one column for 'Pleural Effusion', met 'Effusion' and 'Pleural Effusion'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, met):
    with pytest.raises(JobError, match=met) as caught:
        table(tmp_path, text)

    assert str(caught.value).startswith(str(tmp_path / "labels.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_csv_is_named(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"sop_instance_uid,Edema\n\xff\xfe,1\n")
    nothing = Existing(tmp_path / "none.csv", "path", None, None, "absent", "readers")
    broken = Existing(tmp_path / "labels.csv", "sop_instance_uid", None, None, "absent", "model")

    with pytest.raises(JobError, match=r"none\.csv: expected a CSV file, met No such file"):
        read(nothing, LABELS)
    with pytest.raises(JobError, match=r"labels\.csv: expected a CSV file in UTF-8, met"):
        read(broken, LABELS)


def test_columns_may_be_named(tmp_path):
    text = "uid,said,labels\n1,Edema,Effusion\n"

    found = table(tmp_path, text, key_column="uid", column="said")

    assert found.states["1"]["Edema"] is PRESENT
    with pytest.raises(JobError, match="expected a column 'saidd', met uid, said, labels"):
        table(tmp_path, text, key_column="uid", column="saidd")


cells = st.sampled_from(["1", "0", "-1", "", "1.0", "0.0", "-1.0"])
MEANS = {"1": PRESENT, "0": ABSENT, "-1": UNCERTAIN, "": NOT_MENTIONED}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(cells, cells, cells), max_size=20))
def test_every_cell_is_read_as_published(tmp_path, rows):
    text = "sop_instance_uid,No Finding,Edema,Lung Opacity\n"
    text += "".join(f"{i},{','.join(row)}\n" for i, row in enumerate(rows))

    found = table(tmp_path, text).states

    for i, (normal, edema, opacity) in enumerate(rows):
        expected = [edema, None, opacity, normal]
        assert list(found[str(i)].values()) == [
            NOT_ASKED if cell is None else MEANS[cell.replace(".0", "")] for cell in expected
        ]


def test_a_job_of_existing_labels_says_that_nobody_read(tmp_path, pacs):
    lines = replayed(tmp_path, pacs, "sop_instance_uid,Edema\n1.2.3.1,1\n1.2.3.2,-1\n")

    assert set(lines) == {"1", "2"}
    assert states(lines["1"]) == [PRESENT, NOT_ASKED, NOT_ASKED, NOT_ASKED]
    assert states(lines["2"])[0] is UNCERTAIN
    assert lines["1"]["old-metadata"]["human-annotated"] == "no"
    assert lines["1"]["old-metadata"]["label-source"] == "report-text-mined"
    assert lines["1"]["old"]["level"] == "image"
    assert lines["1"]["old"]["annotationsFromAllWorkers"] == []
    assert lines["1"]["old"]["findings"][0]["reason"] == "replayed"


def test_a_study_row_goes_to_each_of_its_images(tmp_path, pacs):
    lines = replayed(tmp_path, pacs, "study_instance_uid,Edema\n1.2.4.1,1\n", key="study")

    assert set(lines) == {"2", "3"}
    assert {line["old"]["level"] for line in lines.values()} == {"study"}
    assert {states(line)[0] for line in lines.values()} == {PRESENT}


@pytest.mark.parametrize("name", ["sub/c.dcm", "c.dcm"])
def test_a_path_row_finds_the_file_it_came_from(tmp_path, pacs, name):
    lines = replayed(tmp_path, pacs, f"Path,Edema\na.dcm,0\n{name},1\n", key="path")

    assert {k: states(line)[0] for k, line in lines.items()} == {"1": ABSENT, "3": PRESENT}


def test_two_paths_of_one_image_must_agree(tmp_path, pacs):
    with pytest.raises(JobError, match=r"the same labels for 'c\.dcm' and 'sub/c\.dcm', which are"):
        replayed(tmp_path, pacs, "Path,Edema\nsub/c.dcm,0\nc.dcm,1\n", key="path")


def test_contradictions_in_existing_labels_are_warnings(tmp_path, pacs):
    text = "sop_instance_uid,Edema,Lung Opacity\n1.2.3.1,1,0\n"

    (line,) = replayed(tmp_path, pacs, text).values()

    assert line["old"]["warnings"] == ["Edema is present but its parent Lung Opacity is absent"]


def test_rows_about_no_image_and_images_without_row_are_told(tmp_path, pacs, caplog):
    text = "sop_instance_uid,finding_labels\n1.2.3.1,Edema\n9.9,Edema|Hernia\n"

    with caplog.at_level(logging.WARNING):
        replayed(tmp_path, pacs, text)

    assert "1 names are not in label set few" in caplog.text
    assert "3 images have no row" in caplog.text
    assert "1 rows are about no image of the job" in caplog.text
    assert (tmp_path / "job" / "unmatched.csv").read_text().split() == ["sop_instance_uid", "9.9"]


def test_a_csv_about_other_images_is_refused(tmp_path, pacs):
    with pytest.raises(JobError, match="expected rows about images of the job, met 1 rows about o"):
        replayed(tmp_path, pacs, "sop_instance_uid,Edema\n9.9,1\n")


def test_without_a_csv_it_says_which_key_is_missing(tmp_path, pacs):
    with pytest.raises(JobError, match=r"expected job\.answers=PATH"):
        ReplayLabeling(pacs=pacs).start(Job("old", tmp_path, LABELS), tmp_path)


@pytest.mark.real
def test_the_published_labels_of_nih_are_read(shared):
    names = [
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
        "No Finding",
    ]
    nih14 = LabelSet("nih14", tuple(names), no_finding="No Finding")
    path = shared / "nih-cxr" / "labels.csv"

    found = read(Existing(path, "sop_instance_uid", None, None, "absent", "model"), nih14)

    text = path.read_text()
    assert len(found.states) == len(text.splitlines()) - 1
    assert found.unknown == {}
    for name in nih14.names:
        present = sum(states[name] is PRESENT for states in found.states.values())
        named = sum(name in line.rpartition(",")[2].split("|") for line in text.splitlines())
        assert present == named
