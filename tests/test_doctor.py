"""What is wrong with a file: each rule on its own, and the verdict on every public sample."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from sample_verdicts import VERDICTS

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


@pytest.mark.real
@pytest.mark.parametrize("stored", [1, 7])
def test_few_bits_of_lossless_jpeg_do_not_end_the_process(shared: Path, stored: int) -> None:
    path = shared / "dicom-samples" / "JPGLosslessP14SV1_1s_1f_8b.dcm"
    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = stored, stored - 1
    file = io.BytesIO()
    ds.save_as(file)

    image = dicom.read(file.getvalue())

    assert image.shape == dicom.read(path).shape


def test_a_missing_file_has_a_problem(tmp_path: Path) -> None:
    assert doctor.problems(tmp_path / "x.dcm") == ["cannot be read: No such file or directory"]


@pytest.mark.real
def test_the_verdict_on_every_sample(shared: Path) -> None:
    folder = shared / "dicom-samples"

    met = {path.name: doctor.examine(path).verdicts for path in folder.iterdir()}

    assert sorted(met) == sorted(VERDICTS)
    for name, expected in VERDICTS.items():
        said = {verdict.rule: verdict for verdict in met[name]}
        assert len(said) == len(met[name]), name
        assert sorted(said) == sorted(expected), name
        for rule, words in expected.items():
            assert words in said[rule].met, (name, said[rule])
            assert said[rule].severity == doctor.DEFAULTS[rule]
