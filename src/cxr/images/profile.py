"""What becomes of one DICOM attribute under the Basic Profile of PS3.15 Annex E.

Table E.1-1 comes from dicom-anonymizer, which follows the standard's editions. It says what must
go; it does not say that the rest is harmless: any text may hold a name. So of what the table does
not list, only what a picture needs stays: numbers, terms of the standard, and a few sequences.
"""

import functools
from enum import Enum
from typing import Final

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag

from cxr.images import terms

EDITION: Final = "dicomfields_2026c"
"""Of Table E.1-1, as dicom-anonymizer names it."""


class Fate(Enum):
    """What becomes of an attribute."""

    REMOVE = "remove"
    EMPTY = "empty"
    UID = "replace by another UID"
    DATE = "shift"
    TERM = "keep the values that the standard lists"
    NUMBER = "keep, if it is a number and no identifier"
    PIXELS = "keep, up to the last pixel"
    CODES = "keep the codes that the standard lists"
    TABLES = "keep the lookup tables"
    ITEMS = "keep what is harmless in its items"


_SHIFTED = frozenset((
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime",
    "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime",
))  # fmt: skip
_CODES = frozenset((
    "AnatomicRegionModifierSequence", "AnatomicRegionSequence", "PatientOrientationCodeSequence",
    "PatientOrientationModifierCodeSequence", "PrimaryAnatomicStructureSequence",
    "PurposeOfReferenceCodeSequence", "ViewCodeSequence", "ViewModifierCodeSequence",
))  # fmt: skip
_TABLES = frozenset(("ModalityLUTSequence", "VOILUTSequence"))
_SEQUENCES = frozenset((
    "ReferencedImageSequence", "ReferencedInstanceSequence", "ReferencedSeriesSequence",
    "SourceImageSequence",
))  # fmt: skip
REQUIRED = frozenset((
    "AccessionNumber", "Manufacturer", "PatientBirthDate", "ReferringPhysicianName", "StudyID",
))  # fmt: skip
"""Type 2 in the IODs of radiographs: must be there, and may be empty."""

_GROUPS = frozenset((0x0008, 0x0018, 0x0020, 0x0028, 0x2050))
"""In which numbers and terms stay; how a picture was taken and is shown."""

_NUMBERS = frozenset(("DS", "IS", "SS", "US"))
"""Eight letters make a double, and four a long; two are too few to say anything."""


@functools.cache
def table() -> dict[tuple[int, ...], str]:
    """Give Table E.1-1: (group, element), or with their masks, to the Basic Profile's action.

    >>> table()[0x0010, 0x0010], table()[0x0008, 0x0018]
    ('Z', 'U')
    """
    lists = dicom_anonymization_database_selector(EDITION)
    return {
        tag: name.removesuffix("_TAGS").replace("_STAR", "*").replace("_", "/")
        for name, tags in lists.items()
        if name != "ALL_TAGS"
        for tag in tags
    }


@functools.cache
def fate(tag: BaseTag) -> Fate:
    """Decide what becomes of an attribute, wherever in the file it stands.

    >>> from pydicom.tag import Tag
    >>> fate(Tag("StudyDescription")).name, fate(Tag("WindowCenter")).name, fate(Tag(9, 16)).name
    ('REMOVE', 'NUMBER', 'REMOVE')
    """
    if tag.is_private or tag.element == 0 or not dictionary_has_tag(tag):
        return Fate.REMOVE
    keyword = keyword_for_tag(tag)
    for names, kept in (
        (REQUIRED, Fate.EMPTY),
        (_SHIFTED, Fate.DATE),
        (_SEQUENCES, Fate.ITEMS),
        (_CODES, Fate.CODES),
        (_TABLES, Fate.TABLES),
        (("PixelData",), Fate.PIXELS),
    ):
        if keyword in names:
            return kept
    action = table().get((tag.group, tag.element))
    if action == "U":
        return Fate.UID
    if action or tag.group not in _GROUPS:
        return Fate.REMOVE
    return Fate.TERM if terms.has(keyword) else _unlisted(dictionary_VR(tag))


def _unlisted(vr: str) -> Fate:
    if vr == "UI":
        return Fate.UID
    return Fate.NUMBER if _NUMBERS.issuperset(vr.split(" or ")) else Fate.REMOVE
