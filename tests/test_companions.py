"""What stands beside the image: told from the file, found in the PACS, written into the line."""

import io

import pydicom
import pytest
from specimens import LABELS, dicom

from cxr.contract import manifest
from cxr.labeling import companions, handlers, selection
from cxr.pacs.folder import FolderPacs


def made(number, **changes):
    ds = pydicom.dcmread(io.BytesIO(dicom(number, view=changes.pop("view", "PA"))))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def pacs(tmp_path):
    """Two studies of one patient: 2020 with two frontals and a lateral, 2019 with one frontal."""
    store = FolderPacs(tmp_path / "pacs")
    now = {"StudyInstanceUID": "1.2.4.77", "StudyDate": "20200301", "PatientAge": "093Y"}
    reason = {"ReasonForTheRequestedProcedure": "cough,  fever\n3 days", "PatientSex": "F"}
    store.store(made(1, **now, **reason))
    store.store(made(2, view="LL", **now))
    store.store(made(3, **now))
    store.store(made(4, StudyInstanceUID="1.2.4.66", StudyDate="20190301"))
    store.store(made(5, StudyInstanceUID="1.2.4.55", StudyDate="20180301"))
    store.store(made(6, StudyInstanceUID="1.2.4.44", StudyDate="20200101", PatientID="P10"))
    return store


def test_only_what_is_asked_is_shown(pacs):
    image = pacs.find("1.2.3.1")

    assert companions.shown(image, pacs, []) == {}
    assert companions.shown(image, pacs, ["sex"]) == {"sex": "F"}
    assert companions.shown(image, pacs, ["age", "indication"]) == {
        "age": 90, "indication": "cough, fever 3 days"
    }  # fmt: skip


def test_what_the_file_does_not_say_is_not_shown(pacs):
    assert companions.shown(pacs.find("1.2.3.4"), pacs, ["age", "sex", "indication"]) == {}


def test_companions_are_of_the_study_and_the_last_one_before(pacs):
    found = companions.of(pacs.find("1.2.3.1"), pacs, ["lateral", "frontal", "prior"])

    assert [(c["kind"], c["sop-instance-uid"]) for c in found] == [
        ("lateral", "1.2.3.2"), ("frontal", "1.2.3.3"), ("prior", "1.2.3.4")
    ]  # fmt: skip
    assert found[-1]["days-before"] == 366


def test_the_first_study_of_a_patient_has_no_prior(pacs):
    assert companions.of(pacs.find("1.2.3.5"), pacs, ["prior"]) == []


def test_an_identifier_that_is_a_pattern_finds_no_other_patient(pacs):
    pacs.store(made(7, StudyInstanceUID="1.2.4.33", StudyDate="20210101", PatientID="P1*"))

    assert companions.of(pacs.find("1.2.3.7"), pacs, ["prior"]) == []


def test_a_job_about_studies_has_one_line_a_study(tmp_path, pacs):
    selected = selection.from_query(
        tmp_path, pacs, query={}, views=["frontal"], label_set=LABELS, shown=["sex"],
        study_companions=["lateral"],
    )  # fmt: skip

    lines = list(manifest.read(selected.path))
    assert [line["sop-instance-uid"] for line in lines] == [f"1.2.3.{n}" for n in (6, 5, 4, 1)]
    assert {line["unit"] for line in lines} == {"study"}
    assert [len(line["companions"]) for line in lines] == [0, 0, 0, 1]
    assert lines[-1]["shown"] == {"sex": "F"}
    assert selected.passed_over == {"lateral": 1, "further frontal": 1}


def test_a_companion_has_a_signed_address_of_its_own(tmp_path, pacs):
    selected = selection.from_query(
        tmp_path, pacs, query={"StudyInstanceUID": "1.2.4.77"}, views=["frontal"],
        label_set=LABELS, study_companions=["lateral", "prior"],
    )  # fmt: skip
    environment = {
        "CXR_PACS_URL": "https://pacs.example", "CXR_TOKEN_KEY": "k1:" + "5a" * 32,
        "CXR_VIEWER_URL": "v.js",
    }  # fmt: skip
    (line,) = manifest.read(selected.path)

    task = handlers.load("pre_annotation", environment)({"dataObject": line}, None)["taskInput"]

    assert task["unit"] == "study"
    assert [c["says"] for c in task["companions"]] == ["lateral", "prior, 366 days before"]
    for shown, listed in zip(task["companions"], line["companions"], strict=True):
        assert f"/instances/{listed['source']}/file?token=" in shown["imageUrl"]
