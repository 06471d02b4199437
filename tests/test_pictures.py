"""A JPEG or PNG becomes a DICOM file without another loss, or one line says why not."""

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from published_sets import picture
from pydicom.encaps import get_frame

from cxr.errors import DicomError
from cxr.images import dicom, doctor, pictures

HEADER = {
    "PatientID": "NIH00000001",
    "PatientSex": "M",
    "PatientAge": "058Y",
    "ViewPosition": "PA",
    "StudyInstanceUID": "2.25.1",
    "SeriesInstanceUID": "2.25.2",
    "SOPInstanceUID": "2.25.3",
}


def made(data):
    return pydicom.dcmread(io.BytesIO(pictures.to_dicom(data, HEADER)))


def test_a_grey_baseline_jpeg_is_taken_over_byte_by_byte():
    jpeg = picture(1)

    ds = made(jpeg)

    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    assert frame.rstrip(b"\0") == jpeg.rstrip(b"\0")
    assert (ds.Rows, ds.Columns, ds.BitsAllocated) == (48, 40, 8)
    assert (ds.PhotometricInterpretation, ds.LossyImageCompression) == ("MONOCHROME2", "01")


@pytest.mark.parametrize(
    ("kind", "mode", "keys"),
    [("PNG", "L", {}), ("PNG", "RGBA", {}), ("PNG", "LA", {}), ("JPEG", "L", {"progressive": True}),
     ("JPEG", "RGB", {}), ("PNG", "1", {}), ("PNG", "P", {})],
)  # fmt: skip
def test_every_other_grey_picture_keeps_its_greys(kind, mode, keys):
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(2, kind="PNG"))).convert(mode).save(file, kind, **keys)
    expected = np.asarray(Image.open(file).convert("L")) / 255

    shown = dicom.read(pictures.to_dicom(file.getvalue(), HEADER))[0]

    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_sixteen_bits_stay_sixteen_bits():
    greys = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) * 30
    file = io.BytesIO()
    Image.fromarray(greys).save(file, "PNG")

    ds = made(file.getvalue())

    assert ds.BitsStored == 16
    np.testing.assert_array_equal(ds.pixel_array, greys)


def test_the_doctor_has_nothing_against_it_but_that_nobody_says_whether_text_is_burned_in():
    found = doctor.examine(pictures.to_dicom(picture(3), HEADER))

    assert found.problems == ()
    assert [verdict.rule for verdict in found.verdicts] == ["burned_in_unknown"]


def test_it_says_what_it_was_told_and_is_the_same_again():
    once, again = (pictures.to_dicom(picture(4, kind="PNG"), HEADER) for _ in range(2))

    found = dicom.identify(once)
    assert once == again
    assert (found.patient_id, found.sex, found.age_years) == ("NIH00000001", "M", 58)
    assert (found.view, found.sop_instance_uid) == ("frontal", "2.25.3")


def test_a_picture_in_colour_is_refused():
    colours = np.zeros((48, 40, 3), np.uint8)
    colours[..., 0] = 200
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")

    with pytest.raises(DicomError, match="is in colour, expected a grey picture"):
        pictures.to_dicom(file.getvalue(), HEADER)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_seen_and_nothing_else_is_raised(kind, data):
    whole = bytearray(picture(5, kind=kind))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(whole[: data.draw(st.integers(0, len(whole)))])

    try:
        found = doctor.examine(pictures.to_dicom(broken, HEADER))
    except DicomError:
        return
    assert found.instance is not None
