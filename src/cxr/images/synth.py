"""Chest radiographs that never were, as DICOM, with what was drawn in them.

For the demo and the tests: nobody's data, and the truth is known. Everything follows from a seed
and an index: the same patient has the same chest in each of her one to three
images, and one image in eight is stored as MONOCHROME1. Research use only.
"""

import bisect
import hashlib
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from cxr.contract.labels import NO_FINDING, State
from cxr.images import anatomy, lesions
from cxr.images.lesions import Ellipse

SIZE = (512, 448)
"""Rows and columns, unless told otherwise."""

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
    "Pleural Other",
    "Support Devices",
)
"""The findings of MIMIC-CXR, in its order."""

VERSION = 1
"""Raise it when the drawing changes: other pixels must not come under the same UIDs."""

_OPACITIES = ("Atelectasis", "Consolidation", "Edema", "Lung Lesion", "Pneumonia")
# Of the images that may show anything; healthy ones come on top
_CHANCES = {
    "Cardiomegaly": 0.26,
    "Fracture": 0.23,
    "Pleural Effusion": 0.28,
    "Pneumothorax": 0.23,
    "Pleural Other": 0.23,
}
_HEALTHY, _OPAQUE, _OPACITY, _WIDE, _DEVICES = 0.15, 0.46, 0.44, 0.09, 0.30

# Images of eight patients; they make up fifteen, of which the last one is a lateral
_IMAGES = (1, 2, 1, 3, 2, 1, 2, 3)
_CYCLE = sum(_IMAGES)
_MAX = 4095
_HEIGHT_MM = 400.0


@dataclass(frozen=True)
class _Who:
    patient: int
    number: int
    lateral: bool


def draw(
    index: int, *, seed: int = 0, size: tuple[int, int] = SIZE
) -> tuple[bytes, dict[str, State]]:
    """Draw one radiograph.

    Args:
        index: Which one; the first hundred do not depend on how many follow.
        seed: Everything follows from it and the index.
        size: Rows, columns.

    Returns:
        Part 10 bytes, 12 of 16 bits, uncompressed, of patient `SYN<seed>-<number>`; and for each
        of `FINDINGS`, and No Finding, whether it is present or absent.
    """
    who = _who(index)
    present = _present(index, seed)
    canvas, _, rng = _drawn(index, seed, size)
    picture = anatomy.exposed(canvas, rng)
    states = {n: State.PRESENT if n in present else State.ABSENT for n in FINDINGS}
    healthy = not present - {"Support Devices"}
    states[NO_FINDING] = State.PRESENT if healthy else State.ABSENT
    return _dicom(picture, who, index, seed), states


def outlines(
    index: int, *, seed: int = 0, size: tuple[int, int] = SIZE
) -> Mapping[str, list[Ellipse]]:
    """Say where `draw` draws each finding that is present: ellipses in pixels."""
    return _drawn(index, seed, size)[1]


def _drawn(
    index: int, seed: int, size: tuple[int, int]
) -> tuple[anatomy.Canvas, dict[str, list[Ellipse]], np.random.Generator]:
    who, present = _who(index), _present(index, seed)
    # streams apart, so that a patient's chest does not depend on the findings drawn in it
    rng = np.random.default_rng([seed, 2, index])
    pose = anatomy.posed(anatomy.body(np.random.default_rng([seed, 1, who.patient])), rng)
    pose = lesions.prepared(pose, present, rng)
    canvas = (anatomy.lateral if who.lateral else anatomy.frontal)(size, pose, rng)
    # the opacity of its own is drawn only where no other finding is one
    drawn = present - ({"Lung Opacity"} if present & set(_OPACITIES) else set())
    found = lesions.add(canvas, drawn, rng)
    if "Lung Opacity" in present - drawn:
        found["Lung Opacity"] = [e for n in _OPACITIES for e in found.get(n, [])]
    return canvas, {name: found[name] for name in FINDINGS if name in found}, rng


def _who(index: int) -> _Who:
    round_, place = divmod(index, _CYCLE)
    starts = list(itertools.accumulate(_IMAGES, initial=0))
    patient = bisect.bisect_right(starts, place) - 1
    lateral = place == _CYCLE - 1
    return _Who(round_ * len(_IMAGES) + patient, place - starts[patient], lateral)


