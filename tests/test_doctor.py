"""What is wrong with a file: each rule on its own, and the verdict on every public sample."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame

from cxr.images import dicom, doctor, synth

GOOD, _ = synth.draw(0, size=(64, 56))


def changed(**attributes: Any) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    for keyword, value in attributes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    file = io.BytesIO()
    ds.save_as(file)
    return file.getvalue()


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "good.dcm").write_bytes(GOOD)

    found = doctor.examine(tmp_path / "good.dcm")

    assert found.problems == ()
    assert found.pixel_hash == dicom.pixel_hash(GOOD)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT"}, "Modality is 'CT', expected one of CR, DX, DR, RG"),
        ({"Modality": ""}, "Modality is '', expected one of CR, DX, DR, RG"),
        ({"BodyPartExamined": "KNEE"}, "BodyPartExamined is 'KNEE', expected CHEST"),
        ({"PatientID": ""}, "PatientID is empty, splits need patients"),
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
        ({"SeriesInstanceUID": "abc"}, "SeriesInstanceUID is 'abc', expected a UID"),
        ({"NumberOfFrames": 3}, "holds 3 frames, expected one"),
        ({"PixelData": None}, "holds no pixel data, or ends before it (truncated)"),
        (
            {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
            "PhotometricInterpretation is 'RGB' with 3 samples per pixel, expected MONOCHROME1 "
            "or MONOCHROME2 with one",
        ),
    ],
)
def test_each_rule_names_what_it_met(attributes: dict[str, Any], reason: str) -> None:
    assert doctor.problems(changed(**attributes)) == [reason]


def test_all_reasons_are_listed() -> None:
    found = doctor.problems(changed(Modality="MR", BodyPartExamined="HEAD", NumberOfFrames=2))
    assert [reason.split()[0] for reason in found] == ["Modality", "BodyPartExamined", "holds"]


@pytest.mark.parametrize("part", ["", "chest", "CHEST PA", "THORAX"])
def test_a_chest_by_other_names_comes_in(part: str) -> None:
    assert doctor.problems(changed(BodyPartExamined=part)) == []


def test_contradicting_identifiers_are_refused() -> None:
    file = changed(SOPInstanceUID="1.2.3")
    assert "MediaStorageSOPInstanceUID" in doctor.problems(file)[0]


@pytest.mark.parametrize("keep", [0, 100, 131, 400, 900, len(GOOD) - 2])
def test_a_truncated_file_is_refused(keep: int) -> None:
    assert doctor.problems(GOOD[:keep])


@pytest.mark.real
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_jpeg_that_breaks_off_inside_a_whole_file_is_refused(shared: Path, share: float) -> None:
    ds = pydicom.dcmread(shared / "dicom-samples" / "chest_pa_jpeg_baseline.dcm")
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    file = io.BytesIO()
    ds.save_as(file)

    assert "truncated" in doctor.problems(file.getvalue())[0]


def test_a_missing_file_has_a_problem(tmp_path: Path) -> None:
    assert doctor.problems(tmp_path / "x.dcm") == ["cannot be read: No such file or directory"]


# The verdict on every file of the public samples: what each reason begins with
VERDICTS = {
    "JLSL_16_15_1_1F.dcm": ["Modality is ''", "no StudyInstanceUID", "PatientID is empty"],
    "JPGLosslessP14SV1_1s_1f_8b.dcm": ["Modality is 'US'", "PatientID is empty"],
    "OBXXXX1A_2frame.dcm": ["Modality is 'US'", "holds 2 frames", "PhotometricInterpretation is"],
    "README.md": ["not a DICOM file"],
    "RG1_J2KI.dcm": [],
    "RG3_J2KI.dcm": ["BodyPartExamined is 'EXTREMITY'"],
    "RG3_J2KR.dcm": ["BodyPartExamined is 'EXTREMITY'"],
    "SC_rgb_2frame.dcm": [
        "Modality is 'OT'",
        "holds 2 frames",
        "PhotometricInterpretation is 'RGB'",
    ],
    "chest_pa_jpeg_baseline.dcm": [],
    "chest_pa_jpeg_baseline_mono1.dcm": [],  # refused when stored: it shares its twin's UID
    "emri_small_jpeg_2k_lossless_too_short.dcm": [
        "Modality is 'MR'",
        "BodyPartExamined is 'HEAD'",
        "PatientID is empty",
        "holds no pixel data, or ends before it (truncated)",
        "holds 10 frames",
    ],
    "explicit_VR-UN.dcm": ["Modality is 'CT'", "BodyPartExamined is 'PANCREAS'"],
    "mlut_18.dcm": ["Modality is 'OT'"],
    "parametric_map_float.dcm": [
        "Modality is 'OT'",
        "the pixels are floating point numbers",
        "BitsAllocated is 32",
    ],
    "vlut_04.dcm": ["Modality is 'OT'"],
}


@pytest.mark.real
def test_the_verdict_on_every_sample(shared: Path) -> None:
    met = {path.name: doctor.problems(path) for path in (shared / "dicom-samples").iterdir()}

    assert sorted(met) == sorted(VERDICTS)
    for name, reasons in VERDICTS.items():
        assert len(met[name]) == len(reasons), (name, met[name])
        for reason, start in zip(met[name], reasons, strict=True):
            assert reason.startswith(start), (name, reason)
