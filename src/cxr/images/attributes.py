"""Values out of a header that may hold anything, as something to reason about or to print."""

import math
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from cxr.errors import DicomError

_LONG = 64
_LONG_SENTENCE = 300


def shown(value: str) -> str:
    r"""Quote a value for a sentence: one line, and no novel.

    >>> shown("KNEE\nleft")
    "'KNEE\\nleft'"
    """
    quoted = repr(value if len(value) <= _LONG else value[: _LONG - 1] + "…")
    return quoted.replace("\\\\", "\\")  # of several values, L\F say, the separator


def sentence(text: str) -> str:
    """Make whatever a damaged file or its decoder says one printable line of bearable length."""
    short = " ".join(text[: 4 * _LONG_SENTENCE].split())[:_LONG_SENTENCE]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Give the items of a sequence; none where there is no such sequence, or it is none."""
    value = ds.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """Read all numbers of an attribute; none where it is absent or empty.

    Raises:
        DicomError: One of them is no finite number.
    """
    value: Any = ds.get(keyword)
    if isinstance(value, DataElement) or value is None or value == "":
        return []
    several = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
    found = []
    for one in value if several else [value]:
        try:
            number = float(one)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DicomError(f"{keyword} is {shown(str(value))}, expected numbers")
        found.append(number)
    return found
