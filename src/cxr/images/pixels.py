"""The stored pixels of one grey image: what may be decoded, and decoding it.

The rules are functions of the header that return a reason, or None; reading raises the first
reason, the doctor lists them all.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from cxr.errors import DicomError
from cxr.images import codestream
from cxr.images.windowing import Encoding

Stored = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MAX_PIXELS = 64_000_000
"""Four times the largest detector in use; more is a damaged header, or an attack on memory."""

# Faster than GDCM, and stricter: GDCM takes a baseline JPEG that breaks off, and greys the rest
_PREFERRED = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEGBaseline8Bit: "pillow",
}
_LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ROWS_AT_ONCE = 64


def has_pixels(ds: Dataset) -> bool:
    """Say whether there are pixels of any kind."""
    return any(keyword in ds for keyword in _PIXELS)


def no_pixels(ds: Dataset) -> str | None:
    """Pixel data must be there, and be integers."""
    if "PixelData" in ds:
        return None
    if has_pixels(ds):
        return "the pixels are floating point numbers, expected integers"
    return "holds no pixel data, or ends before it (truncated)"


def not_grey(ds: Dataset) -> str | None:
    """One sample per pixel, MONOCHROME1 or MONOCHROME2."""
    met, samples = str(ds.get("PhotometricInterpretation") or ""), whole(ds, "SamplesPerPixel", 1)
    if met in ("MONOCHROME1", "MONOCHROME2") and samples == 1:
        return None
    return (
        f"PhotometricInterpretation is {met!r} with {samples} samples per pixel, "
        "expected MONOCHROME1 or MONOCHROME2 with one"
    )


def many_frames(ds: Dataset) -> str | None:
    """One frame."""
    frames = whole(ds, "NumberOfFrames", 1)
    return None if frames in (0, 1) else f"holds {frames} frames, expected one"


def odd_bits(ds: Dataset) -> str | None:
    """8 or 16 bits, of which at most all are used."""
    allocated = whole(ds, "BitsAllocated", 0)
    stored, sign = whole(ds, "BitsStored", allocated), whole(ds, "PixelRepresentation", 0)
    if allocated in (8, 16) and 1 <= stored <= allocated and sign in (0, 1):
        return None
    return (
        f"BitsAllocated is {allocated}, BitsStored {stored}, PixelRepresentation {sign}; "
        "expected 8 or 16, at most as many, and 0 or 1"
    )


def odd_size(ds: Dataset) -> str | None:
    """Rows and columns, and not absurdly many."""
    rows, columns = whole(ds, "Rows", 0), whole(ds, "Columns", 0)
    if rows > 0 and columns > 0 and rows * columns <= MAX_PIXELS:
        return None
    return f"has {rows} rows and {columns} columns, expected 1 to {MAX_PIXELS} pixels in all"


RULES = (no_pixels, many_frames, not_grey, odd_bits, odd_size)


def whole(ds: Dataset, keyword: str, default: int) -> int:
    """Read one whole number of the header.

    Raises:
        DicomError: It is something else.
    """
    value = ds.get(keyword)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DicomError(f"{keyword} is {str(value)!r}, expected a whole number") from None


def encoding(ds: Dataset) -> Encoding:
    """Say how stored values lie in the bits of what `decode` returns."""
    allocated = whole(ds, "BitsAllocated", 8)
    stored = whole(ds, "BitsStored", allocated)
    high = whole(ds, "HighBit", stored - 1)
    # only native data can lie anywhere but in the lowest bits; compressed, the codec says
    native = not ds.file_meta.TransferSyntaxUID.is_encapsulated
    shift = high + 1 - stored if native and stored <= high + 1 <= allocated else 0
    return Encoding(allocated, stored, shift, whole(ds, "PixelRepresentation", 0) == 1)


def decode(ds: Dataset) -> Stored:
    """Decode the one frame, untouched: unused bits and sign are still in it.

    Returns:
        (H, W) of the bit patterns, uint8 or uint16, not writable.

    Raises:
        DicomError: A rule of this module is broken.
    """
    for rule in RULES:
        if reason := rule(ds):
            raise DicomError(reason)
    syntax = ds.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DicomError(f"transfer syntax {syntax.name!r} cannot be decoded") from None
    if syntax.is_encapsulated:
        codestream.check(ds, whole(ds, "Rows", 0), whole(ds, "Columns", 0))
        _quieten_gdcm()
    # GDCM 3.2.6 ends the process where lossless JPEG of 8 bits uses fewer of them
    few = {"bits_stored": 8} if syntax in _LOSSLESS and ds.BitsAllocated == 8 else {}
    pixels = _as_array(decoder, ds, _PREFERRED.get(syntax, ""), few)
    unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False).view(unsigned)


def _as_array(
    decoder: Any, ds: Dataset, plugin: str, options: Mapping[str, int]
) -> npt.NDArray[Any]:
    array: npt.NDArray[Any]
    try:
        array, _ = decoder.as_array(
            ds,
            index=0,
            raw=True,
            view_only=True,
            correct_unused_bits=False,
            decoding_plugin=plugin if plugin in decoder.available_plugins else "",
            **options,
        )
    except BaseException as error:
        # pylibjpeg-rle 2.2.0 panics on segments that are too long; a panic of Rust is no Exception
        if type(error).__name__ == "PanicException":
            raise DicomError(f"damaged: {error}") from None
        raise
    return array


@functools.cache
def _quieten_gdcm() -> None:
    """Keep GDCM's C++ side from writing to stderr; what it returns says enough."""
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()


def count(pixels: Stored) -> npt.NDArray[np.int64]:
    """Count how often each bit pattern occurs: (256,) or (65536,)."""
    patterns = 1 << 8 * pixels.dtype.itemsize
    counts = np.zeros(patterns, np.int64)
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        counts += np.bincount(pixels[top : top + _ROWS_AT_ONCE].ravel(), minlength=patterns)
    return counts


def look_up(table: npt.NDArray[np.float32], pixels: Stored) -> npt.NDArray[np.float32]:
    """Replace each bit pattern by its entry in the table: (1, H, W)."""
    image = np.empty((1, *pixels.shape), np.float32)
    # numpy widens the indices to 64 bits first: in bands, that stays within the cache
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        band = slice(top, top + _ROWS_AT_ONCE)
        np.take(table, pixels[band], out=image[0, band], mode="wrap")
    return image


def digest(ds: Dataset, pixels: Stored) -> str:
    """Hash what the pixels are, however they were compressed: SHA-256, hex.

    Two files with the same digest show the same exposure, whatever their headers say.
    """
    bits = encoding(ds)
    values: npt.NDArray[Any] = pixels
    if bits.stored < bits.allocated:
        mask = (1 << bits.stored) - 1
        if bits.shift or pixels.max(initial=0) > mask:  # to look is faster than to copy
            values = (pixels >> bits.shift) & pixels.dtype.type(mask)
    shape = f"{pixels.shape[0]}x{pixels.shape[1]}x{pixels.dtype.itemsize}:"
    found = hashlib.sha256(shape.encode())
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()
