"""Reading DICOM: windowing against pydicom's own functions, identifiers against Orthanc's."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cxr.errors import DicomError
from cxr.images import dicom, synth

UIDS = {
    "PatientID": "P1",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "SOPInstanceUID": "1.2.3.4.5",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
}


def made(
    pixels: np.ndarray[Any, Any], *, syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> bytes:
    """A small DICOM file; attributes of None are left out."""
    bits = 8 * pixels.dtype.itemsize
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    signed = int(pixels.dtype.kind == "i")
    wanted = {
        **UIDS, "Modality": "DX", "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": bits,
        "BitsStored": bits, "HighBit": attributes.get("BitsStored", bits) - 1,
        "PixelRepresentation": signed, **attributes,
    }  # fmt: skip
    # what decides the VR of other attributes has to be there before them
    for keyword in sorted(wanted, key=lambda k: k != "PixelRepresentation"):
        if wanted[keyword] is not None:
            setattr(ds, keyword, wanted[keyword])
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    compressed = syntax in (JPEGLSLossless, RLELossless)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else syntax
    if compressed:
        ds.compress(syntax, generate_instance_uid=False)
    if syntax == JPEG2000Lossless:
        frame = io.BytesIO()
        PIL.Image.fromarray(pixels).save(frame, "JPEG2000", no_jp2=True)
        ds.PixelData = encapsulate([frame.getvalue()])
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def ramp(bits: int = 12, kind: str = "u2") -> np.ndarray[Any, Any]:
    """Every value of so many bits once or more, 64 columns wide."""
    low = -(1 << bits - 1) if kind.startswith("i") else 0
    return np.arange(low, low + (1 << bits)).reshape(-1, 64).astype(kind)


def lut(first: int, data: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(data), first, bits])
    item.add_new("LUTData", "US", data)
    return item


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000.5, 300), (50, 1), (3000, 2)])
def test_windows_agree_with_pydicom(function: str | None, center: float, width: float) -> None:
    slope = {"RescaleSlope": "1.5", "RescaleIntercept": "-100"}
    file = made(
        ramp(), BitsStored=12, WindowCenter=center, WindowWidth=width, VOILUTFunction=function,
        **slope,
    )  # fmt: skip

    image = dicom.read(file)

    ds = pydicom.dcmread(io.BytesIO(file))
    shown = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    # pydicom gives the range of modality values that 12 bits can take
    low, high = -100, 4095 * 1.5 - 100
    np.testing.assert_allclose(image[0], (shown - low) / (high - low), atol=2e-6)


def test_rescale_and_signed_values_agree_with_pydicom() -> None:
    file = made(
        ramp(12, "i2"), BitsStored=12, RescaleSlope="2", RescaleIntercept="10",
        WindowCenter="100", WindowWidth="2000",
    )  # fmt: skip

    image = dicom.read(file)

    ds = pydicom.dcmread(io.BytesIO(file))
    shown = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    np.testing.assert_allclose(image[0], (shown - shown.min()) / np.ptp(shown), atol=2e-6)


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_voi_lut_agrees_with_pydicom_and_beats_the_window(bits: int) -> None:
    # pydicom 3.0.2 wraps around 256 inputs beyond the first where the entries have 8 bits
    inputs, first, entries = (8, 20, 200) if bits == 8 else (12, 500, 2000)
    table = (np.sqrt(np.linspace(0, 1, entries)) * ((1 << bits) - 1)).astype(int).tolist()
    voi = {"VOILUTSequence": [lut(first, table, bits)], "WindowCenter": 1, "WindowWidth": 1}
    file = made(ramp(inputs), BitsStored=inputs, **voi)

    image = dicom.read(file)

    ds = pydicom.dcmread(io.BytesIO(file))
    expected = apply_voi_lut(ds.pixel_array, ds, prefer_lut=True) / ((1 << bits) - 1)
    np.testing.assert_allclose(image[0], expected, atol=1e-6)


@pytest.mark.parametrize("first", [-1000, 0, 300])
def test_modality_lut_agrees_with_pydicom(first: int) -> None:
    table = np.linspace(5, 60000, 1500).astype(int).tolist()
    kind = "i2" if first < 0 else "u2"
    item = lut(first, table, 16)
    item.ModalityLUTType = "US"
    window = {"WindowCenter": 30000, "WindowWidth": 60000, "VOILUTFunction": "LINEAR_EXACT"}
    file = made(ramp(12, kind), BitsStored=12, ModalityLUTSequence=[item], **window)

    image = dicom.read(file)

    ds = pydicom.dcmread(io.BytesIO(file))
    expected = apply_modality_lut(ds.pixel_array, ds) / 60000
    np.testing.assert_allclose(image[0], expected, atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("name", ["vlut_04.dcm", "mlut_18.dcm"])
def test_lookup_tables_of_real_files_agree_with_pydicom(shared: Path, name: str) -> None:
    path = shared / "dicom-samples" / name

    image = dicom.read(path)[0]

    ds = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(np.float64)
    if "VOILUTSequence" in ds:
        expected = shown / ((1 << ds.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    else:
        low, high = np.percentile(shown, [0.5, 99.5], method="inverted_cdf")
        expected = np.clip((shown - low) / (high - low), 0, 1)
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_the_first_of_several_windows_counts() -> None:
    several = made(ramp(), BitsStored=12, WindowCenter=[1000, 9], WindowWidth=[500, 9])
    one = made(ramp(), BitsStored=12, WindowCenter=1000, WindowWidth=500)

    assert np.array_equal(dicom.read(several), dicom.read(one))


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 5, "WindowWidth": 0}, {"WindowWidth": 9}])
def test_without_a_usable_window_the_bulk_of_the_pixels_is_spread(window: dict[str, int]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(2000, 300, (200, 300)).clip(1, 4095).astype("u2")
    pixels[:50] = 0
    file = made(pixels, BitsStored=12, PixelPaddingValue=0, **window)

    image = dicom.read(file)[0]

    low, high = np.percentile(pixels[50:], [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((pixels[50:].astype(float) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(image[50:], expected, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_whatever_it_holds(photometric: str) -> None:
    pixels = ramp()
    file = made(
        pixels, BitsStored=12, PhotometricInterpretation=photometric, WindowCenter=2048,
        WindowWidth=4096, PixelPaddingValue=4095, PixelPaddingRangeLimit=4000,
    )  # fmt: skip

    image = dicom.read(file)[0]

    assert (image[pixels >= 4000] == 0).all()
    assert image.max() > 0.9


def test_monochrome1_is_the_negative() -> None:
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    light = dicom.read(made(ramp(), **window))
    dark = dicom.read(made(ramp(), PhotometricInterpretation="MONOCHROME1", **window))

    np.testing.assert_allclose(dark, 1 - light, atol=1e-6)


def test_unused_bits_are_not_seen() -> None:
    pixels = ramp()
    dirty = pixels | 0xF000
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}

    assert np.array_equal(dicom.read(made(dirty, **window)), dicom.read(made(pixels, **window)))
    assert dicom.pixel_hash(made(dirty, **window)) == dicom.pixel_hash(made(pixels, **window))


def test_values_in_the_upper_bits_are_shifted_down() -> None:
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    upper = made(ramp() << 4, **window | {"HighBit": 15})

    assert np.array_equal(dicom.read(upper), dicom.read(made(ramp(), **window)))


ENCODINGS = [
    (syntax, kind)
    for syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    )
    for kind in ("u1", "u2", "i2")
    if (syntax, kind) != (JPEG2000Lossless, "i2")  # Pillow, which encodes here, has no signed ones
]


@pytest.mark.parametrize(("syntax", "kind"), ENCODINGS)
def test_every_encoding_gives_the_same_image(syntax: str, kind: str) -> None:
    bits = 8 if kind == "u1" else 12
    window = {"WindowCenter": 100, "WindowWidth": 300, "BitsStored": bits}
    pixels = np.tile(ramp(bits, kind), (64 if bits == 8 else 1, 1))
    plain = made(pixels, **window)

    other = made(pixels, syntax=syntax, **window)

    assert np.array_equal(dicom.read(other), dicom.read(plain))
    assert dicom.pixel_hash(other) == dicom.pixel_hash(plain)


def naive_equalised(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """OpenCV's equalizeHist, from its documentation: one pixel at a time."""
    histogram = [int((grey == level).sum()) for level in range(256)]
    first = next(level for level in range(256) if histogram[level])
    scale = 255 / (grey.size - histogram[first])
    total, table = 0, {first: 0}
    for level in range(first + 1, 256):
        total += histogram[level]
        table[level] = round(total * scale)
    return np.vectorize(table.get)(grey)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("preset", ["mimic_jpg", "chexpert"])
