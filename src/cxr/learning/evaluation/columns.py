"""What is known of the images beside their pixels: sex, age, view, and a table of more columns.

Such columns divide images into groups; values are texts, "" where unknown, and a column is never
shown by itself. What a table holds may be anything, a patient's number too, so a value of few
patients is only named if it is one of a plain vocabulary.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.images.dicom import Instance
from cxr.learning.predictions import KEY

DICOM = ("sex", "age", "view")
"""Columns that the images' own headers give."""
OLDEST = 90
"""Ages from here on are one band: few are so old that the age alone may tell who it is."""
_LONGEST = 120  # NIH's table has people of 414
_BANDS = ((18, "0–17"), (40, "18–39"), (60, "40–59"), (80, "60–79"), (OLDEST, "80–89"))
_OVER = f"over {OLDEST - 1}"
_PLAIN = frozenset(
    ("", "F", "M", "O", "AP", "PA", "LL", "RL", "LATERAL", _OVER, *(name for _, name in _BANDS))
)
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(d|w|m|y|days?|weeks?|months?|years?)?", re.IGNORECASE)
_A_YEAR = {"d": 365.25, "w": 52.18, "m": 12.0, "y": 1.0}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Columns:
    """A table of metadata.

    Attributes:
        names: Its columns, but the key.
        values: SOPInstanceUID → texts, in the order of `names`.
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | None) -> "Columns":
        """Read a CSV whose first column is `sop_instance_uid`; None reads nothing.

        Raises:
            DataError: It cannot be read, lacks that column or names an image twice.
        """
        if path is None:
            return cls()
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise DataError(
                f"evaluate.metadata: expected a CSV, met {path!r} ({reason})"
            ) from error
        return cls.parsed(path, text)

    @classmethod
    def parsed(cls, path: str, text: str) -> "Columns":
        """Take a table's text; raises as `read`."""
        try:
            rows = list(csv.reader(io.StringIO(text, newline="")))
        except csv.Error as error:
            raise DataError(f"{path}: expected a CSV ({error})") from error
        header = rows[0] if rows else []
        if KEY not in header or len(set(header)) != len(header):
            # a table without header begins with somebody, who is not quoted
            others = f"{len(header)} others" if header else "nothing"
            met = ", ".join(header) if KEY in header else others
            raise DataError(f"{path}:1: expected different columns, {KEY} among them, met {met}")
        key = header.index(KEY)
        values: dict[str, Sequence[str]] = {}
        for line, row in enumerate(rows[1:], 2):
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(f"{path}:{line}: expected {len(header)} columns, met {len(row)}")
            if row[key] in values:
                raise DataError(f"{path}:{line}: the image of this row stands there twice")
            values[row[key]] = [cell.strip() for k, cell in enumerate(row) if k != key]
        return cls(tuple(name for name in header if name != KEY), values)

    def texts(
        self, instances: Sequence[Instance], wanted: Sequence[str]
    ) -> dict[str, NDArray[np.str_]]:
        """Give each column that is wanted, and always sex, age band and view.

        A column of the table goes before the images' own of that name. Ages are in bands, in every
        column with `age` in its name.

        Args:
            instances: (N,)
            wanted: More names; each is in `DICOM` or in `names`.

        Returns:
            Name → (N,) texts.
        """
        own = {
            "sex": [i.sex for i in instances],
            "age": [band(i.age_years) for i in instances],
            "view": [i.view_position for i in instances],
        }
        uids = [i.sop_instance_uid for i in instances]
        for name in dict.fromkeys([*DICOM, *wanted]):
            if name in self.names:
                k = self.names.index(name)
                texts = [self.values[uid][k] if uid in self.values else "" for uid in uids]
                own[name] = [banded(text) for text in texts] if _tells_age(name) else texts
        return {name: np.array(texts, np.str_) for name, texts in own.items()}


def ages(instances: Sequence[Instance]) -> NDArray[np.float64]:
    """Give ages in years, (N,), NaN where unknown or impossible; all over 89 are 90."""
    years = np.array([np.nan if i.age_years is None else i.age_years for i in instances])
    return np.where(years > _LONGEST, np.nan, np.minimum(years, OLDEST)).astype(np.float64)


def band(years: float | None) -> str:
    """Name the band of an age; all over 89 are one, and what is impossible is unknown.

    >>> band(17.9), band(40), band(90), band(104), band(414), band(None)
    ('0–17', '40–59', 'over 89', 'over 89', '', '')
    """
    if years is None or np.isnan(years) or years > _LONGEST:
        return ""
    return next((name for end, name in _BANDS if years < end), _OVER)


def banded(text: str) -> str:
    """Put an age as a table has it into its band; what is no age stays, unless it tells one.

    >>> banded("93"), banded("058Y"), banded("13 months"), banded("90+"), banded("adult")
    ('over 89', '40–59', '0–17', 'over 89', 'adult')
    """
    if match := _AGE.fullmatch(text):
        return band(float(match[1]) / _A_YEAR[(match[2] or "y")[0].lower()])
    numbers = [float(number) for number in _NUMBER.findall(text)]
    return band(max(numbers)) if numbers and max(numbers) >= OLDEST else text


def is_plain(value: str) -> bool:
    """Say whether a value is one of sexes, views and bands of age, which is nobody's name.

    >>> is_plain("F"), is_plain("AP + LL"), is_plain("over 89"), is_plain("MRN-4711")
    (True, True, True, False)
    """
    return all(part in _PLAIN for part in value.split(" + "))


def _tells_age(name: str) -> bool:
    return "age" in re.split(r"[^a-z]+", name.casefold())
