"""A de-identified file says nothing of whose it is, and shows the same picture."""

import io
import subprocess
import sys
from datetime import date

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxr.errors import DicomError
from cxr.images import deidentify, dicom, synth

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
NAME = "Drabenstott^Wilhelmine^Zoe"
PATIENT = "MRN-8840217"
PICTURE = (
    "Rows", "Columns", "Modality", "BodyPartExamined", "ViewPosition", "PatientOrientation",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "ImagerPixelSpacing",
    "PixelSpacing", "BurnedInAnnotation", "PresentationLUTShape", "SeriesNumber",
    "SOPClassUID", "PatientSex",
)  # fmt: skip


def parsed(data):
    return pydicom.dcmread(io.BytesIO(data))


def written(ds):
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def radiograph(**changes):
    """A synthetic radiograph of somebody."""
    ds = parsed(synth.draw(1, seed=7, size=(64, 64))[0])
    ds.PatientName, ds.PatientID = NAME, PATIENT
    ds.PatientBirthDate, ds.PatientAge = "19410317", "084Y"
    ds.StudyDate, ds.StudyTime, ds.ContentDate = "20250612", "101533.25", "20250613"
    ds.AccessionNumber, ds.InstitutionName = "ACC5550199", "St. Ottilien Hospital"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def elements(ds):
    """Every element, those in items too."""
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def test_the_picture_stays_the_same():
    before = written(radiograph())

    after = deidentify.deidentify(before, SECRET)

    assert dicom.pixel_hash(after) == dicom.pixel_hash(before)
    assert np.array_equal(dicom.read(after), dicom.read(before))
    assert parsed(after).PixelData == parsed(before).PixelData
    old, new = parsed(before), parsed(after)
    assert {k: old.get(k) for k in PICTURE} == {k: new.get(k) for k in PICTURE}


def test_what_was_done_is_written_into_the_file():
    ds = parsed(deidentify.deidentify(written(radiograph()), SECRET))

    assert ds.PatientIdentityRemoved == "YES"
    assert ds.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [code.CodeValue for code in ds.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert ds.PatientID == ds.PatientName == deidentify.pseudonym(PATIENT, SECRET)
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert ds.preamble == bytes(128)


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    ],
)
def test_the_transfer_syntax_stays(syntax):
    ds = radiograph()
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    again = parsed(written(ds))

    after = deidentify.deidentify(written(again), SECRET)

    assert parsed(after).file_meta.TransferSyntaxUID == syntax
    assert dicom.pixel_hash(after) == dicom.pixel_hash(written(again))


def test_a_study_stays_together_across_files():
    ds = radiograph()
    first = parsed(deidentify.deidentify(written(ds), SECRET))
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.SourceImageSequence = Sequence([item])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"

    second = parsed(deidentify.deidentify(written(ds), SECRET))

    assert second.StudyInstanceUID == first.StudyInstanceUID
    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.SourceImageSequence[0].ReferencedSOPClassUID == ds.SOPClassUID


def test_another_process_gives_the_same_bytes(tmp_path):
    (tmp_path / "in.dcm").write_bytes(written(radiograph()))
    code = (
        "import sys; from pathlib import Path; from cxr.images import deidentify;"
        f"sys.stdout.buffer.write(deidentify.deidentify(Path({str(tmp_path / 'in.dcm')!r})"
        f".read_bytes(), {SECRET!r}))"
    )

    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

    assert there == deidentify.deidentify(written(radiograph()), SECRET)


def test_under_another_secret_nothing_matches():
    one = parsed(deidentify.deidentify(written(radiograph()), SECRET))
    two = parsed(deidentify.deidentify(written(radiograph()), OTHER))

    for keyword in (
        "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate",
    ):  # fmt: skip
        assert one[keyword].value != two[keyword].value, keyword


def test_days_between_the_studies_of_a_patient_stay():
    ds = radiograph()
    first = parsed(deidentify.deidentify(written(ds), SECRET))
    ds.StudyDate = "20250702"
    second = parsed(deidentify.deidentify(written(ds), SECRET))

    shifted = date.fromisoformat(first.StudyDate)
    back = (date(2025, 6, 12) - shifted).days
    assert 1 <= back <= deidentify.LONGEST_SHIFT
    assert (date.fromisoformat(second.StudyDate) - shifted).days == 20
    assert (date.fromisoformat(first.ContentDate) - shifted).days == 1
    assert first.StudyTime == "101500"


@pytest.mark.parametrize(
    ("age", "born", "wanted"),
    [
        ("084Y", "", "084Y"), ("090Y", "", "090Y"), ("103Y", "", "090Y"), ("", "19410317", "084Y"),
        ("", "19310317", "090Y"), ("", "20241201", "006M"), ("", "", ""), ("old", "", ""),
        ("010D", "", "010D"),
    ],
)  # fmt: skip
def test_an_age_stays_up_to_89(age, born, wanted):
    after = deidentify.deidentify(
        written(radiograph(PatientAge=age, PatientBirthDate=born)), SECRET
    )

    assert parsed(after).get("PatientAge", "") == wanted
    assert parsed(after).PatientBirthDate == ""


@pytest.mark.parametrize("value", ["YES", "NO"])
def test_a_word_on_burned_in_text_stays(value):
    after = deidentify.deidentify(written(radiograph(BurnedInAnnotation=value)), SECRET)

    assert dicom.identify(after).burned_in is (value == "YES")


def test_a_file_of_nobody_is_refused():
    with pytest.raises(DicomError, match="PatientID is empty"):
        deidentify.deidentify(written(radiograph(PatientID="")), SECRET)


def test_an_overlay_within_the_pixels_is_refused():
    ds = radiograph()
    ds.add_new(0x60000010, "US", 64)
    ds.add_new(0x60000102, "US", 15)

    with pytest.raises(DicomError, match="overlay 6000 lies in unused bits"):
        deidentify.deidentify(written(ds), SECRET)


def test_a_short_secret_is_none():
    with pytest.raises(ValueError, match="at least 16 bytes"):
        deidentify.deidentify(written(radiograph()), b"short")