def test_presets_repeat_the_published_data_sets(preset: str, photometric: str) -> None:
    pixels = np.random.default_rng(3).normal(1500, 400, (50, 64)).clip(200, 3000).astype("u2")
    file = made(pixels, BitsStored=12, PhotometricInterpretation=photometric, WindowCenter=1,
                WindowWidth=2)  # fmt: skip

    image = dicom.read(file, preset)[0]

    low = pixels.min() if preset == "mimic_jpg" else 0
    grey = ((pixels.astype(float) - low) / (pixels.max() - low) * 255).astype(int)
    grey = 255 - grey if photometric == "MONOCHROME1" else grey
    np.testing.assert_allclose(image, naive_equalised(grey) / 255, atol=1e-6)


def test_an_unknown_preset_is_the_programmers_error() -> None:
    with pytest.raises(ValueError, match=r"expected one of .* met 'lung'"):
        dicom.read(made(ramp()), "lung")


def test_a_constant_image_is_black() -> None:
    assert dicom.read(made(np.full((4, 4), 7, "u2"))).max() == 0


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": 2}, "holds 2 frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "RGB"),
        ({"BitsAllocated": 32}, "BitsAllocated is 32"),
        ({"BitsStored": 17}, "BitsStored 17"),
        ({"Rows": 0}, "0 rows"),
        ({"Rows": 65535, "Columns": 65535}, "65535 rows"),
        ({"Rows": 65}, "less than expected"),
        ({"RescaleSlope": "0"}, "RescaleSlope is 0"),
        ({"VOILUTFunction": "CUBIC", "WindowCenter": 1, "WindowWidth": 9}, "CUBIC"),
        ({"VOILUTSequence": [Dataset()]}, "VOILUTSequence: expected a descriptor"),
    ],
)
def test_what_cannot_be_read_says_why(attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(DicomError, match=reason):
        dicom.read(made(ramp(), **{"BitsStored": 12, **attributes}))


def test_floating_point_pixels_are_refused() -> None:
    ds = pydicom.dcmread(io.BytesIO(made(ramp())))
    del ds.PixelData
    ds.FloatPixelData = np.zeros(4096, "f4").tobytes()
    file = io.BytesIO()
    ds.save_as(file)

    with pytest.raises(DicomError, match="floating point"):
        dicom.read(file.getvalue())


def test_a_transfer_syntax_we_do_not_know_is_named() -> None:
    file = made(ramp()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")

    with pytest.raises(DicomError, match=r"1\.2\.840\.10008\.1\.2\.9"):
        dicom.read(file)


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MAX_INFLATED", 1 << 20)
    bomb = made(np.zeros((1024, 1024), "u2"), syntax=DeflatedExplicitVRLittleEndian)

    assert len(bomb) < 1 << 14
    with pytest.raises(DicomError, match="inflates to more than"):
        dicom.read(bomb)


@pytest.mark.parametrize("junk", [b"", b"a,b\n", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICMxxxx"])
def test_junk_is_a_dicom_error(junk: bytes) -> None:
    for function in (dicom.read, dicom.identify, dicom.read_header, dicom.pixel_hash):
        with pytest.raises(DicomError):
            function(junk)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"none\.dcm: no such file"):
        dicom.identify(tmp_path / "none.dcm")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_gets_past_as_anything_else(data: st.DataObject) -> None:
    whole = made(ramp(8, "u1"), WindowCenter=128, WindowWidth=256)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    for function in (dicom.read, dicom.identify):
        with contextlib.suppress(DicomError):
            function(bytes(damaged))


def test_nothing_leaks_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    file = made(ramp(), syntax=ExplicitVRLittleEndian, PatientAge="unknown", StudyDate="1.1.2020")

    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        dicom.read(file + b"\0\0")
        instance = dicom.identify(file)

    assert (instance.age_years, instance.study_date) == (None, "1.1.2020")
    assert not caplog.records


KNIX = ("ozp00SjY2xG", "1.2.840.113619.2.176.2025.1499492.7391.1171285944.390")


@pytest.mark.parametrize(
    ("identifiers", "expected"),
    [
        # of the public sample studies, as Orthanc's own documentation and tests show them
        (("5Yp0E",), "16738bc3-e47ed42a-43ce044c-a3414a45-cb069bd0"),
        (KNIX[:1], "6816cb19-844d5aee-85245eba-28e841e6-2414fae2"),
        (KNIX, "b9c08539-26f93bde-c81ab0d7-bffaf2cb-a4d0bdd0"),
        (("",), "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"),
    ],
)
def test_orthanc_ids_are_orthancs(identifiers: tuple[str, ...], expected: str) -> None:
    assert dicom.orthanc_id(*identifiers) == expected


def test_identifiers_are_read() -> None:
    file = made(
        ramp(), PatientSex="F", PatientAge="018M", StudyDate="20200102", BodyPartExamined="CHEST",
        ViewPosition="LL", BurnedInAnnotation="YES",
    )  # fmt: skip

    met = dicom.identify(file)

    assert met == dicom.Instance(
        "P1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "1.2.840.10008.5.1.4.1.1.1",
        "1.2.840.10008.1.2.1", "DX", "CHEST", "LL", "lateral", "F", 1.5, "20200102", 64, 64,
        "MONOCHROME2", burned_in=True,
    )  # fmt: skip
    assert met.orthanc_id == dicom.orthanc_id("P1", "1.2.3", "1.2.3.4", "1.2.3.4.5")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("YES", True), ("yes ", True), ("NO", False), ("", None), ("MAYBE", None), (None, None)],
)
def test_only_an_explicit_no_says_that_nothing_is_burned_in(
    said: str | None, expected: bool | None
) -> None:
    attributes = {} if said is None else {"BurnedInAnnotation": said}
    assert dicom.identify(made(ramp(), **attributes)).burned_in is expected


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_each_uid_must_be_there(keyword: str) -> None:
    ds = pydicom.dcmread(io.BytesIO(made(ramp())))
    del ds[keyword]
    file = io.BytesIO()
    ds.save_as(file)

    with pytest.raises(DicomError, match=f"no {keyword}"):
        dicom.identify(file.getvalue())


def test_a_uid_cannot_climb_out_of_a_folder() -> None:
    file = made(ramp()).replace(b"1.2.3.4.5\0", b"../../x.5\0")

    with pytest.raises(DicomError, match="expected a UID"):
        dicom.identify(file)


def test_age_follows_from_dates_where_it_is_not_given() -> None:
    met = dicom.identify(made(ramp(), PatientBirthDate="19800101", StudyDate="20200101"))
    assert met.age_years == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("position", "code", "view"),
    [
        ("PA", None, "frontal"), ("AP", None, "frontal"), ("LATERAL", None, "lateral"),
        ("LL", None, "lateral"), ("RL", None, "lateral"), ("LAO", None, "unknown"),
        ("SWIMMERS", None, "unknown"), ("", None, "unknown"), ("pa ", None, "frontal"),
        ("", ("272479007", "SCT", "postero-anterior"), "frontal"),
        ("", ("R-10236", "SRT", "left lateral"), "lateral"),
        ("", ("local", "99X", "Left Lateral"), "lateral"),
        ("LAO", ("272479007", "SCT", "postero-anterior"), "unknown"),
    ],
)  # fmt: skip
def test_views(position: str, code: tuple[str, str, str] | None, view: str) -> None:
    codes = []
    if code:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
        codes = [item]

    assert dicom.identify(made(ramp(), ViewPosition=position, ViewCodeSequence=codes)).view == view


