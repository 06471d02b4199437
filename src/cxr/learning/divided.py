"""A split that a table says: a run's, a publisher's, anybody's.

Any CSV with a column `split` and at least one that names images, studies or patients. MIMIC-CXR's
own table is one: it names images by files, which a PACS does not know, and beside them patients,
which it does.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning.examples import Example

Key = Callable[[Example], str]


def _image(example: Example) -> str:
    return example.sop_instance_uid


def _study(example: Example) -> str:
    return example.study_instance_uid


def _patient(example: Example) -> str:
    return example.patient_id


KEYS: Mapping[str, Key] = {
    "sop_instance_uid": _image,
    "dicom_id": _image,
    "study_instance_uid": _study,
    "study_id": _study,
    "patient_id": _patient,
    "subject_id": _patient,
}
"""Columns that say whose split it is, the most particular first."""
ROLES = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read(path: Path, examples: Sequence[Example]) -> NDArray[np.str_]:
    """Give every image the split that a table says; rows about other images are passed over.

    An image is looked up by each of the table's columns in `KEYS` in turn, until one knows it.
    That a patient is not in two splits is for `folds.check_leaks` to see.

    Args:
        path: A CSV file, gzipped or not, of columns `split` (train, val or validate, test) and
            one or more of `KEYS`.
        examples: (N)

    Returns:
        (N) of `train`, `val`, `test`.

    Raises:
        DataError: It is no such table, does not say where an image belongs, or says it twice.
    """
    said = _said(path)
    found = [_role(example, said) for example in examples]
    if unsaid := found.count(""):
        keys = ", ".join(said)
        raise DataError(
            f"data.split: {path} says nothing of {unsaid} of {len(found)} images by {keys}; give "
            "them a row, leave them out of the job, or let data.split=null divide the patients"
        )
    if torn := found.count(_TORN):
        raise DataError(
            f"data.split: {path} puts the patient or study of {torn} of {len(found)} images into "
            "several splits, and does not name the images by sop_instance_uid; add that column"
        )
    return np.array(found, dtype="<U5")


_TORN = "torn"  # of a patient or study whose images the table divides


def _role(example: Example, said: Mapping[str, Mapping[str, str]]) -> str:
    known = (roles.get(KEYS[column](example), "") for column, roles in said.items())
    return next((role for role in known if role), "")


def _said(path: Path) -> dict[str, dict[str, str]]:
    """Read what each column of keys says, the most particular column first."""
    rows = _rows(path)
    header = next(rows)
    columns = {column: header.index(column) for column in KEYS if column in header}
    if "split" not in header or not columns:
        # a table without header begins with somebody, who is not quoted
        is_header = "split" in header or columns
        met = (
            ", ".join(header)[:200] if is_header else f"{len(header)} others" if header else "none"
        )
        raise DataError(
            f"data.split: expected {path} with columns split and {' or '.join(KEYS)}, met {met}"
        )
    where = header.index("split")
    said: dict[str, dict[str, str]] = {column: {} for column in columns}
    for number, row in enumerate(rows, 2):
        cells = row + [""] * (len(header) - len(row))
        role = ROLES.get(cells[where].strip().casefold())
        if role is None:
            raise DataError(
                f"data.split: {path}, row {number}: expected split as {', '.join(ROLES)}, "
                f"met {cells[where][:40]!r}"
            )
        finest = next(iter(columns))
        for column, place in columns.items():
            key = cells[place].strip()
            if key and said[column].setdefault(key, role) != role:
                if column == finest:
                    raise DataError(
                        f"data.split: {path}, row {number}: expected one split for each {column}, "
                        f"met {role} after {said[column][key]}"
                    )
                said[column][key] = _TORN
    return said


def _rows(path: Path) -> Iterator[list[str]]:
    """Give the header, folded, then the rows that hold something."""
    try:
        with _opened(path) as file:
            lines = csv.reader(file)
            yield [cell.strip().casefold() for cell in next(lines, [])]
            yield from (row for row in lines if any(row))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise DataError(f"data.split: expected a CSV file, met {path} ({reason})") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
