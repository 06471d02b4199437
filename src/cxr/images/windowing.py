"""From stored values to display values, as one table.

Everything a grey image goes through on its way to the screen (unused bits, sign, Modality LUT,
padding, VOI, inversion) looks at one pixel at a time. So it is worked out once per possible bit
pattern, in float64, and the pixels are looked up: exact, and faster than the chain itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from cxr.errors import DicomError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

VOI = "voi"
MIMIC_JPG = "mimic_jpg"
CHEXPERT = "chexpert"
PRESETS = (VOI, MIMIC_JPG, CHEXPERT)

LOW, HIGH = 0.5, 99.5
"""Percentiles shown as black and white where the file names no usable window."""


@dataclass(frozen=True)
class Encoding:
    """How one stored value lies in its bits.

    Attributes:
        allocated: Bits per pixel in memory, 8 or 16.
        stored: Bits that mean something.
        shift: Position of the lowest of them.
        signed: Two's complement.
    """

    allocated: int
    stored: int
    shift: int = 0
    signed: bool = False

    def values(self) -> Floats:
        """Give the stored value of each bit pattern: (2**allocated,)."""
        patterns = np.arange(1 << self.allocated, dtype=np.int64)
        values = (patterns >> self.shift) & ((1 << self.stored) - 1)
        if self.signed:
            values -= (values >> (self.stored - 1)) << self.stored
        return values.astype(np.float64)


def table(
    ds: Dataset, encoding: Encoding, preset: str, counts: Callable[[], Counts]
) -> npt.NDArray[np.float32]:
    """Work out the display value of every bit pattern, 0 black to 1 white, black being air.

    `voi` is what a radiologist's screen shows: Modality LUT, then VOI LUT or window
    (PS3.3 C.11). `mimic_jpg` and `chexpert` repeat how those data sets were published, which
    used neither and knew no padding.

    Args:
        ds: Header; its Photometric Interpretation is MONOCHROME1 or MONOCHROME2.
        encoding: Of the pixels.
        preset: One of `PRESETS`.
        counts: Gives how often each pattern occurs, (2**allocated,); called only when needed.

    Returns:
        (2**allocated,) in [0, 1].

    Raises:
        DicomError: A lookup table or number in the header cannot be.
    """
    stored = encoding.values()
    inverted = ds.get("PhotometricInterpretation") == "MONOCHROME1"
    if preset != VOI:
        return _as_published(stored, counts(), inverted, preset)
    padding = _padding(ds, stored)
    modality = _modality(ds, stored)
    shown = _voi(ds, modality)
    if shown is None:
        shown = _stretched(modality, np.where(padding, 0, counts()))
    np.clip(shown, 0, 1, out=shown)
    if inverted:
        shown = 1 - shown
    shown[padding] = 0
    return shown.astype(np.float32)


def _padding(ds: Dataset, stored: Floats) -> npt.NDArray[np.bool_]:
    """Mark the values that lie outside the image (PS3.3 C.7.5.1.1.2)."""
    value = _number(ds, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = _number(ds, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def _modality(ds: Dataset, stored: Floats) -> Floats:
    """Apply the Modality LUT Sequence, or else rescale (PS3.3 C.11.1)."""
    if sequence := ds.get("ModalityLUTSequence"):
        values, first, _ = _lookup(ds, sequence[0], "ModalityLUTSequence")
        return values[np.clip(stored - first, 0, len(values) - 1).astype(np.int64)]
    slope, intercept = _number(ds, "RescaleSlope"), _number(ds, "RescaleIntercept")
    if slope == 0:
        raise DicomError("RescaleSlope is 0, which makes all pixels equal")
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


def _voi(ds: Dataset, modality: Floats) -> Floats | None:
    """Apply the first VOI LUT or else the first window; None where there is none to use."""
    if sequence := ds.get("VOILUTSequence"):
        values, first, bits = _lookup(ds, sequence[0], "VOILUTSequence")
        at = np.clip(modality - first, 0, len(values) - 1).astype(np.int64)
        return values[at] / ((1 << bits) - 1)
    center, width = _number(ds, "WindowCenter"), _number(ds, "WindowWidth")
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DicomError(
            f"VOILUTFunction is {function!r}, expected LINEAR, LINEAR_EXACT or SIGMOID"
        )
    # a width of 0 is met in the wild, and means nothing (PS3.3 C.11.2.1.2.1)
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (modality - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return (modality - center) / width + 0.5
    if width == 1:
        return (modality > center - 0.5).astype(np.float64)
    return (modality - (center - 0.5)) / (width - 1) + 0.5


def _stretched(modality: Floats, counts: Counts) -> Floats:
    """Spread the bulk of the pixels over black to white."""
    order = np.argsort(modality, kind="stable")
    seen = np.cumsum(counts[order])
    if seen[-1] == 0:
        return np.zeros_like(modality)
    places = np.searchsorted(seen, [seen[-1] * LOW / 100, seen[-1] * HIGH / 100])
    low, high = modality[order[np.minimum(places, len(order) - 1)]]
    return (modality - low) / (high - low) if high > low else np.zeros_like(modality)


def _as_published(
    stored: Floats, counts: Counts, inverted: bool, preset: str
) -> npt.NDArray[np.float32]:
    """Repeat a published data set's own way: to 8 bits, invert, equalise the histogram."""
    used = stored[counts > 0]
    low = used.min() if preset == MIMIC_JPG else 0.0
    span = used.max() - low
    grey = np.zeros(stored.shape, np.int64)
    if span > 0:
        grey = np.clip((stored - low) / span * 255, 0, 255).astype(np.int64)
    if inverted:
        grey = 255 - grey
    return (_equalised(np.bincount(grey, counts, 256).astype(np.float64))[grey] / 255).astype(
        np.float32
    )


