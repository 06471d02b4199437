"""What can be asked of the index, and how a question becomes SQL.

The attributes are those of QIDO-RS (PS3.18 10.6.3.3) that a chest radiograph has. An unknown one
is refused: ignoring it would widen the answer, and a job would label the wrong patients' images.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag

from cxr.errors import PacsError

LEVELS = ("studies", "series", "instances")

# keyword → the level it belongs to; the columns of the index bear the same names
ATTRIBUTES: dict[str, str] = {
    "PatientID": "studies",
    "PatientName": "studies",
    "PatientBirthDate": "studies",
    "PatientSex": "studies",
    "StudyInstanceUID": "studies",
    "StudyDate": "studies",
    "StudyTime": "studies",
    "StudyID": "studies",
    "StudyDescription": "studies",
    "AccessionNumber": "studies",
    "SeriesInstanceUID": "series",
    "SeriesNumber": "series",
    "SeriesDescription": "series",
    "Modality": "series",
    "BodyPartExamined": "series",
    "SOPInstanceUID": "instances",
    "SOPClassUID": "instances",
    "InstanceNumber": "instances",
    "ViewPosition": "instances",
    "PhotometricInterpretation": "instances",
    "BurnedInAnnotation": "instances",
    "Rows": "instances",
    "Columns": "instances",
    "BitsAllocated": "instances",
}
OURS = {"view": "view"}
"""Keys beyond the standard: view=frontal|lateral|unknown."""


@dataclass(frozen=True)
class Where:
    """A condition in SQL, and what fills its question marks."""

    sql: str
    values: tuple[str | int, ...] = ()


def vr(keyword: str) -> str:
    """Give the value representation of an attribute: CS, DA, LO, ..."""
    return dictionary_VR(keyword)


def keyword(name: str) -> str:
    """Take an attribute as QIDO-RS lets one write it, keyword or tag.

    >>> keyword("00100020"), keyword("0010,0020"), keyword("PatientID")
    ('PatientID', 'PatientID', 'PatientID')
    """
    tag = name.replace(",", "")
    if re.fullmatch(r"[0-9A-Fa-f]{8}", tag):
        return keyword_for_tag(int(tag, 16)) or name
    return name


def where(matching: Mapping[str, object]) -> Where:
    """Turn matching keys into a condition that all of them hold.

    A value is exact, a list (any of them), for text a pattern with `*` and `?`, for UIDs a list
    separated by commas or backslashes, for dates a range `20200101-20201231` open at either end.

    Raises:
        PacsError: An unknown attribute, or a value that cannot be matched.
    """
    parts = [_one(name, value) for name, value in matching.items()]
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Where(sql, tuple(value for part in parts for value in part.values))


def _one(name: str, value: object) -> Where:
    column = OURS.get(name) or keyword(name)
    if column == "ModalitiesInStudy":  # the study-level name of the same question
        column = "Modality"
    if column not in ATTRIBUTES and column not in OURS:
        raise PacsError(f"cannot search by {name!r}{_nearest(name)}")
    values = list(_values(name, column, value))
    parts = [_compare(name, column, item) for item in values]
    if all(part.sql.endswith("= ?") for part in parts):
        marks = ", ".join("?" * len(values))
        return Where(f"{column} IN ({marks})", tuple(v for part in parts for v in part.values))
    joined = " OR ".join(part.sql for part in parts)
    return Where(f"({joined})", tuple(v for part in parts for v in part.values))


def _values(name: str, column: str, value: object) -> Iterable[str | int]:
    items = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if isinstance(value, str) and column.endswith("UID"):
        items = re.split(r"[,\\]", value)
    if not items:
        raise PacsError(f"{name}: expected a value to match, met an empty list")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
            # zero length means "any" in DICOM, which is never what a job's query means
            raise PacsError(f"{name}: expected a value to match, met {item!r}")
        yield item


def _compare(name: str, column: str, value: str | int) -> Where:
    kind = "CS" if column in OURS else vr(column)
    if kind in ("US", "IS"):
        if not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
            raise PacsError(f"{name}: expected a whole number, met {value!r}")
        return Where(f"{column} = ?", (int(value),))
    text = str(value)
    if kind in ("DA", "TM"):
        return _range(name, column, text, kind)
    if kind != "UI" and re.search(r"[*?]", text):
        return Where(f"{column} GLOB ?", (text.replace("[", "[[]"),))
    return Where(f"{column} = ?", (text,))


def _range(name: str, column: str, text: str, kind: str) -> Where:
    shape = r"[0-9]{8}" if kind == "DA" else r"[0-9]{2,6}(?:\.[0-9]{1,6})?"
    if re.fullmatch(shape, text):
        return Where(f"{column} = ?", (text,))
    match = re.fullmatch(rf"({shape})?-({shape})?", text)
    if not match or text == "-":
        form = "YYYYMMDD or YYYYMMDD-YYYYMMDD" if kind == "DA" else "HHMMSS or HHMMSS-HHMMSS"
        raise PacsError(f"{name}: expected {form}, met {text!r}")
    low, high = match.groups()
    # an image without a date is in no range, and the empty string sorts before all digits
    return Where(f"({column} BETWEEN ? AND ?)", (low or "0", high + "~" if high else "~"))


def _nearest(name: str) -> str:
    known: list[str] = [*ATTRIBUTES, *OURS, "limit", "offset"]
    folded = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; known are {', '.join(known)}"


def bound(name: str, value: Any) -> int | None:
    """Read `limit` or `offset`: a whole number from 0 on, None for none.

    Raises:
        PacsError: Something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,12}", str(value)):
        raise PacsError(f"{name}: expected a whole number from 0 on, met {value!r}")
    return int(value)
