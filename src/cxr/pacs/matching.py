"""What can be asked of the index, and how a question becomes SQL.

The attributes are those of QIDO-RS (PS3.18 10.6.3.3) that a chest radiograph has. An unknown one
is refused: ignoring it would widen the answer, and a job would label the wrong patients' images.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
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


Values = Mapping[str, str | int | None]
"""What one instance has, by keyword: text stripped, numbers as such; also `view`."""


@dataclass(frozen=True)
class Where:
    """A condition in SQL, and what fills its question marks."""

    sql: str
    values: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Term:
    """One value that an attribute may have.

    Attributes:
        exact: The value itself; None where one of the others says it.
        pattern: Text with `*` and `?`.
        low: Of a range, included; empty for none.
        high: Of a range, included with all that begins with it; empty for none.
    """

    exact: str | int | None = None
    pattern: str | None = None
    low: str = ""
    high: str = ""

    def sql(self, column: str) -> Where:
        """Say it in SQL."""
        if self.exact is not None:
            return Where(f"{column} = ?", (self.exact,))
        if self.pattern is not None:
            return Where(f"{column} GLOB ?", (self.pattern.replace("[", "[[]"),))
        return Where(f"({column} BETWEEN ? AND ?)", self._ends())

    def holds(self, value: str | int | None) -> bool:
        """Say whether a value is meant, exactly as SQLite would."""
        if value is None:
            return False
        if self.exact is not None:
            return value == self.exact
        if self.pattern is not None:
            return re.fullmatch(_regular(self.pattern), str(value), re.DOTALL) is not None
        low, high = self._ends()
        return low <= str(value) <= high

    def _ends(self) -> tuple[str, str]:
        # an image without a date is in no range, and the empty string sorts before all digits
        return self.low or "0", self.high + "~" if self.high else "~"


@lru_cache(1024)
def _regular(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern)


@dataclass(frozen=True)
class Condition:
    """An attribute, and the values any of which it must have."""

    column: str
    terms: tuple[Term, ...]

    @property
    def exact(self) -> tuple[str | int, ...] | None:
        """The values, where all of them are meant exactly; None otherwise."""
        found = tuple(term.exact for term in self.terms if term.exact is not None)
        return found if len(found) == len(self.terms) else None

    def sql(self) -> Where:
        """Say it in SQL."""
        if exact := self.exact:
            return Where(f"{self.column} IN ({', '.join('?' * len(exact))})", exact)
        parts = [term.sql(self.column) for term in self.terms]
        joined = " OR ".join(part.sql for part in parts)
        return Where(f"({joined})", tuple(v for part in parts for v in part.values))


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


def conditions(matching: Mapping[str, object]) -> list[Condition]:
    """Understand matching keys, all of which must hold.

    A value is exact, a list (any of them), for text a pattern with `*` and `?`, for UIDs a list
    separated by commas or backslashes, for dates a range `20200101-20201231` open at either end.

    Raises:
        PacsError: An unknown attribute, or a value that cannot be matched.
    """
    return [_one(name, value) for name, value in matching.items()]


def where(matching: Mapping[str, object]) -> Where:
    """Turn matching keys into SQL.

    Raises:
        PacsError: As for `conditions`.
    """
    parts = [condition.sql() for condition in conditions(matching)]
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Where(sql, tuple(value for part in parts for value in part.values))


def matches(values: Values, wanted: Iterable[Condition]) -> bool:
    """Say whether an instance is meant; the same as `where` asks of the index.

    >>> matches({"PatientID": "P12"}, conditions({"PatientID": "P1*"}))
    True
    """
    return all(
        any(term.holds(values.get(condition.column)) for term in condition.terms)
        for condition in wanted
    )


def _one(name: str, value: object) -> Condition:
    column = OURS.get(name) or keyword(name)
    if column == "ModalitiesInStudy":  # the study-level name of the same question
        column = "Modality"
    if column not in ATTRIBUTES and column not in OURS:
        raise PacsError(f"cannot search by {name!r}{_nearest(name)}")
    return Condition(
        column, tuple(_term(name, column, item) for item in _values(name, column, value))
    )


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


def _term(name: str, column: str, value: str | int) -> Term:
    kind = "CS" if column in OURS else vr(column)
    if kind in ("US", "IS"):
        if not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
            raise PacsError(f"{name}: expected a whole number, met {value!r}")
        return Term(int(value))
    text = str(value)
    if kind in ("DA", "TM"):
        return _range(name, text, kind)
    if kind != "UI" and re.search(r"[*?]", text):
        return Term(pattern=text)
    return Term(text)


def _range(name: str, text: str, kind: str) -> Term:
    shape = r"[0-9]{8}" if kind == "DA" else r"[0-9]{2,6}(?:\.[0-9]{1,6})?"
    if re.fullmatch(shape, text):
        return Term(text)
    match = re.fullmatch(rf"({shape})?-({shape})?", text)
    if not match or text == "-":
        form = "YYYYMMDD or YYYYMMDD-YYYYMMDD" if kind == "DA" else "HHMMSS or HHMMSS-HHMMSS"
        raise PacsError(f"{name}: expected {form}, met {text!r}")
    return Term(low=match[1] or "", high=match[2] or "")


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
