"""What is wrong with this file: one rule, one function.

A file comes in only if none of the rules objects. A rule looks at the header, and gives a reason
or None; a reason names the attribute, the value met and what was expected. The PatientID must
not be empty, although DICOM allows it: a split by patients is worthless without patients.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from cxr.errors import DicomError
from cxr.images import dicom, pixels, windowing

VERSION = 1
"""Raise it when a rule changes: files refused under older rules are then looked at again."""

MODALITIES = ("CR", "DX", "DR", "RG")
"""CR and DX by the standard; DR and RG are met in the wild for the same."""

CHEST = ("CHEST", "THORAX", "LUNG", "RIB", "STERNUM", "PORT CHEST", "CHEST PORT")
"""Words one of which Body Part Examined must begin with, where it is given."""


@dataclass(frozen=True)
class Finding:
    """What looking at one file gave.

    Attributes:
        problems: Reasons against it; none means it may come in.
        pixel_hash: Of the decoded pixels, hex; empty unless it may come in.
    """

    problems: tuple[str, ...]
    pixel_hash: str = ""


def problems(dicom: bytes | Path) -> list[str]:
    """List every reason why this file may not come in; none if it may. Decodes the pixels.

    >>> problems(b"file,finding_labels")
    ['not a DICOM file']
    """
    return list(examine(dicom).problems)


def examine(source: bytes | Path) -> Finding:
    """Look at one file once: problems, and the hash of its pixels."""
    if isinstance(source, Path):
        try:
            if source.stat().st_size > dicom.MAX_BYTES:
                return Finding((f"is longer than {dicom.MAX_BYTES} bytes",))
            source = source.read_bytes()
        except OSError as error:
            return Finding((f"cannot be read: {error.strerror or error}",))
    try:
        ds = dicom.parse(source)
    except DicomError as error:
        return Finding((str(error),))
    reasons = [reason for rule in RULES if (reason := _ask(rule, ds, source))]
    if reasons:
        return Finding(tuple(reasons))
    try:
        with dicom.explained(source):
            stored = pixels.decode(ds)
            encoding, counts = pixels.encoding(ds), functools.partial(pixels.count, stored)
            windowing.table(ds, encoding, windowing.VOI, counts)  # raises what is wrong with it
            return Finding((), pixels.digest(ds, stored))
    except DicomError as error:
        return Finding((str(error),))


def _ask(rule: Callable[[Dataset], str | None], ds: Dataset, source: bytes) -> str | None:
    try:
        with dicom.explained(source):
            return rule(ds)
    except DicomError as error:
        return str(error)


def other_modality(ds: Dataset) -> str | None:
    """Projection radiography only."""
    met = dicom.text(ds, "Modality")
    if met in MODALITIES:
        return None
    return f"Modality is {met!r}, expected one of {', '.join(MODALITIES)}"


def other_body_part(ds: Dataset) -> str | None:
    """The chest, where a body part is given at all; many files leave it empty."""
    met = dicom.text(ds, "BodyPartExamined")
    if not met or met.upper().startswith(CHEST):
        return None
    return f"BodyPartExamined is {met!r}, expected CHEST"


def no_patient(ds: Dataset) -> str | None:
    """Someone it was taken of."""
    return None if dicom.text(ds, "PatientID") else "PatientID is empty, splits need patients"


def no_identifiers(ds: Dataset) -> str | None:
    """Study, series and instance UIDs."""
    dicom.instance(ds)  # raises the reason
    return None


def contradicting_identifiers(ds: Dataset) -> str | None:
    """The file's own meta information names the same instance."""
    meta = str(ds.file_meta.get("MediaStorageSOPInstanceUID", "")).strip(" \0")
    uid = dicom.text(ds, "SOPInstanceUID")
    if not meta or meta == uid:
        return None
    return f"SOPInstanceUID is {uid!r}, but MediaStorageSOPInstanceUID {meta!r}"


RULES: tuple[Callable[[Dataset], str | None], ...] = (
    other_modality,
    other_body_part,
    no_identifiers,
    no_patient,
    contradicting_identifiers,
    *pixels.RULES,
)