@pytest.mark.real
def test_inverted_twins_look_like_the_others(shared: Path) -> None:
    corners, middles = {}, {}
    paths = sorted((shared / "nih-cxr" / "dicom").iterdir())
    kinds = [dicom.identify(path).photometric_interpretation for path in paths]
    assert (len(paths), kinds.count("MONOCHROME1")) == (519, 65)
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        some = [path for path, its in zip(paths, kinds, strict=True) if its == kind][:50]
        images = [dicom.read(path)[0] for path in some]
        # beside the neck there is air, in the middle spine and heart
        corners[kind] = np.median([np.r_[i[:60, :60], i[:60, -60:]].mean() for i in images])
        middles[kind] = np.median([i[200:450, 236:276].mean() for i in images])

    assert corners["MONOCHROME1"] == pytest.approx(corners["MONOCHROME2"], abs=0.12)
    assert middles["MONOCHROME1"] == pytest.approx(middles["MONOCHROME2"], abs=0.08)
    assert middles["MONOCHROME1"] > corners["MONOCHROME1"] + 0.2


@pytest.mark.real
def test_declared_twins_are_negatives(shared: Path) -> None:
    folder = shared / "dicom-samples"
    plain = dicom.read(folder / "chest_pa_jpeg_baseline.dcm", "mimic_jpg")
    assert plain.shape == (1, 1024, 1024)
    first, second = (
        dicom.read(folder / f"chest_pa_jpeg_baseline{end}.dcm") for end in ("", "_mono1")
    )
    np.testing.assert_allclose(first, 1 - second, atol=1e-6)


def test_a_large_raw_image_reads_fast() -> None:
    file, _ = synth.draw(0, size=(300, 250))
    large = np.tile(pydicom.dcmread(io.BytesIO(file)).pixel_array, (10, 10))
    big = made(large, BitsStored=12, WindowCenter=2048, WindowWidth=4096)

    image = dicom.read(big)

    assert image.shape == (1, 3000, 2500)
    assert image.dtype == np.float32
