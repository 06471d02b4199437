"""From DICOM bytes to an upright image in [0, 1], and to the identifiers around it.

Whatever a file holds, the answer is a value or a `DicomError`: files come from hospitals,
from the internet and from broken disks. After `read`, black is air, always.
"""

import hashlib
import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cxr.errors import CxrError, DicomError
from cxr.images import attributes, pixels, views, windowing

MAX_BYTES = 1 << 29
"""Of one file; a large radiograph takes 30 MB."""

MAX_INFLATED = 1 << 28
"""All that the largest image needs; while it is read, it is in memory three times."""

_HEAD = 1024  # the transfer syntax stands within, in all but contrived files

# Values out of their VR's range are common and harmless here. What matters raises DicomError
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

# What pydicom 3.0 and its codecs were seen, or can be expected, to raise on damaged bytes
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Instance:
    """Identifiers of one DICOM file, no pixels.

    Attributes:
        view: `frontal`, `lateral` or `unknown`, from View Position or View Code Sequence.
        view_position: As written: PA, AP, LL, ...
        sex: M, F, O, or empty.
        age_years: From Patient's Age, else from birth and study date; None if neither says.
        study_date: YYYYMMDD, or empty.
        burned_in: Whether the file says that text is burned into its pixels; None if it does not
            say, so only False promises anything.
    """

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    view: str = views.UNKNOWN
    sex: str = ""
    age_years: float | None = None
    study_date: str = ""
    rows: int = 0
    columns: int = 0
    photometric_interpretation: str = ""
    burned_in: bool | None = None

    @property
    def orthanc_id(self) -> str:
        """What Orthanc would call this instance; the manifest's `source`."""
        return orthanc_id(
            self.patient_id,
            self.study_instance_uid,
            self.series_instance_uid,
            self.sop_instance_uid,
        )


def orthanc_id(*identifiers: str) -> str:
    """Give Orthanc's name of a patient, study, series or instance.

    Args:
        identifiers: PatientID, then as far as wanted StudyInstanceUID, SeriesInstanceUID,
            SOPInstanceUID.

    >>> orthanc_id("ozp00SjY2xG")
    '6816cb19-844d5aee-85245eba-28e841e6-2414fae2'
    """
    digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


def read_header(dicom: bytes | Path) -> Dataset:
    """Read everything before the pixels.

    Raises:
        DicomError: Not a DICOM file, or its header is damaged.
    """
    with explained(dicom):
        return _parse(dicom, stop_before_pixels=True)


def identify(dicom: bytes | Path) -> Instance:
    """Read the identifiers of a DICOM file.

    Raises:
        DicomError: Not a DICOM file, damaged, or one of the three UIDs is missing.
    """
    with explained(dicom):
        return instance(_parse(dicom, stop_before_pixels=True))


def read(dicom: bytes | Path, preset: str = windowing.VOI) -> npt.NDArray[np.float32]:
    """Read the image as it is meant to be seen.

    The order is fixed: unused bits and sign, Modality LUT, padding, VOI LUT or window
    (p0.5 to p99.5 where there is none), inversion of MONOCHROME1 (PS3.3 C.7.6.3.1.2, C.11).

    Args:
        dicom: Part 10 bytes, or where they are.
        preset: `voi`, or `mimic_jpg` or `chexpert` to repeat how those sets were published.

    Returns:
        (1, H, W) in [0, 1]; black is air, and so is padding.

    Raises:
        DicomError: Not one grey frame of integers, or damaged.
        ValueError: No such preset.
    """
    if preset not in windowing.PRESETS:
        raise ValueError(f"expected one of {windowing.PRESETS}, met {preset!r}")
    with explained(dicom):
        ds = _parse(dicom)
        return render(ds, pixels.decode(ds), preset)


def render(
    ds: Dataset, stored: pixels.Stored, preset: str = windowing.VOI
) -> npt.NDArray[np.float32]:
    """Turn decoded pixels into the image `read` gives: (1, H, W) in [0, 1]."""
    encoding = pixels.encoding(ds)
    table = windowing.table(ds, encoding, preset, lambda: pixels.count(stored))
    return pixels.look_up(table, stored)


def burned_in(dicom: bytes | Path) -> str:
    """Read BurnedInAnnotation (PS3.3 C.7.6.1): YES, NO, a word of the file's own, or empty.

    Raises:
        DicomError: Not a DICOM file, or damaged.
    """
    with explained(dicom):
        return text(_parse(dicom, stop_before_pixels=True), "BurnedInAnnotation").upper()


def pixel_hash(dicom: bytes | Path) -> str:
    """Hash the decoded pixels; equal for the same exposure under other headers or codecs.

    Raises:
        DicomError: As for `read`.
    """
    with explained(dicom):
        ds = _parse(dicom)
        return pixels.digest(ds, pixels.decode(ds))


def parse(dicom: bytes | Path) -> Dataset:
    """Read header and, still encoded, pixels.

    Raises:
        DicomError: Not a DICOM file, or damaged.
    """
    with explained(dicom):
        return _parse(dicom)


def instance(ds: Dataset) -> Instance:
    """Give the identifiers in a header.

    Raises:
        DicomError: One of the three UIDs is missing or no UID, or there are control characters in
            the PatientID; it may be empty.
    """
    if wrong := odd_patient_id(ds):
        raise DicomError(wrong)
    return Instance(
        text(ds, "PatientID"),
        _uid(ds, "StudyInstanceUID"),
        _uid(ds, "SeriesInstanceUID"),
        _uid(ds, "SOPInstanceUID"),
        sop_class_uid=text(ds, "SOPClassUID"),
        transfer_syntax_uid=str(ds.file_meta.get("TransferSyntaxUID", "")),
        modality=text(ds, "Modality"),
        body_part=text(ds, "BodyPartExamined"),
        view_position=text(ds, "ViewPosition"),
        view=view(ds),
        sex=text(ds, "PatientSex"),
        age_years=_age(ds),
        study_date=text(ds, "StudyDate"),
        rows=pixels.whole(ds, "Rows", 0),
        columns=pixels.whole(ds, "Columns", 0),
        photometric_interpretation=text(ds, "PhotometricInterpretation"),
        burned_in={"YES": True, "NO": False}.get(text(ds, "BurnedInAnnotation").upper()),
    )


