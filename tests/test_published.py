"""Published sets come in by their own tables and folders, and leave labels and splits."""

import csv
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_command import fine, here, problem, run, to
from published_sets import chexpert, mimic, name_of, nih, picture, table

from cxr import config, label, schema
from cxr.contract import manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import JobError, PacsError
from cxr.images import pictures
from cxr.labeling import boxes
from cxr.pacs.folder import FolderPacs
from cxr.pacs.orthanc import OrthancPacs
from cxr.pacs.published import tables

STUDIES = [
    ("10000032", "50414267", "train", {"Edema": "1.0", "Pneumonia": "-1.0"}, ("PA", "LATERAL")),
    ("10000032", "53189527", "train", {"No Finding": "1.0"}, ("AP", "AP")),
    ("10000764", "57375967", "validate", {"Edema": "0.0"}, ("AP",)),
    ("10000935", "50578979", "test", {"Fracture": "1.0"}, ("PA",)),
]
NIH_ROWS = [
    ("00000001_000.png", "Edema|Mass", 0, 1, "058Y", "M", "PA"),
    ("00000001_001.png", "No Finding", 1, 1, "059Y", "M", "AP"),
    ("00000002_000.png", "Hernia", 0, 2, "013M", "F", "PA"),
    ("00000003_000.png", "Edema", 0, 3, "000D", "F", "AP"),
    ("00000004_000.png", "No Finding", 0, 4, "414Y", "F", "PA"),
]


def held(root):
    """What the PACS of a root holds, by SOPInstanceUID."""
    with FolderPacs(root / "pacs") as pacs:
        return {instance.sop_instance_uid: instance for instance in pacs.search()}


