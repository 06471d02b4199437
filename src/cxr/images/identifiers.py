"""Which words of a file say whose it is, so that they are found where they do not belong.

Names stand in a Body Part Examined, numbers in an Instance Number: no list of attributes helps
against that. What the file itself calls its patient, though, can be looked for in all the rest.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue

from cxr.images import profile
from cxr.images.profile import Fate

_HOLDERS = frozenset(("AE", "AS", "DA", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI", "UN"))
"""VRs whose value, if it goes, is looked for in what stays; prose is not, it shares words."""

_PROSE = re.compile(r"Description|Comment|Protocol|Meaning|Label|Reason|Manufacturer|CodeValue")
_NUMBERED = re.compile(r"(?=[^\W\d_]*\d)[^\W_]{5,}")
_SHORT = 4
"""So short a word counts only where it stands alone: `Li` is in `LINEAR`."""
_LONG_NUMBER = 6
_LONGEST = 256
_TERMS = frozenset((
    "PA", "AP", "AP AXIAL", "PA AXIAL", "FRONTAL", "LL", "RL", "LATERAL", "LAT", "LEFT LATERAL",
    "RIGHT LATERAL",
    "CHEST", "CHEST PORT", "LUNG", "PORT CHEST", "RIB", "STERNUM", "THORAX",
    "CR", "DR", "DX", "RG", "ANALOG", "DIGITAL", "DERIVED", "ORIGINAL", "PRIMARY", "SECONDARY",
    "A", "F", "H", "L", "P", "R", "B", "U", "NO", "YES", "00", "01", "IDENTITY", "INVERSE",
    "LIN", "LOG", "LINEAR", "LINEAR_EXACT", "SIGMOID", "US", "OD", "HU", "POS", "NEG",
    "FOR PRESENTATION", "FOR PROCESSING", "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR",
    "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT",
))  # fmt: skip
"""Defined terms that decide on how a picture is shown: they stay, whatever a patient is called."""


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


def folded(text: str) -> str:
    """Give what two spellings of a name have in common.

    >>> folded("MU\u0308LLER") == folded("müller")
    True
    """
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True)
class Told:
    """What a file says of its patient, folded.

    Attributes:
        anywhere: Looked for within words.
        alone: Looked for as words.
    """

    anywhere: frozenset[str]
    alone: frozenset[str]

    def tells(self, text: str) -> bool:
        """Say whether a text holds one of them."""
        text = folded(text)
        return any(word in text for word in self.anywhere) or not self.alone.isdisjoint(
            re.split(r"[\W_]+", text)
        )

    def harmless_code(self, element: DataElement) -> bool:
        """Say whether each value is a short text that tells nothing."""
        if element.VR == "SQ":
            return False
        found = texts(element)
        return all(t in _TERMS or (len(t) <= 64 and not self.tells(t)) for t in found)

    def harmless_number(self, element: DataElement) -> bool:
        """Say whether each value is a number, and none of those that stand for the patient."""
        if isinstance(element.value, bytes):
            return len(element.value) <= 8  # of ambiguous VR; not decoded yet
        return all(_is_number(t) and not self._is_known(t) for t in texts(element))

    def _is_known(self, number: str) -> bool:
        # window and spacing are shorter, and equal to an identifier only by chance
        digits = re.sub(r"\D", "", number)
        if len(digits) < _LONG_NUMBER:
            return False
        return any(digits == re.sub(r"\D", "", w) or w in number for w in self.anywhere)


def of(ds: Dataset) -> Told:
    """Collect what a file calls its patient, from every attribute that does not stay."""
    anywhere, alone = set[str](), set[str]()
    for word in _words(ds):
        (anywhere if len(word) >= _SHORT else alone).add(folded(word))
    return Told(frozenset(anywhere), frozenset(alone))


def _words(ds: Dataset) -> Iterator[str]:
    for element in elements(ds):
        if element.VR == "SQ":
            for item in element.value:
                yield from _words(item)
        elif element.VR == "PN":
            for text in texts(element):
                yield text
                yield from (part for part in re.split(r"[\^=\s,]+", text) if len(part) > 1)
        elif element.VR in _HOLDERS and profile.fate(element.tag) in _GONE:
            found = [] if _PROSE.search(element.keyword) else texts(element)
            for text in found:
                if 2 < len(text) <= _LONGEST:
                    yield text
                    if element.VR in ("LO", "SH", "UC"):  # MRN-8840217 is 8840217 too
                        yield from _NUMBERED.findall(text)


_GONE = (Fate.REMOVE, Fate.EMPTY, Fate.UID, Fate.DATE)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