def odd_patient_id(ds: Dataset) -> str | None:
    """Say that there are control characters in the PatientID, which servers read differently.

    Ask before anything else asks for the PatientID: pydicom then forgets how it was padded.
    """
    element = ds.get_item("PatientID")
    value = getattr(element, "value", None) or b""
    if isinstance(value, bytes):
        # zeros instead of a space, and what switches between character sets, are common
        plain = not re.search(rb"[\x01-\x1a\x1c-\x1f\x7f]|\0[^\0]|[ ]\0", value)
    else:
        parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
        plain = not any(re.search(r"[\x00-\x1a\x1c-\x1f\x7f]", str(part)) for part in parts)
    return None if plain else "PatientID holds control characters, expected printable ones"


def view(ds: Dataset) -> str:
    """Say from which side the patient was seen: `frontal`, `lateral` or `unknown`."""
    codes = attributes.items(ds, "ViewCodeSequence")
    named = [(text(code, "CodeValue"), text(code, "CodeMeaning")) for code in codes]
    return views.normalise(text(ds, "ViewPosition"), named)


def stated_age(ds: Dataset) -> float | None:
    """Read Patient's Age in years, from `045Y`, `018M`, `003W` or `010D` (PS3.5 6.2)."""
    match = re.fullmatch(r"([0-9]{1,3})([DWMY])", text(ds, "PatientAge").upper())
    if match is None:
        return None
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]


def text(ds: Dataset, keyword: str) -> str:
    """Read an attribute as Orthanc does: stripped, empty where there is none."""
    value = ds.get(keyword)
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue):
        # a backslash in a PatientID is against the standard, and happens
        value = "\\".join(str(part) for part in value)
    # Orthanc 1.10 counts what stands before a PatientID as part of it
    return str(value).rstrip(" \0") if keyword == "PatientID" else str(value).strip(" \0")


@contextmanager
def explained(dicom: bytes | Path) -> Iterator[None]:
    """Turn whatever reading damaged bytes raises into a `DicomError` with a reason."""
    place = f"{dicom.name}: " if isinstance(dicom, Path) else ""
    try:
        yield
    except CxrError as error:
        said = attributes.sentence(str(error))
        if not place and said == str(error):
            raise
        raise DicomError(f"{place}{said}") from error
    except FileNotFoundError as error:
        raise DicomError(f"{place}no such file") from error
    except _DAMAGE as error:
        reason = attributes.sentence(str(error)) or type(error).__name__
        raise DicomError(f"{place}damaged or unsupported: {reason}") from error


def _parse(dicom: bytes | Path, *, stop_before_pixels: bool = False) -> Dataset:
    size = len(dicom) if isinstance(dicom, bytes) else dicom.stat().st_size
    if size > MAX_BYTES:
        raise DicomError(f"is {size} bytes long, expected at most {MAX_BYTES}")
    with io.BytesIO(dicom) if isinstance(dicom, bytes) else dicom.open("rb") as file:
        start = file.read(_HEAD)
        if start[128:132] != b"DICM":
            raise DicomError("not a DICOM file" if start else "is empty")
        if DeflatedExplicitVRLittleEndian.encode() in start[132:]:
            file.seek(0)
            _bound_inflation(file.read())
        file.seek(0)
        ds = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels)
        if not stop_before_pixels and not pixels.has_pixels(ds):
            # where compressed pixels end too early, pydicom 3.0 drops the header with them
            file.seek(0)
            ds = pydicom.dcmread(file, stop_before_pixels=True)
    if ds.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise DicomError("a DICOMDIR lists files, it holds no image")
    if "TransferSyntaxUID" not in ds.file_meta:
        raise DicomError("names no transfer syntax")
    return ds


def _bound_inflation(dicom: bytes) -> None:
    """Refuse a deflated file that would fill the memory; pydicom inflates it in one go."""
    # PS3.10 7.1: the length of the meta information comes first, in an element of 12 bytes
    if dicom[132:140] != b"\2\0\0\0UL\4\0":
        raise DicomError("deflated, and its meta information has no length")
    start = 144 + int.from_bytes(dicom[140:144], "little")
    inflate, left, total = zlib.decompressobj(-zlib.MAX_WBITS), dicom[start:], 0
    while left and not inflate.eof:
        total += len(inflate.decompress(left, 1 << 24))
        left = inflate.unconsumed_tail
        if total > MAX_INFLATED:
            raise DicomError(f"inflates to more than {MAX_INFLATED} bytes")


def _uid(ds: Dataset, keyword: str) -> str:
    met = text(ds, keyword)
    # leading zeros are against PS3.5 9.1, and harmless; anything else could not go into a path
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", met) or len(met) > 64:
        said = f"{keyword} is {attributes.shown(met)}, expected a UID"
        raise DicomError(said if met else f"no {keyword}")
    return met


def _age(ds: Dataset) -> float | None:
    """Years, as stated, else from the dates."""
    if (stated := stated_age(ds)) is not None:
        return stated
    born, studied = text(ds, "PatientBirthDate"), text(ds, "StudyDate")
    try:
        days = (date.fromisoformat(studied) - date.fromisoformat(born)).days
    except ValueError:
        return None
    return days / 365.25 if days >= 0 else None