def written(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def replayed(root, *overrides):
    """The job that the ingest names; sources' lines of its output manifest."""
    given = config.compose("label", [f"root={root}", "job=published", *overrides])
    cfg = config.check(given, schema.Label)
    label.main(cfg, given)
    path = root / "jobs" / cfg.job.name / "manifests" / "output" / "output.manifest"
    return [(line, manifest.labelled(line, cfg.job.name)) for line in manifest.read(path)]


@pytest.fixture(scope="module")
def mimic_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mimic")
    mimic(folder / "set", STUDIES)
    here(folder / "root", f"folder={folder / 'set'}", "published=mimic_cxr")
    return folder / "root"


def test_mimic_pictures_come_in_under_their_own_numbers(mimic_root):
    found = held(mimic_root).values()

    assert sorted(i.patient_id for i in found) == ["10000032"] * 4 + ["10000764", "10000935"]
    assert len({i.study_instance_uid for i in found}) == 4
    assert sorted(i.view_position for i in found) == ["AP", "AP", "AP", "LATERAL", "PA", "PA"]
    assert {i.burned_in for i in found} == {None}  # nobody says
    assert {i.study_date for i in found} == {"21800506"}


def test_mimic_labels_of_a_study_reach_each_of_its_frontal_images(mimic_root):
    lines = replayed(mimic_root, "job.name=mimic-cxr", "labels=mimic_cxr", "job.key=study")

    instances = held(mimic_root)
    said = {
        (instances[line["sop-instance-uid"]].patient_id, name): state
        for line, found in lines
        for name, state in found.states.items()
    }
    assert len(lines) == 5  # six images, one lateral
    assert sum(found.states["No Finding"] is State.PRESENT for _, found in lines) == 2
    assert said["10000935", "Fracture"] is State.PRESENT
    assert said["10000935", "Edema"] is State.NOT_MENTIONED
    assert said["10000764", "Edema"] is State.ABSENT
    assert {found.document["level"] for _, found in lines} == {"study"}


def test_mimic_split_is_told_by_the_images_of_the_pacs(mimic_root):
    instances = held(mimic_root)

    split = written(mimic_root / "published" / "mimic-cxr" / "split.csv")

    told = {(instances[row["sop_instance_uid"]].patient_id, row["split"]) for row in split}
    assert told == {("10000032", "train"), ("10000764", "val"), ("10000935", "test")}
    assert len(split) == 6


def test_mimic_dicom_files_come_in_as_they_are_and_get_the_same_labels_and_splits(tmp_path):
    def wrap(made, subject, study, view, name):
        header = {
            "PatientID": subject, "StudyID": study, "ViewPosition": view,
            **tables.uids("elsewhere", study=study, instance=name),
        }  # fmt: skip
        return pictures.to_dicom(made, header)

    mimic(tmp_path / "set", STUDIES, wrap=wrap)
    (tmp_path / "set" / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()  # headers say it themselves
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    names = held(tmp_path / "root")
    assert (
        tables.uids("elsewhere", study="50414267", instance=name_of("50414267 0"))["SOPInstanceUID"]
        in names
    )
    at = tmp_path / "root" / "published" / "mimic-cxr"
    assert [row["split"] for row in written(at / "split.csv")].count("train") == 4
    assert len(written(at / "labels.csv")) == 4


def test_mimic_iv_patients_give_sex_and_the_age_at_the_study(tmp_path):
    mimic(tmp_path / "set", STUDIES)
    table(tmp_path / "set" / "patients.csv", ["subject_id", "gender", "anchor_age", "anchor_year"],
          [["10000032", "F", "52", "2178"]])  # fmt: skip
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    found = {(i.patient_id, i.sex, i.age_years) for i in held(tmp_path / "root").values()}
    assert found == {("10000032", "F", 54), ("10000764", "", None), ("10000935", "", None)}


def test_a_second_ingest_stores_nothing_and_finds_all(mimic_root, tmp_path, capsys):
    mimic(tmp_path / "set", STUDIES)
    for _ in range(2):
        here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    assert "0 stored, 6 there already, 0 refused" in capsys.readouterr().out
    assert held(tmp_path / "root").keys() == held(mimic_root).keys()


def test_what_a_plain_ingest_refused_comes_in_as_published(tmp_path, capsys):
    mimic(tmp_path / "set", STUDIES)
    here(tmp_path / "root", f"folder={tmp_path / 'set'}")
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    assert "6 stored, 0 there already, 0 refused" in capsys.readouterr().out


def test_bad_pictures_and_those_without_a_row_are_listed_and_the_others_come_in(tmp_path, capsys):
    mimic(tmp_path / "set", STUDIES)
    at = tmp_path / "set" / "files" / "p10" / "p10000935" / "s50578979"
    (at / "unknown.jpg").write_bytes(picture(9))
    next(at.glob("*-*.jpg")).write_bytes(b"\xff\xd8\xff\xe0 cut off")
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    said = capsys.readouterr().out
    assert "5 stored, 0 there already, 2 refused" in said
    assert "1 images that they have rows about are not in the PACS" in said
    report = (tmp_path / "root" / "ingest" / "report.csv").read_text()
    assert "no row of the set's tables is about it" in report
    assert "no JPEG or PNG that can be read" in report


def test_de_identified_its_tables_name_what_is_in_the_pacs(tmp_path):
    nih(tmp_path / "set", NIH_ROWS, test=["00000003_000.png"])
    given = f"folder={tmp_path / 'set'}", "published=nih14", "ingest.deidentify=basic"
    here(tmp_path / "root", *given)

    found = held(tmp_path / "root")
    at = tmp_path / "root" / "published" / "nih"
    assert {row["sop_instance_uid"] for row in written(at / "labels.csv")} == found.keys()
    (test,) = (at / "test_patients.txt").read_text().split()
    assert test in {i.patient_id for i in found.values()}
    assert not test.startswith("NIH")


@pytest.mark.slow
def test_pictures_come_into_an_orthanc_by_several_processes(tmp_path, own_orthanc):
    patients = [(f"{10000000 + n}", f"{50000000 + n}", "train", {"Edema": "1.0"}, ("PA",))
                for n in range(26)]  # fmt: skip
    mimic(tmp_path / "set", patients)
    asked = (f"folder={tmp_path / 'set'}", "published=mimic_cxr", *to(own_orthanc))

    first, *_ = fine(run(tmp_path / "root", *asked, "workers=2", server=own_orthanc))
    again, *_ = fine(run(tmp_path / "root", *asked, server=own_orthanc))

    assert first.startswith("26 stored, 0 there already, 0 refused")
    assert again.startswith("0 stored, 26 there already, 0 refused")
    with OrthancPacs.opened(own_orthanc.section, root=tmp_path) as pacs:
        found = list(pacs.search())
    split = written(tmp_path / "root" / "published" / "mimic-cxr" / "split.csv")
    assert {i.sop_instance_uid for i in found} == {row["sop_instance_uid"] for row in split}


def test_chexpert_comes_in_with_sex_age_and_view(tmp_path):
    rows = [
        ("patient00001", "study1", "view1_frontal", "Female", "68", "AP", {"Edema": "1.0"}),
        ("patient00002", "study2", "view2_lateral", "Male", "90", "", {"Edema": "-1.0"}),
        ("patient00002", "study2", "view1_frontal", "Unknown", "0", "PA", {"Edema": "-1.0"}),
    ]
    valid = [("patient64541", "study1", "view1_frontal", "Male", "73", "AP", {"Edema": "0.0"})]
    chexpert(tmp_path / "set" / "CheXpert-v1.0-small", rows, valid)
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=chexpert")

    found = {(i.patient_id, i.view, i.sex, i.age_years) for i in held(tmp_path / "root").values()}
    assert found == {
        ("patient00001", "frontal", "F", 68), ("patient00002", "lateral", "M", 90),
        ("patient00002", "frontal", "", 0), ("patient64541", "frontal", "M", 73),
    }  # fmt: skip
    tests = tmp_path / "root" / "published" / "chexpert" / "test_patients.txt"
    assert tests.read_text() == "patient64541\n"
    lines = replayed(tmp_path / "root", "job.name=chexpert", "labels=mimic_cxr")
    states = sorted(str(found.states["Edema"]) for _, found in lines)
    assert states == ["absent", "present", "uncertain"]


@pytest.mark.parametrize("sex", ["Patient Gender", "Patient Sex"])
def test_nih_comes_in_by_either_version_of_its_table(tmp_path, sex, capsys):
    name = "Data_Entry_2017_v2020.csv" if sex == "Patient Sex" else "Data_Entry_2017.csv"
    nih(tmp_path / "set", NIH_ROWS, test=["00000003_000.png"], sex=sex, name=name)
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=nih14")

    found = held(tmp_path / "root").values()
    ages = {i.patient_id: i.age_years for i in found if i.patient_id != "NIH00000001"}
    assert ages["NIH00000002"] == pytest.approx(13 / 12)
    assert ages["NIH00000003"] == 0
    assert ages["NIH00000004"] == 414  # as published; the doctor objects
    assert "implausible_age" in capsys.readouterr().out
    tests = tmp_path / "root" / "published" / "nih" / "test_patients.txt"
    assert tests.read_text() == "NIH00000003\n"
    lines = replayed(tmp_path / "root", "job.name=nih", "labels=nih14")
    named = {n for _, found in lines for n, s in found.states.items() if s is State.PRESENT}
    assert named == {"Edema", "Mass", "Hernia", "No Finding"}


def test_the_boxes_of_nih_become_regions_of_the_job(tmp_path):
    drawn_by_a_radiologist = [
        ("00000003_000.png", "Edema", 10.5, 4, 20, 8),
        ("00000001_000.png", "Infiltrate", 0, 0, 5, 5),  # as that table spells it
        ("00000099_000.png", "Mass", 0, 0, 5, 5),  # not downloaded
    ]
    nih(tmp_path / "set", NIH_ROWS, boxes=drawn_by_a_radiologist)
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=nih14")

    at = tmp_path / "root" / "published" / "nih" / "boxes.csv"
    lines = replayed(tmp_path / "root", "job.name=nih", "labels=nih14", f"job.boxes={at}")
    drawn = {roi["label"]: roi for _, found in lines for roi in found.rois}
    assert drawn.keys() == {"Edema", "Infiltration"}
    assert drawn["Edema"]["points"] == [[10.5, 4.0], [30.5, 12.0]]
    assert (drawn["Edema"]["type"], drawn["Edema"]["workerId"]) == ("rectangle", "publisher")
    rois = written(tmp_path / "root" / "jobs" / "nih" / "rois.csv")
    assert [row["x_max"] for row in rois if row["label"] == "Edema"] == ["30.5"]


@pytest.mark.parametrize(
    ("row", "told"),
    [("1,Edema,0,0,0,5", "expected a box from x_min, y_min to a larger x_max, y_max"),
     ("1,Edema,0,0,nan,5", "expected a box from"), ("1,Edema,0,,4,5", "expected four numbers"),
     ("1,Flu,0,0,4,5", "Flu")],
)  # fmt: skip
def test_a_box_that_is_none_is_one_line_that_says_where(tmp_path, row, told):
    path = tmp_path / "boxes.csv"
    path.write_text(f"sop_instance_uid,label,x_min,y_min,x_max,y_max\n{row}\n")

    with pytest.raises(JobError, match=told) as caught:
        boxes.read(path, LabelSet("two", ("Edema", "Mass")))
    assert str(caught.value).startswith(f"{path}:2: ")


def test_a_withdrawn_patient_leaves_the_tables_too(tmp_path):
    nih(tmp_path / "set", NIH_ROWS, test=["00000003_000.png"])
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=nih14")
    killed = tmp_path / "root" / "ingest" / "report.csv.part"
    killed.write_text("NIH00000003")
    here(tmp_path / "root", "withdraw=NIH00000003")

    assert not killed.exists()
    at = tmp_path / "root" / "published" / "nih"
    assert len(written(at / "labels.csv")) == len(NIH_ROWS) - 1
    assert (at / "test_patients.txt").read_text() == ""
    here(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=nih14")
    assert (at / "test_patients.txt").read_text() == ""
    assert len(written(at / "labels.csv")) == len(NIH_ROWS) - 1


def _without(folder, name, column):
    """Take a column out of a table."""
    path = folder / name
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    header = [known for known in rows[0] if known != column]
    table(path, header, [[row[known] for known in header] for row in rows])


@pytest.mark.parametrize(
    ("name", "column"),
    [("mimic-cxr-2.0.0-chexpert.csv.gz", "Lung Opacity"),
     ("mimic-cxr-2.0.0-metadata.csv.gz", "ViewPosition"),
     ("mimic-cxr-2.0.0-split.csv.gz", "split")],
)  # fmt: skip
def test_a_missing_column_is_one_line_that_names_it(tmp_path, name, column):
    mimic(tmp_path / "set", STUDIES)
    _without(tmp_path / "set", name, column)

    said = problem(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    assert name in said
    assert f"expected a column {column}" in said


def test_a_folder_without_the_sets_tables_is_one_line_that_names_them(tmp_path):
    nih(tmp_path / "set", NIH_ROWS)

    said = problem(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=chexpert")
    assert "expected train.csv or */train.csv in it, met none" in said
    said = problem(
        tmp_path / "root", f"folder={tmp_path / 'set' / 'images_001'}", "published=nih14"
    )
    assert "give the folder with the set's tables" in said


def test_mimic_pictures_without_the_metadata_are_one_line(tmp_path):
    mimic(tmp_path / "set", STUDIES)
    (tmp_path / "set" / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()

    said = problem(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    assert "expected a table mimic-cxr-*-metadata.csv in it" in said


def test_an_unknown_split_is_one_line(tmp_path):
    mimic(tmp_path / "set", [("10000032", "50414267", "dev", {}, ("PA",))])

    said = problem(tmp_path / "root", f"folder={tmp_path / 'set'}", "published=mimic_cxr")

    assert "expected train, validate, test in column split, met 'dev'" in said


def test_a_damaged_table_is_one_line(tmp_path):
    whole = bytearray(gzip.compress(b"dicom_id,split\n" + b"02aa804e,train\n" * 9))
    whole[20:32] = b"\xff" * 12
    path = tmp_path / "split.csv.gz"
    path.write_bytes(whole)

    with pytest.raises(PacsError, match=r"split.csv.gz: expected a CSV in UTF-8, met Error -3"):
        list(tables.rows(path, ["dicom_id"]))


def test_of_a_table_without_header_nobody_is_quoted(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("10000032,Mueller Hans,train\n")

    with pytest.raises(PacsError, match=r"expected a column dicom_id, met 3 others$"):
        list(tables.rows(path, ["dicom_id"]))


def test_uids_never_change_for_they_are_what_repeats_are_known_by():
    made = tables.uids("nih14", study="00000001_000", instance="00000001_000")

    assert made == {
        "StudyInstanceUID": "2.25.231440907786838955841869251213285139317",
        "SeriesInstanceUID": "2.25.288244274788054533658116654257517669887",
        "SOPInstanceUID": "2.25.76932651699838269141653587176447668786",
    }


@given(st.text(max_size=12))
def test_whatever_stands_for_an_age_becomes_one_or_nothing(text):
    made = tables.age(text)

    assert made == "" or (made[:3].isdecimal() and made[3:] in "DWMY" and len(made) == 4)


@given(st.integers(0, 999), st.sampled_from("DWMY"))
def test_an_age_as_dicom_writes_it_stays_as_it_is(number, unit):
    assert tables.age(f"{number:03d}{unit}") == f"{number:03d}{unit}"


@given(st.text(max_size=30))
def test_whatever_stands_for_a_view_is_a_dicom_code(text):
    made = tables.position(text)

    assert len(made) <= 16
    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _")