def _equalised(histogram: Floats) -> Floats:
    """Give the new grey level of each of 256, as OpenCV's equalizeHist does."""
    first = int(np.argmax(histogram > 0))
    rest = histogram.sum() - histogram[first]
    if rest == 0:
        return np.full(256, float(first))
    levels: Floats = np.maximum(np.cumsum(histogram) - histogram[first], 0) * (255 / rest)
    return np.rint(levels)


def _lookup(ds: Dataset, item: Dataset, name: str) -> tuple[Floats, int, int]:
    """Read one lookup table: its values, the first input it maps, bits per value."""
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if isinstance(descriptor, bytes):
        descriptor = np.frombuffer(descriptor, "<u2").tolist()
    if descriptor is None or data is None or len(descriptor) != 3:
        raise DicomError(f"{name}: expected a descriptor of three numbers and data")
    # PS3.3 C.11.1.1.1: the number of entries is 16 bits wide, 0 stands for 65536
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries or 1 << 16
    if first > 0x7FFF and ds.get("PixelRepresentation") == 1:
        first -= 1 << 16
    if isinstance(data, bytes):
        values = np.frombuffer(data, np.uint8 if len(data) < 2 * entries else "<u2")
    else:
        values = np.atleast_1d(np.asarray(data, np.uint16))
        if 2 * len(values) in (entries, entries + 1):  # two 8-bit entries in each word
            values = values.view(np.uint8)
    if len(values) < entries or not 1 <= bits <= 16:
        raise DicomError(f"{name}: expected {entries} entries, met {len(values)} of {bits} bits")
    return values[:entries].astype(np.float64), first, bits


def _number(ds: Dataset, keyword: str) -> float | None:
    """Read the first of possibly several numbers; None where there is none."""
    value = ds.get(keyword)
    if value is not None and not isinstance(value, str | bytes) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    if isinstance(value, bytes):  # implicit VR leaves US or SS undecided where pydicom cannot
        value = int.from_bytes(value[:2], "little", signed=ds.get("PixelRepresentation") == 1)
    try:
        number = float(value)
    except ValueError:
        raise DicomError(f"{keyword} is {str(value)!r}, expected a number") from None
    if not np.isfinite(number):
        raise DicomError(f"{keyword} is {str(value)!r}, expected a finite number")
    return number
