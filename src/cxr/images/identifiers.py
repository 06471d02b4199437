"""Which numbers of a file say whose it is, so that they are found where they do not belong.

Numbers stand in an Instance Number: no list of attributes helps against that. What the file itself
calls its patient, though, can be looked for in all the rest.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.multival import MultiValue

from cxr.images import profile
from cxr.images.profile import Fate

_HOLDERS = frozenset(("AE", "DA", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI", "UN"))
"""VRs whose numbers, if the value goes, are looked for in what stays; not ages, nor prose."""

_PROSE = re.compile(r"Description|Comment|Protocol|Meaning|Label|Reason|Manufacturer|Code|Coding")
_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_SHORT = 3
"""Fewer digits are an identifier only as a PatientID."""
_LONG_NUMBER = 6
_LONGEST = 256
_MOST_DIGITS = 32
_MOST_NUMBERS = 16
_PATIENT = ("PatientID", "OtherPatientIDs")

_SHOWN = frozenset((
    "BitsAllocated", "BitsStored", "Columns", "HighBit", "ImagerPixelSpacing", "NumberOfFrames",
    "PixelPaddingRangeLimit", "PixelPaddingValue", "PixelRepresentation", "PixelSpacing",
    "PlanarConfiguration", "RescaleIntercept", "RescaleSlope", "Rows", "SamplesPerPixel",
    "WindowCenter", "WindowWidth",
))  # fmt: skip
"""Without these the picture is another one; if short, they equal an identifier by chance."""


def elements(ds: Dataset) -> Iterator[DataElement]:
    """Give the attributes of a dataset that can be understood, in the order of their tags."""
    for tag in sorted(ds.keys()):
        try:
            yield ds[tag]
        except (ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError):
            continue  # what cannot be read cannot be shown to be harmless


def texts(element: DataElement) -> list[str]:
    """Give the values of an attribute as text, none where it is empty."""
    value = element.value
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [text for part in parts if part is not None and (text := _text(part))]


def _text(part: object) -> str:
    if isinstance(part, bytes):
        return part.decode("utf-8", "replace").strip(" \0")
    return str(part).strip(" \0")


@dataclass(frozen=True)
class Told:
    """The numbers by which a file calls its patient, as digits without leading zeros."""

    numbers: frozenset[str]

    def harmless_number(self, element: DataElement) -> bool:
        """Say whether an attribute holds numbers, and none of those that stand for the patient."""
        allowed, most = dictionary_VR(element.tag), dictionary_VM(element.tag)
        if isinstance(element.value, bytes):  # US or SS, and undecided
            return (element.VR, allowed, most) == ("US or SS", "US or SS", "1") and (
                len(element.value) == 2
            )
        if element.VR not in allowed.split(" or "):
            return False
        found = texts(element)
        if element.VR in ("DS", "IS"):
            count = int(most) if most.isdecimal() else _MOST_NUMBERS
        else:
            count = 1 if most == "1" else 0  # four words are eight letters
        if len(found) > count:
            return False
        known = self._is_known_shown if element.keyword in _SHOWN else self._is_known
        return all(_is_number(text) and not known(_value(text)) for text in found)

    def _is_known(self, number: str) -> bool:
        whole = number.split(".")[0].lstrip("0")
        joined = _digits(number)
        if {whole, joined} & self.numbers:
            return True
        return any(len(told) >= _LONG_NUMBER and told in joined for told in self.numbers)

    def _is_known_shown(self, number: str) -> bool:
        joined = _digits(number)
        return len(joined) >= _LONG_NUMBER and joined in self.numbers


def of(ds: Dataset) -> Told:
    """Collect the numbers by which a file calls its patient, of every attribute that goes."""
    return Told(frozenset(_numbers(ds)))


def _numbers(ds: Dataset) -> Iterator[str]:
    for element in elements(ds):
        if element.VR == "SQ":
            for item in element.value:
                yield from _numbers(item)
        elif element.VR in _HOLDERS and profile.fate(element.tag) in _GONE:
            short = 1 if element.keyword in _PATIENT else _SHORT
            for text in [] if _PROSE.search(element.keyword) else texts(element):
                if len(text) > _LONGEST:
                    continue
                if element.VR == "DA" and len(text) == 8:  # 17031941 is 19410317 too
                    yield from map(_digits, (text[6:] + text[4:6] + text[:4], text[4:] + text[:4]))
                if (whole := _digits(text)) and sum(map(str.isdigit, text)) >= short:
                    yield whole
                for word in _WORD.findall(text):  # MRN-8840217/2 is 8840217 too
                    if (part := _digits(word)) and sum(map(str.isdigit, word)) >= _SHORT:
                        yield part


_GONE = (Fate.REMOVE, Fate.EMPTY, Fate.UID, Fate.DATE)


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text).lstrip("0")


def _value(text: str) -> str:
    """Write a number plainly: 2000.00 is 2000, and no time of day."""
    plain = f"{Decimal(text):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and _NUMBER.fullmatch(text) is not None
