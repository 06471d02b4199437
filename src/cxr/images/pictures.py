"""A JPEG or PNG of a published set as a DICOM file, the picture itself untouched.

A grey baseline JPEG is taken over byte by byte; anything else is stored without loss, as JPEG-LS.
What is known of the picture comes from the set's tables; nothing else is claimed of it, so neither
spacing nor BurnedInAnnotation is stated.
"""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    SecondaryCaptureImageStorage,
)

from cxr.errors import DicomError
from cxr.images import codestream, pixels

SUFFIXES = (".jpg", ".jpeg", ".png")

VERSION = 1
"""Raise it when other files come of the same pictures: an ingest then looks at all again."""

_BASELINE = b"\xff\xc0"
_JPEG = b"\xff\xd8\xff"
_NEARLY_GREY = 8
"""How far channels may be apart in what was a grey picture before it became a JPEG in colour."""
_GREY = {"1": "L", "L": "L", "I;16": "I;16", "I;16B": "I;16", "I": "I"}


def to_dicom(picture: bytes, header: Mapping[str, str]) -> bytes:
    """Make a Secondary Capture instance.

    Args:
        picture: A JPEG or PNG file.
        header: DICOM keyword → value: the three UIDs and PatientID at least.

    Returns:
        Part 10 bytes, MONOCHROME2, of as many bits as the picture has; the same for the same
        arguments.

    Raises:
        DicomError: It is no such picture, is in colour, or is damaged.
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.ImageType = ["DERIVED", "SECONDARY"]
    # which of CR and DX it was no published table says
    ds.Modality, ds.ConversionType, ds.BodyPartExamined = "DX", "WSD", "CHEST"
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                    "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        setattr(ds, keyword, "")
    ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = 1, 1, None
    ds.PatientIdentityRemoved = "YES"
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    try:
        _add_pixels(ds, picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
        raise DicomError(f"no JPEG or PNG that can be read{reason}") from error
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def _add_pixels(ds: Dataset, picture: bytes) -> None:
    if picture.startswith(_JPEG) and _BASELINE in picture:
        rows, columns, samples, bits = codestream.size(picture)
        if (samples, bits) == (1, 8) and _is_baseline(picture):
            _describe(ds, rows, columns, bits)
            ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
            ds.LossyImageCompressionRatio = round(rows * columns / len(picture), 2)
            ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            ds.PixelData = encapsulate([picture])
            return
    stored = _decoded(picture)
    bits = 8 * stored.dtype.itemsize
    _describe(ds, stored.shape[0], stored.shape[1], bits)
    if picture.startswith(_JPEG):
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PixelData = stored.tobytes()
    ds.compress(JPEGLSLossless, generate_instance_uid=False)


def _is_baseline(picture: bytes) -> bool:
    """Walk the segments to the frame header: SOF0, and not a thumbnail's in some comment."""
    at = 2
    while at + 4 <= len(picture) and picture[at] == 0xFF:
        marker = picture[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker == _BASELINE[1]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(picture[at + 2 : at + 4], "big")
    return False


def _describe(ds: Dataset, rows: int, columns: int, bits: int) -> None:
    if not 0 < rows * columns <= pixels.MAX_PIXELS:
        raise DicomError(f"has {rows} rows and {columns} columns, too many or none")
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    # all greys as they are: PS3.3 C.11.2.1.2.1
    ds.WindowCenter, ds.WindowWidth = 1 << bits - 1, 1 << bits


def _decoded(picture: bytes) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Decode to (H, W) of greys."""
    with Image.open(io.BytesIO(picture), formats=("JPEG", "PNG")) as image:
        if not 0 < image.width * image.height <= pixels.MAX_PIXELS:
            raise DicomError(f"has {image.height} rows and {image.width} columns, too many")
        if image.mode in _GREY:
            stored = np.asarray(image.convert("L") if image.mode == "1" else image)
            if stored.dtype == np.uint8:
                return stored
            if stored.min() < 0 or stored.max() > 0xFFFF:
                raise DicomError("has more than 16 bits a pixel")
            return stored.astype(np.uint16)
        if image.mode in ("LA", "La"):
            return np.asarray(image.convert("LA"))[..., 0]
        colours = np.asarray(image.convert("RGB"))
    apart = int(np.ptp(colours, axis=-1).max())
    if apart > _NEARLY_GREY:
        raise DicomError("is in colour, expected a grey picture")
    return np.ascontiguousarray(colours[..., 1])
