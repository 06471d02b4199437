"""What a header says about the picture, and what is odd about it: one rule, one function.

A rule gives what it met as one sentence, or None. None of these keeps a file out by itself: the
picture can be read, but somebody should know. `persons` has the rules about the patient.
"""

import math

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from cxr.images import attributes, dicom, pixels, views
from cxr.images.windowing import Encoding

CHEST = ("CHEST", "THORAX", "LUNG", "RIB", "STERNUM", "PORT CHEST", "CHEST PORT")
"""Words one of which Body Part Examined must begin with, where it is given."""

# PS3.16 CID 4031 and 4: thorax, lung, rib, sternum in SNOMED CT and SNOMED-RT
_CHEST_CODES = {
    "51185008", "816094009", "39607008", "113197003", "56873002", "302551006", "43799004",
    "T-D3000", "T-28000", "T-11300", "T-11210", "T-D3001",
}  # fmt: skip
_ELSEWHERE = (
    "ABDOMEN", "ANKLE", "ARM", "ELBOW", "EXTREMITY", "FEMUR", "FINGER", "FOOT", "HAND", "HEAD",
    "HIP", "KNEE", "LEG", "LUMBAR", "NECK", "PELVIS", "SHOULDER", "SKULL", "SPINE", "TIBIA",
    "TOE", "WRIST",
)  # fmt: skip
_DESCRIPTIONS = (
    "StudyDescription", "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)  # fmt: skip
_TURNED = {
    ("R", "F"): "mirrored left to right",
    ("L", "H"): "flipped top to bottom",
    ("R", "H"): "turned by 180 degrees",
}
_CLOSE = 0.01  # of spacings that mean the same
_LONG_SIDE_MM = (200.0, 600.0)
_FEW_GREYS = 0.1


def other_body_part(ds: Dataset) -> str | None:
    """The chest, where a body part is given at all; many files leave it empty."""
    if met := dicom.text(ds, "BodyPartExamined"):
        if met.upper().startswith(CHEST):
            return None
        return f"BodyPartExamined is {attributes.shown(met)}, expected CHEST"
    for region in attributes.items(ds, "AnatomicRegionSequence"):
        value, meaning = dicom.text(region, "CodeValue"), dicom.text(region, "CodeMeaning")
        named = any(word in meaning.upper() for word in CHEST)
        if not (named or value in _CHEST_CODES) and (value or meaning):
            code = attributes.shown(f"{value} {meaning}".strip())
            return f"AnatomicRegionSequence says {code}, expected the chest"
    return None


def no_body_part(ds: Dataset) -> str | None:
    """Some body part; descriptions are free text, so they only say where to look."""
    if dicom.text(ds, "BodyPartExamined") or attributes.items(ds, "AnatomicRegionSequence"):
        return None
    for keyword in _DESCRIPTIONS:
        words = dicom.text(ds, keyword).upper()
        if found := [word for word in (*CHEST, *_ELSEWHERE) if word in words]:
            return f"BodyPartExamined is empty, {keyword} mentions {found[0]}"
    return "BodyPartExamined is empty, expected CHEST"


def lateral_view(ds: Dataset) -> str | None:
    """Seen from the front or the back."""
    return f"{_view(ds)}: a lateral view" if dicom.view(ds) == views.LATERAL else None


def unknown_view(ds: Dataset) -> str | None:
    """Seen from a side that is known; obliques and decubitus count as unknown."""
    if dicom.view(ds) != views.UNKNOWN:
        return None
    return f"{_view(ds)}, expected PA, AP, LL or RL"


def _view(ds: Dataset) -> str:
    if position := dicom.text(ds, "ViewPosition"):
        return f"ViewPosition is {attributes.shown(position)}"
    for code in attributes.items(ds, "ViewCodeSequence"):
        met = f"{dicom.text(code, 'CodeValue')} {dicom.text(code, 'CodeMeaning')}"
        return f"ViewCodeSequence says {attributes.shown(met.strip())}"
    return "ViewPosition is empty"


def orientation(ds: Dataset) -> str | None:
    """Upright, the patient's left on the right, where it is stated (PS3.3 C.7.6.1.1.1)."""
    met = dicom.text(ds, "PatientOrientation")
    ways = tuple(part.strip().upper() for part in met.split("\\"))
    if not any(ways):
        return None
    said = f"PatientOrientation is {attributes.shown(met)}"
    if len(ways) != 2 or not all(ways):
        return f"{said}, expected two directions such as L\\F"
    first, second = ways[0][0], ways[1][0]  # LF\FL says mostly left, mostly feet
    if second == "F" and (first == "L" or (first in "AP" and dicom.view(ds) == views.LATERAL)):
        return None
    if first in "HF":
        return f"{said}: lies on its side, turned by 90 degrees"
    if first in "AP" and second in "HF":
        return f"{said}: {'upside down' if second == 'H' else 'a side view'}"
    return f"{said}: {_TURNED.get((first, second), 'no way to show a chest')}"


def no_window(ds: Dataset) -> str | None:
    """A window or a VOI LUT (PS3.3 C.11.2)."""
    given = [dicom.text(ds, k) for k in ("WindowCenter", "WindowWidth")]
    if any(given) or attributes.items(ds, "VOILUTSequence"):
        return None
    return "holds neither WindowCenter and WindowWidth nor a VOILUTSequence"


def contradictory_window(ds: Dataset) -> str | None:
    """As many widths as centers, all of them positive (PS3.3 C.11.2.1.2.1)."""
    if attributes.items(ds, "VOILUTSequence"):
        return None  # an alternative to the window, and what is used
    centers, widths = (attributes.numbers(ds, k) for k in ("WindowCenter", "WindowWidth"))
    if len(centers) != len(widths):
        return f"has {len(centers)} of WindowCenter and {len(widths)} of WindowWidth"
    least = 1.0 if (dicom.text(ds, "VOILUTFunction").upper() or "LINEAR") == "LINEAR" else 0.0
    if wrong := [w for w in widths if w < least or w <= 0]:
        return f"WindowWidth is {wrong[0]:g}, expected {'at least 1' if least else 'more than 0'}"
    return None


def shows_little(table: npt.NDArray[np.float32], lowest: int, highest: int) -> str | None:
    """Greys worth seeing.

    Args:
        table: Display value of every bit pattern, in [0, 1].
        lowest: Pattern of the lowest stored value met.
        highest: Of the highest.
    """
    if lowest == highest:
        return None
    share = abs(float(table[highest]) - float(table[lowest]))
    if share >= _FEW_GREYS:
        return None
    return f"the window or VOI LUT shows all pixels within {100 * share:.0f} % of the greys"


def monochrome1(ds: Dataset) -> str | None:
    """Low values are black."""
    met = dicom.text(ds, "PhotometricInterpretation")
    return "PhotometricInterpretation is 'MONOCHROME1'" if met == "MONOCHROME1" else None


def presentation_lut(ds: Dataset) -> str | None:
    """IDENTITY with MONOCHROME2 and INVERSE with MONOCHROME1 (PS3.3 C.8.11.3.1.2)."""
    met, grey = (dicom.text(ds, k) for k in ("PresentationLUTShape", "PhotometricInterpretation"))
    expected = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}.get(grey)
    if not met or expected in (None, met):
        return None
    return f"PresentationLUTShape is {attributes.shown(met)} with {grey}, expected {expected}"


