"""Published tables find their images: MIMIC-CXR by study number, CheXpert by path."""

import io

import pydicom
import pytest
from ingesting import ingest
from specimens import dicom

from cxr.errors import JobError
from cxr.labeling import rows
from cxr.pacs import opening
from cxr.pacs.folder import FolderPacs


def ingested(folder, *paths):
    """Images lying at these paths; gives the PACS and each one's manifest line."""
    for number, path in enumerate(paths, 1):
        place = folder / "in" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(dicom(number, patient=f"P{number}"))
    pacs = FolderPacs(folder / "pacs")
    ingest(folder / "in", pacs, workers=1)
    found = {origin.path: origin.orthanc_id for origin in pacs.origins()}
    return pacs, [{"source": found[path]} for path in paths]


def test_mimic_study_number_is_a_folder(tmp_path):
    pacs, lines = ingested(tmp_path, "p10/p10000032/s50414267/a.dcm", "p10/p10000033/s5041/b.dcm")

    found = rows.match({"50414267": 1, "999": 2}, "study", lines, pacs)

    assert found == {lines[0]["source"]: "50414267"}


def test_chexpert_path_keeps_its_root_and_extension(tmp_path):
    paths = [f"patient{n:05}/study1/view1_frontal.dcm" for n in (1, 2, 3)]
    pacs, lines = ingested(tmp_path, *paths)
    table = {f"CheXpert-v1.0-small/train/patient{n:05}/study1/view1_frontal.jpg": n for n in (1, 2)}

    found = rows.match(table, "path", lines, pacs)

    assert [table.get(found.get(line["source"], "")) for line in lines] == [1, 2, None]


def test_bare_name_finds_the_one_file_called_so(tmp_path):
    pacs, lines = ingested(tmp_path, "images/00000001_000.dcm", "images/00000002_000.dcm")

    found = rows.match({"00000002_000.png": 1}, "path", lines, pacs)

    assert found == {lines[1]["source"]: "00000002_000.png"}


def test_path_that_fits_several_images_is_refused(tmp_path):
    pacs, lines = ingested(tmp_path, "a/view1.dcm", "b/view1.dcm")

    with pytest.raises(JobError, match=r"'view1.jpg' fits several images"):
        rows.match({"view1.jpg": 1}, "path", lines, pacs)


def test_image_of_another_patient_is_never_taken(tmp_path):
    pacs, lines = ingested(tmp_path, "patient9/study1/view1.dcm")

    assert rows.match({"root/patient1/study1/view1.jpg": 1}, "path", lines, pacs) == {}


@pytest.mark.orthanc
def test_numbers_of_studies_are_found_in_a_server_that_knows_no_folders(orthanc, tmp_path):
    with opening.opened(orthanc.section, root=tmp_path) as pacs:
        made = []
        for number in (9701, 9702, 9704):
            ds = pydicom.dcmread(io.BytesIO(dicom(number, patient=f"ROWS{number // 2}")))
            ds.StudyID = f"50{number // 2}"
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            made.append(pacs.store(buffer.getvalue()))
        lines = [{"source": i.orthanc_id, "study-instance-uid": i.study_instance_uid} for i in made]

        found = rows.match({"504851": 1, "999": 2}, "study", lines, pacs)

    assert found == {line["source"]: "504851" for line in lines[1:2]}


@pytest.mark.orthanc
def test_paths_that_nobody_noted_are_refused(orthanc, tmp_path):
    with (
        opening.opened(orthanc.section, root=tmp_path) as pacs,
        pytest.raises(JobError, match="expected sop_instance_uid or study, met path"),
    ):
        rows.match({"view1.jpg": 1}, "path", [{"source": "x"}], pacs)
