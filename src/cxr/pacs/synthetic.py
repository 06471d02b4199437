"""Synthetic radiographs in a PACS, with what was drawn written beside it.

The list alone proves nothing: an image counts as drawn if it stands in the list and the PACS
holds it, so either may be lost and the next run makes up for it.
"""

import csv
import fcntl
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cxr import progress
from cxr.contract.labels import State
from cxr.errors import PacsError
from cxr.images import synth
from cxr.pacs import Pacs

_COLUMNS = ["source", "sop_instance_uid", "seed", "index", *synth.FINDINGS]


def draw_into(pacs: Pacs, truth: Path, *, images: int, seed: int, size: tuple[int, int]) -> int:
    """Draw those of the first `images` radiographs that are not there yet, and store them.

    Args:
        pacs: Where they go.
        truth: CSV of `source`, `sop_instance_uid`, `seed`, `index` and a column per finding
            holding 1 or 0; rows are added as images are stored. A process that is drawing keeps
            others out of it.
        images: How many there shall be, in this PACS and of this size.
        seed: Everything follows from it and an image's index.
        size: Rows, columns.

    Returns:
        How many were drawn.

    Raises:
        PacsError: The PACS refuses one, or `truth` is not such a file.
    """
    with _opened(truth) as file:
        listed = _listed(truth, _repaired(file))
        if file.tell() == 0:
            _append(file, _COLUMNS)
        alike = {"PatientID": f"SYN{seed}-*", "Rows": size[0], "Columns": size[1]}
        held = {instance.orthanc_id for instance in pacs.search(**alike)}
        drawn = {index for source, (by, index) in listed.items() if by == seed and source in held}
        missing = [index for index in range(images) if index not in drawn]
        with progress.bar("drawn", len(missing)) as advance:
            for count, index in enumerate(missing, 1):
                dicom, states = synth.draw(index, seed=seed, size=size)
                instance = pacs.store(dicom)
                if instance.orthanc_id not in listed:
                    values = [int(states[name] is State.PRESENT) for name in synth.FINDINGS]
                    source, uid = instance.orthanc_id, instance.sop_instance_uid
                    _append(file, [source, uid, seed, index, *values])
                advance(count)
    return len(missing)


def is_drawn(truth: Path, sources: Iterable[str]) -> bool:
    """Say whether all of these images were drawn by us, so that they may be shown freely.

    Raises:
        PacsError: `truth` is there, and is not the list of drawn images.
    """
    try:
        data = truth.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PacsError(f"{truth}: cannot be read: {error.strerror}") from error
    ours = _listed(truth, _whole_lines(data))
    return all(source in ours for source in sources)


@contextmanager
def _opened(truth: Path) -> Iterator[BinaryIO]:
    """Open the list for reading and appending, alone."""
    try:
        truth.parent.mkdir(parents=True, exist_ok=True)
        with truth.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as error:
        raise PacsError(f"{truth}: cannot be written: {error.strerror}") from error


def _repaired(file: BinaryIO) -> bytes:
    """Read the list, and cut off the line in the midst of which a writer died."""
    file.seek(0)
    lines = _whole_lines(file.read())
    file.truncate(len(lines))
    file.seek(len(lines))
    return lines


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _append(file: BinaryIO, values: Iterable[str | int]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(values)
    file.write(text.getvalue().encode())
    # at once, or a killed writer would leave images that nobody knows the truth about
    file.flush()


def _listed(truth: Path, lines: bytes) -> dict[str, tuple[int, int]]:
    """Read seed and index of each source; nothing in an empty list."""
    try:
        text = lines.decode()
    except UnicodeDecodeError as error:
        line = lines.count(b"\n", 0, error.start) + 1
        raise PacsError(f"{truth}:{line}: expected text, met byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    found: dict[str, tuple[int, int]] = {}
    try:
        for number, row in enumerate(reader):
            if number == 0 and row != _COLUMNS:
                raise ValueError(f"expected the columns of the list of drawn images, met {row}")
            if number:
                found[row[0] if row else ""] = _drawing(row)
    except (csv.Error, ValueError) as error:
        reason = str(error)[:200]
        raise PacsError(
            f"{truth}:{reader.line_num}: {reason}; delete the file, and it is written anew"
        ) from error
    return found


def _drawing(row: list[str]) -> tuple[int, int]:
    if len(row) != len(_COLUMNS):
        raise ValueError(f"expected {len(_COLUMNS)} values, met {len(row)}")
    if wrong := [value for value in row[2:4] if not re.fullmatch("[0-9]{1,99}", value)]:
        raise ValueError(f"expected a number as seed and index, met {wrong[0]!r}")
    if wrong := [value for value in row[4:] if value not in ("0", "1")]:
        raise ValueError(f"expected 1 or 0 for each finding, met {wrong[0]!r}")
    return int(row[2]), int(row[3])
