"""The words and codes that may stay in a de-identified file: those of the standard, no others.

A coded string may hold anything, MUELLER as well as CHEST, and no search finds the name of a
physician whom the rest of the file does not mention. So what stays is what stands in a list here.
"""

import functools
import re
from collections.abc import Iterable, Mapping

from pydicom.sr._snomed_dict import mapping as _snomed
from pydicom.sr.codedict import Collection

_YES_NO = frozenset(("YES", "NO"))
_SIDES = frozenset(("L", "R", "B", "U"))

# PS3.16 annex L, where it can get into a radiograph of a body, and what the doctor takes for a
# chest (`rules.CHEST`)
_BODY_PARTS = frozenset((
    "CHEST", "CHEST PORT", "PORT CHEST", "CHEST PA", "CHEST AP", "CHEST LAT", "CHEST LL",
    "CHEST LATERAL", "THORAX", "LUNG", "LUNGS", "RIB", "RIBS", "STERNUM", "CHESTABDOMEN",
    "CHESTABDPELVIS", "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV",
    "ABDOMEN", "ABDOMENPELVIS", "ACJOINT", "ANKLE", "AORTA", "ARM", "BREAST", "BRONCHUS",
    "CALCANEUS", "CLAVICLE", "COCCYX", "CSPINE", "CTSPINE", "ELBOW", "ESOPHAGUS", "EXTREMITY",
    "FEMUR", "FIBULA", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEADNECK", "HEART", "HIP",
    "HUMERUS", "ILIUM", "JAW", "KNEE", "KIDNEY", "LEG", "LSPINE", "LSSPINE", "LUMBAR",
    "MANDIBLE", "MAXILLA", "MEDIASTINUM", "NECK", "ORBIT", "PANCREAS", "PATELLA", "PELVIS",
    "RADIUS", "SACRUM", "SCAPULA", "SHOULDER", "SIJOINT", "SKULL", "SPINE", "SSPINE", "STOMACH",
    "TIBIA", "TLSPINE", "TOE", "TRACHEA", "TSPINE", "ULNA", "WHOLEBODY", "WRIST",
))  # fmt: skip

_STRINGS: Mapping[str, frozenset[str]] = {
    "BodyPartExamined": _BODY_PARTS,
    "BurnedInAnnotation": _YES_NO,
    "ConversionType": frozenset(("DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN")),
    "DetectorType": frozenset(("DIRECT", "SCINTILLATOR", "STORAGE", "FILM")),
    "ExposureControlMode": frozenset(("MANUAL", "AUTOMATIC")),
    "FieldOfViewHorizontalFlip": _YES_NO,
    "FieldOfViewShape": frozenset(("RECTANGLE", "ROUND", "HEXAGONAL")),
    "Grid": frozenset(("FIXED", "FOCUSED", "RECIPROCATING", "PARALLEL", "CROSSED", "NONE", "IN")),
    "ImageLaterality": _SIDES,
    "ImageType": frozenset((
        "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "POST_PROCESSED", "POST_PROCESSING",
        "FOR PRESENTATION", "FOR PROCESSING", "CSA", "RESAMPLED", "OTHER", "MEAN", "NONE",
    )),
    "Laterality": _SIDES,
    "LossyImageCompression": frozenset(("00", "01")),
    "LossyImageCompressionMethod": frozenset((
        "ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1",
    )),
    "Modality": frozenset((
        "CR", "DX", "DR", "RG", "CT", "MR", "MG", "XA", "RF", "US", "NM", "PT", "SC", "OT", "IO",
        "PX", "XC", "ES", "PR", "SR", "KO", "HD", "TG", "XRF", "BMD",
    )),
    "ModalityLUTType": frozenset(("OD", "HU", "US", "MGML", "PCT")),
    "PatientPosition": frozenset((
        "HFP", "HFS", "HFDR", "HFDL", "FFP", "FFS", "FFDR", "FFDL",
    )),
    "PhotometricInterpretation": frozenset((
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
        "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
    )),
    "PixelIntensityRelationship": frozenset(("LIN", "LOG", "DISP")),
    "PixelSpacingCalibrationType": frozenset(("GEOMETRY", "FIDUCIAL")),
    "PresentationIntentType": frozenset(("FOR PRESENTATION", "FOR PROCESSING")),
    "PresentationLUTShape": frozenset(("IDENTITY", "INVERSE", "LIN OD")),
    "QualityControlImage": _YES_NO | {"BOTH"},
    "RecognizableVisualFeatures": _YES_NO,
    "RescaleType": frozenset(("OD", "HU", "US", "MGML", "PCT")),
    "SpatialLocationsPreserved": _YES_NO | {"REORIENTED_ONLY"},
    "ViewPosition": frozenset((
        "PA", "AP", "AP AXIAL", "PA AXIAL", "FRONTAL", "LL", "RL", "LATERAL", "LAT",
        "LEFT LATERAL", "RIGHT LATERAL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO",
        "LORDOTIC", "AP LORDOTIC", "OBLIQUE", "SWIMMERS", "XTABLE LATERAL",
    )),
    "VOILUTFunction": frozenset(("LINEAR", "LINEAR_EXACT", "SIGMOID")),
}  # fmt: skip
_AXES = ("RL", "AP", "HF")