def _present(index: int, seed: int) -> frozenset[str]:
    if _who(index).lateral:  # of the same study as the image before, so of the same chest
        return _present(index - 1, seed)
    rng = np.random.default_rng([seed, 0, index])
    chance = rng.random(len(FINDINGS) + 4)
    devices = {"Support Devices"} if chance[0] < _DEVICES else set()
    if chance[1] < _HEALTHY:
        return frozenset(devices)
    found = devices | {n for n, c in zip(_CHANCES, chance[2:], strict=False) if c < _CHANCES[n]}
    if chance[7] < _OPAQUE:
        found |= {n for n, c in zip(_OPACITIES, chance[8:], strict=False) if c < _OPACITY}
        found.add("Lung Opacity")
    if "Cardiomegaly" in found or chance[13] < _WIDE:
        found.add("Enlarged Cardiomediastinum")
    return frozenset(found)


def _dicom(picture: anatomy.Picture, who: _Who, index: int, seed: int) -> bytes:
    rng = np.random.default_rng([seed, 3, who.patient])
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    is_cr = index % 3 == 0
    ds.SOPClassUID = (
        ComputedRadiographyImageStorage if is_cr else DigitalXRayImageStorageForPresentation
    )
    # the same chest in another size has other pixels, so it is another instance
    drawing = (seed, *picture.shape)
    ds.SOPInstanceUID = _uid("instance", index, drawing)
    # a lateral belongs to the study of the frontal before it
    study = index - 1 if who.lateral else index
    ds.StudyInstanceUID = _uid("study", study, drawing)
    ds.SeriesInstanceUID = _uid("series", index, drawing)
    ds.Modality = "CR" if is_cr else "DX"
    ds.PatientID = f"SYN{seed}-{who.patient + 1:04d}"
    ds.PatientName = f"Synthetic^{who.patient + 1}"
    ds.PatientSex = "F" if rng.random() < 0.5 else "M"
    ds.PatientAge = f"{int(rng.integers(20, 90)):03d}Y"
    ds.StudyDate = f"2026{1 + study % 12:02d}{1 + study // 12 % 28:02d}"
    ds.StudyTime, ds.StudyID, ds.AccessionNumber = "120000", str(study), ""
    ds.PatientBirthDate, ds.ReferringPhysicianName, ds.Manufacturer = "", "", "cxr.images.synth"
    ds.SeriesNumber, ds.InstanceNumber = who.number + 1, 1
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "LL" if who.lateral else "AP" if index % 4 == 1 else "PA"
    ds.PatientOrientation = ["P", "F"] if who.lateral else ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    _add_pixels(ds, picture, inverted=index % 8 == 7, rng=np.random.default_rng([seed, 4, index]))
    file = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def _add_pixels(
    ds: Dataset, picture: anatomy.Picture, *, inverted: bool, rng: np.random.Generator
) -> None:
    """Store the picture as a detector would: only a part of its range, and a window on that."""
    low, high = int(rng.integers(100, 500)), int(rng.integers(3300, 4000))
    stored = np.rint(low + picture * np.float32(high - low)).astype("<u2")
    if inverted:
        stored, (low, high) = _MAX - stored, (_MAX - high, _MAX - low)
    ds.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.Rows, ds.Columns = stored.shape
    spacing = round(_HEIGHT_MM / stored.shape[0], 4)
    ds.ImagerPixelSpacing = [spacing, spacing]
    # PS3.3 C.11.2.1.2: a LINEAR window of this width runs from low to high inclusive
    ds.WindowCenter, ds.WindowWidth = (low + high + 1) / 2, high - low + 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PixelData = stored.tobytes()


def _uid(kind: str, number: int, drawing: tuple[int, ...]) -> str:
    """Make a UID of a hash, under 2.25 (PS3.5 B.2): the same again for the same image."""
    name = f"cxr synth {VERSION} {kind} {number} of {drawing}"
    digest = hashlib.sha256(name.encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
