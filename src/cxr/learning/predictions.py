"""predictions.csv: one row per image, one probability per label, joined by SOPInstanceUID.

The joint between a model and its evaluation: whatever writes this file can be scored, by
handing what `read` gives to `score.score`.
"""

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning.metrics import Floats

KEY = "sop_instance_uid"


@dataclass(frozen=True)
class Predictions:
    """What predictions.csv holds.

    Attributes:
        sop_instance_uids: (N,)
        names: (L,) in column order.
        probabilities: (N, L)
    """

    sop_instance_uids: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: NDArray[np.float64]


def rounded(probabilities: Floats) -> NDArray[np.float64]:
    """Round to the six significant digits that the file holds; any shape.

    Digits, not decimals: of a rare finding all probabilities may lie below 0.001.

    >>> rounded(np.array([0.123456789, 0.0001234567]))
    array([0.123457  , 0.00012346])
    """
    values = [float(_text(value)) for value in probabilities.ravel().tolist()]
    return np.array(values, np.float64).reshape(probabilities.shape)


def write(
    path: Path, sop_instance_uids: Sequence[str], names: Sequence[str], probabilities: Floats
) -> None:
    """Write predictions.csv, whole or not at all: a row an image, six significant digits.

    Args:
        path: Where; its folder exists.
        sop_instance_uids: (N,)
        names: (L,) become the column names, letter for letter.
        probabilities: (N, L)
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([KEY, *names])
    for uid, values in zip(sop_instance_uids, probabilities.tolist(), strict=True):
        writer.writerow([uid, *map(_text, values)])
    replace_text(path, text.getvalue())


def read(path: Path) -> Predictions:
    """Read predictions.csv.

    Raises:
        DataError: It is missing, has no `sop_instance_uid` column first, a row is too short or
            holds something that is no probability, or an image stands there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "met a file not in UTF-8"
        raise DataError(f"{path}: expected predictions, {reason}") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    if header[:1] != [KEY] or len(header) < 2:
        raise DataError(f"{path}:1: expected {KEY} and a column per label, met {header[:2]}")
    rows: dict[str, list[float]] = {}
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if len(row) != len(header):
            raise DataError(f"{place}: expected {len(header)} columns, met {len(row)}")
        if row[0] in rows:
            raise DataError(f"{place}: the image of this row stands there twice")
        rows[row[0]] = [_probability(value, place) for value in row[1:]]
    names = tuple(header[1:])
    return Predictions(tuple(rows), names, np.array(list(rows.values())).reshape(-1, len(names)))


def replace_text(path: Path, text: str) -> None:
    """Write a file as UTF-8, whole or not at all."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; once this returns, a crash cannot take it back."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)  # the new name lies there
    try:
        with contextlib.suppress(OSError):  # not every network disk syncs folders
            os.fsync(folder)
    finally:
        os.close(folder)


def _probability(value: str, place: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not 0 <= number <= 1:
        raise DataError(f"{place}: expected a probability between 0 and 1, met {value!r}")
    return number


def _text(value: float) -> str:
    return f"{value:.6g}"