# PS3.16: views and their modifiers, anatomic regions and theirs, positions, purposes of reference
_GROUPS = (4010, 4011, 4012, 4009, 4031, 4, 2, 244, 19, 20, 23, 7201, 7202, 7203)
_EXTRA = {
    ("SRT", "R-10214"): "postero-anterior",
    ("SRT", "R-40888"): "postero-anterior",
    ("SCT", "49370004"): "lateral",
    ("SCT", "51185008"): "Chest",
    ("SCT", "43799004"): "Thoracic cavity",
    ("SCT", "302551006"): "Entire thorax",
    ("SRT", "T-D3000"): "Chest",
    ("SRT", "T-D3001"): "Chest",
    ("SRT", "F-10440"): "erect",
    ("SRT", "F-10450"): "recumbent",
}
_SNOMED_RT = ("SRT", "SNM3", "99SDM")
"""Names under which the same codes were written (PS3.16 table 8-1)."""


def has(keyword: str) -> bool:
    """Say whether there is a list for an attribute."""
    return keyword in _STRINGS or keyword == "PatientOrientation"


def known(keyword: str, values: Iterable[str]) -> list[str]:
    """Give the values of a coded string, those that are in no list as empty ones.

    >>> known("BodyPartExamined", ["CHEST"]), known("BodyPartExamined", ["MUELLER"])
    (['CHEST'], [])
    >>> known("ImageType", ["DERIVED", "MUELLER", "POST_PROCESSED"])
    ['DERIVED', '', 'POST_PROCESSED']
    """
    if keyword == "PatientOrientation":
        found = [text if _is_direction(text) else "" for text in values]
    else:
        terms = _STRINGS.get(keyword, frozenset())
        found = [text if " ".join(text.upper().split()) in terms else "" for text in values]
    while found and not found[-1]:
        found.pop()
    return found


def _is_direction(text: str) -> bool:
    """Say whether a text is one of `L`, `LF`, … (PS3.3 C.7.6.1.1.1)."""
    letters = text.upper()
    return bool(re.fullmatch("[RLAPHF]{1,3}", letters)) and all(
        sum(letters.count(way) for way in axis) <= 1 for axis in _AXES
    )


def meaning(value: str, scheme: str) -> tuple[str, str] | None:
    """Look up a code: its coding scheme and what it means; None if it is none of the standard's.

    >>> meaning("R-10206", "SRT"), meaning("MUELLER", "99LOCAL")
    (('SRT', 'antero-posterior'), None)
    """
    schemes = ("SCT", "SRT", "DCM") if not scheme else (scheme,)
    for name in schemes:
        asked = "SRT" if name in _SNOMED_RT else name
        if found := _codes().get((asked, value)):
            return name, found
        if asked == "SRT" and (found := _codes().get(("SCT", _snomed["SRT"].get(value, "")))):
            return name, found
    return None


@functools.cache
def _codes() -> Mapping[tuple[str, str], str]:
    found = dict(_EXTRA)
    for number in _GROUPS:
        for code in Collection(f"CID{number}").concepts.values():
            found.setdefault((code.scheme_designator, code.value), code.meaning)
    return found
