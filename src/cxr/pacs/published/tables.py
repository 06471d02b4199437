"""What the three published sets have in common: tables in CSV, ages, sexes, names of their own."""

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from cxr.errors import PacsError

_DAYS, _YEARS = re.compile(r"0*([0-9]{1,3})([DWMY])"), re.compile(r"0*([0-9]{1,3})(\.0*)?")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True)
class PublishedSet:
    """One set, as its folder was found.

    Attributes:
        name: Of the job, and of the folder of what is written: `mimic-cxr`, ...
        labels: The label set to choose.
        columns: Of the table of labels, behind its key.
        by_study: Labels are a study's, not an image's.
        key: Gives what tables call an image, from its path below the folder.
        study: Gives its study from that path; empty where only tables say it.
        pictures: The tables say whose pictures these are; else only DICOM files can come in.
        test: What the publisher keeps for testing is told as a list of patients, not as a split.
        tables: Files that were read, for the user to see.
        boxes: Regions come with it: image, label, left, top, width and height in its own columns.
    """

    name: str
    labels: str
    columns: tuple[str, ...]
    key: Callable[[str], str]
    study: Callable[[str], str] = lambda path: ""
    pictures: bool = True
    by_study: bool = False
    test: bool = False
    tables: tuple[Path, ...] = ()
    boxes: Path | None = None


@dataclass(frozen=True)
class Entry:
    """What tables say of one image; empty where they do not.

    Attributes:
        header: DICOM keyword → value; empty if the image's own header says it.
        patient: PatientID.
        study: What rows about its study are found by.
        split: `train`, `val` or `test`.
        labels: One cell a column.
    """

    header: Mapping[str, str]
    patient: str = ""
    study: str = ""
    split: str = ""
    labels: tuple[str, ...] = ()


def find(folder: Path, *patterns: str) -> Path | None:
    """Find a table; of several versions the last by name."""
    for pattern in patterns:
        if met := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return met[-1]
    return None


def need(folder: Path, *patterns: str) -> Path:
    """Find a table.

    Raises:
        PacsError: It is not there.
    """
    if path := find(folder, *patterns):
        return path
    names = " or ".join(pattern.removesuffix("*") for pattern in patterns)
    raise PacsError(
        f"{folder}: expected {names} in it, met none; give the folder with the set's tables"
    )


def rows(path: Path, columns: Sequence[str | tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Stream a CSV, gzipped or not.

    Args:
        path: Of the table.
        columns: That must be there; of several names in a tuple one, which is then the first.

    Raises:
        PacsError: A column is missing, a row has other cells than the header, or it is no CSV.
    """
    with _opened(path) as file:
        reader = csv.DictReader(file)
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = _renamed(path, header, columns)
        for row in reader:
            if None in row.values() or any(row.pop(None, ())):
                raise PacsError(
                    f"{path}:{reader.line_num}: expected {len(header)} cells as in the header, met "
                    "another number"
                )
            yield {name: cell.strip() for name, cell in row.items()}


def cells(path: Path, fewest: int) -> Iterator[list[str]]:
    """Stream the rows of a CSV whose header names no columns one could ask for, without it.

    Raises:
        PacsError: A row has fewer cells, or it is no CSV.
    """
    with _opened(path) as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row and len(row) < fewest:
                raise PacsError(f"{path}: expected {fewest} cells in row {number}, met {len(row)}")
            if row and number > 1:
                yield [cell.strip() for cell in row]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a table, and say in one sentence what is wrong with it."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            yield cast("TextIO", file)
    except OSError as error:  # a damaged gzip is one, too
        raise PacsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise PacsError(f"{path}: expected a CSV in UTF-8, met {error}") from error


def _renamed(
    path: Path, header: Sequence[str], columns: Sequence[str | tuple[str, ...]]
) -> list[str]:
    """Give each column the name it is asked for by."""
    known = {}
    for names in columns:
        wanted = _either(names)
        met = next((name for name in wanted if name in header), None)
        if met is None:
            # a table without header begins with somebody, who is not quoted
            is_header = any(name in header for one in columns for name in _either(one))
            others = f"{len(header)} others" if header else "an empty file"
            raise PacsError(
                f"{path}: expected a column {' or '.join(wanted)}, "
                f"met {', '.join(header) if is_header else others}"
            )
        known[met] = wanted[0]
    return [known.get(name, name) for name in header]


def _either(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def age(text: str) -> str:
    """Write an age as DICOM does (PS3.5 6.2, AS); empty where none is said.

    >>> age("058Y"), age("58"), age("013M"), age("000D"), age("n/a"), age("90.0")
    ('058Y', '058Y', '013M', '000D', '', '090Y')
    """
    text = text.strip().upper()
    if match := _DAYS.fullmatch(text):
        return f"{int(match[1]):03d}{match[2]}"
    match = _YEARS.fullmatch(text)
    return f"{int(match[1]):03d}Y" if match else ""


def sex(text: str) -> str:
    """Write a sex as DICOM does; empty where none is said.

    >>> sex("Female"), sex("m"), sex("Unknown")
    ('F', 'M', '')
    """
    return _SEXES.get(text.strip().casefold(), "")


def position(*said: str) -> str:
    """Give the first View Position that is said, in the letters a DICOM code may have.

    >>> position("", "ap"), position("LATERAL"), position("nan")
    ('AP', 'LATERAL', '')
    """
    for text in said:
        found = " ".join(re.sub(r"[^A-Z0-9 _]", " ", text.upper()).split())[:16]
        if found and found != "NAN":
            return found
    return ""


def uids(of: str, *, study: str, instance: str) -> dict[str, str]:
    """Make the UIDs of an image from how its publisher names it: the same again each time.

    Under 2.25 (PS3.5 B.2), of 16 bytes of SHA-256. Each image is a series of its own, since
    pictures do not say which were one.

    >>> uids("nih14", study="1", instance="2")["SOPInstanceUID"]
    '2.25.80603398468277660064227410188067176665'
    """
    return {
        "StudyInstanceUID": _uid(of, "study", study),
        "SeriesInstanceUID": _uid(of, "series", instance),
        "SOPInstanceUID": _uid(of, "instance", instance),
    }


def _uid(of: str, level: str, name: str) -> str:
    digest = hashlib.sha256(f"cxr published {of} {level} {name}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