def odd_bits(ds: Dataset) -> str | None:
    """As many bits as there are greys, in the lowest places."""
    allocated = pixels.whole(ds, "BitsAllocated", 0)
    stored = pixels.whole(ds, "BitsStored", allocated)
    high = pixels.whole(ds, "HighBit", stored - 1)
    if high != stored - 1:
        return f"HighBit is {high} with BitsStored {stored}, expected {stored - 1}"
    if stored < 8 <= allocated:
        return f"BitsStored is {stored}, expected at least 8"
    if stored == 8 and allocated == 16:
        return "BitsStored is 8 of BitsAllocated 16: reduced from more"
    return None


def beyond_bits(encoding: Encoding, lowest: int, highest: int) -> str | None:
    """No values beyond BitsStored; sign extension is none (PS3.5 8.1.1).

    Args:
        encoding: Of the pixels.
        lowest: Stored value met, as the whole word read with its sign.
        highest: The same, of the highest.
    """
    most = ((1 << encoding.stored) - 1) << encoding.shift
    least = -(1 << encoding.stored - 1) if encoding.signed and not encoding.shift else 0
    if encoding.stored == encoding.allocated or least <= lowest <= highest <= most:
        return None
    return f"holds values from {lowest} to {highest}, more than BitsStored {encoding.stored} can"


def pixel_spacing(ds: Dataset) -> str | None:
    """Millimetres that can be, and that agree (PS3.3 10.7.1.1, 10.7.1.3)."""
    given = {k: attributes.numbers(ds, k) for k in ("PixelSpacing", "ImagerPixelSpacing")}
    size = [pixels.whole(ds, k, 0) for k in ("Rows", "Columns")]
    for keyword, spacing in given.items():
        if spacing and (wrong := _implausible(spacing, size)):
            met = "\\".join(f"{mm:g}" for mm in spacing[:4])
            return f"{keyword} is {met}: {wrong}"
    if not all(given.values()):
        return None
    ratios = [
        i / p for i, p in zip(given["ImagerPixelSpacing"], given["PixelSpacing"], strict=True)
    ]
    calibrated = dicom.text(ds, "PixelSpacingCalibrationType")
    factor = (attributes.numbers(ds, "EstimatedRadiographicMagnificationFactor") or [0.0])[0]
    if all(math.isclose(r, 1, rel_tol=_CLOSE) for r in ratios):
        return None
    if calibrated or math.isclose(ratios[0], factor, rel_tol=2 * _CLOSE):
        return None
    said = f"ImagerPixelSpacing is {ratios[0]:.3g} times PixelSpacing"
    if factor:
        return f"{said}, but EstimatedRadiographicMagnificationFactor {factor:g}"
    return f"{said}, and no calibration or magnification says why"


def _implausible(spacing: list[float], size: list[int]) -> str | None:
    if len(spacing) != 2:
        return "expected two numbers"
    if not all(mm > 0 for mm in spacing):
        return "expected more than 0"
    if not math.isclose(*spacing, rel_tol=_CLOSE):
        return "the pixels are not square"
    side = max(mm * count for mm, count in zip(spacing, size, strict=True))
    low, high = _LONG_SIDE_MM
    if side and not low <= side <= high:
        return f"the picture would be {side:.0f} mm long, expected {low:.0f} to {high:.0f}"
    return None


def burned_in(ds: Dataset) -> str | None:
    """No text in the pixels."""
    met = dicom.text(ds, "BurnedInAnnotation").upper()
    return "BurnedInAnnotation is 'YES'" if met == "YES" else None


def burned_in_unknown(ds: Dataset) -> str | None:
    """Somebody said whether there is text in the pixels."""
    met = dicom.text(ds, "BurnedInAnnotation")
    if met.upper() in ("YES", "NO"):
        return None
    return f"BurnedInAnnotation is {attributes.shown(met) if met else 'empty'}, expected NO"
