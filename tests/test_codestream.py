"""A compressed frame's own size, against the libraries that write frames."""

import io

import numpy as np
import PIL.Image
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from cxr.errors import DicomError
from cxr.images import codestream, dicom, synth

GOOD, _ = synth.draw(0, size=(64, 56))


def frame(
    rows: int, columns: int, kind: str = "JPEG", *, colour: bool = False, **how: object
) -> bytes:
    shape = (rows, columns, 3) if colour else (rows, columns)
    file = io.BytesIO()
    PIL.Image.fromarray(np.zeros(shape, np.uint8)).save(file, kind, **how)
    return file.getvalue()


def compressed(data: bytes, syntax: str = JPEGBaseline8Bit, **attributes: object) -> bytes:
    """A file whose one frame is this."""
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    del ds.WindowCenter, ds.WindowWidth
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.PixelData = encapsulate([data])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds)
    return file.getvalue()


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + b"x" * 60_000}),
        ("JPEG2000", {"no_jp2": True}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True, "tile_size": (16, 16), "offset": (3, 5)}),
    ],
)
def test_sizes_agree_with_pillow(kind: str, how: dict[str, object], colour: bool) -> None:
    met = codestream.size(frame(70, 41, kind, colour=colour, **how))

    assert met == (70, 41, 3 if colour else 1, 8)


def test_jpeg_ls_says_its_size_too() -> None:
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    ds.compress(JPEGLSLossless)

    assert codestream.size(get_frame(ds.PixelData, 0, number_of_frames=1)) == (64, 56, 1, 12)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("size", [(63, 56), (6400, 5600), (64, 57)])
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(
    kind: str, size: tuple[int, int]
) -> None:
    syntax = JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless
    file = compressed(frame(*size, kind), syntax)

    with pytest.raises(DicomError, match=rf"has {size[0]} rows, {size[1]} columns and 1 samples"):
        dicom.read(file)


def test_a_colour_frame_that_is_declared_grey_is_refused() -> None:
    with pytest.raises(DicomError, match="3 samples, expected 64, 56 and 1"):
        dicom.read(compressed(frame(64, 56, colour=True)))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_frame_of_impossible_bits_is_refused(kind: str) -> None:
    good = frame(64, 56, "JPEG") if kind == "JPEG" else frame(64, 56, "JPEG2000", no_jp2=True)
    at = good.index(b"\xff\xc0") + 4 if kind == "JPEG" else 42
    syntax = JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless
    bits = 122 if kind == "JPEG" else 121  # JPEG 2000 counts from one bit
    file = compressed(good[:at] + bytes([bits]) + good[at + 1 :], syntax)

    with pytest.raises(DicomError, match="has 122 bits, expected at most 8"):
        dicom.read(file)


def test_a_good_frame_in_pieces_is_read() -> None:
    data = frame(64, 56)
    whole = compressed(data)
    ds = pydicom.dcmread(io.BytesIO(whole))
    ds.PixelData = encapsulate([data], fragments_per_frame=3, has_bot=False)
    file = io.BytesIO()
    ds.save_as(file)

    assert np.array_equal(dicom.read(file.getvalue()), dicom.read(whole))


def test_run_lengths_say_no_size() -> None:
    ds = pydicom.dcmread(io.BytesIO(GOOD))
    ds.compress(RLELossless)

    codestream.check(ds, 1, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no header"),
        (b"\xff\xd8\xff\xd9\0\0", "breaks off, or states no size"),
        (b"\xff\xd8\xff\xe0\xff\xff", "breaks off, or states no size"),
        (b"\xff\xd8abcd", "header is broken"),
        (b"\xff\xd8" + 2 * b"\xff\xc0\0\x0b\x08\0\x40\0\x38\x01\x01\x11\0", "its size twice"),
        (b"\xff\x4f\xff\x51\0\x29", "truncated"),
        (b"\xff\x4f\xff\x51" + b"\0" * 60, "number of tiles"),
        (b"\xff\x4f\xff\x51\0\x29\0\0" + b"\0\1\0\0" * 2 + b"\0" * 8 + b"\0\0\0\1" * 2 + b"\0" * 20,
         "number of tiles"),
    ],
)  # fmt: skip
def test_what_is_no_frame_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DicomError, match=reason):
        codestream.size(data)


@given(st.sampled_from([b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b""]), st.binary())
def test_any_bytes_are_a_size_or_refused(start: bytes, rest: bytes) -> None:
    try:
        met = codestream.size(start + rest)
    except DicomError:
        return
    assert len(met) == 4
