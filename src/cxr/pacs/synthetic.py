"""Synthetic radiographs in a PACS, with what was drawn written beside it."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxr import progress
from cxr.contract.labels import State
from cxr.errors import PacsError
from cxr.images import synth
from cxr.pacs import Pacs


def draw_into(pacs: Pacs, truth: Path, *, images: int, seed: int, size: tuple[int, int]) -> int:
    """Draw those of the first `images` radiographs that are not in `truth` yet, and store them.

    Args:
        pacs: Where they go.
        truth: CSV of `source`, `sop_instance_uid`, `seed`, `index` and a column per finding
            holding 1 or 0; rows are added as images are stored.
        images: How many there shall be.
        seed: Everything follows from it and an image's index.
        size: Rows, columns.

    Returns:
        How many were drawn.

    Raises:
        PacsError: The PACS refuses one, or `truth` is not such a file.
    """
    drawn = _drawn(truth, seed)
    missing = [index for index in range(images) if index not in drawn]
    if not missing:
        return 0
    truth.parent.mkdir(parents=True, exist_ok=True)
    begun = not truth.exists()
    with truth.open("a", newline="") as file, progress.bar("drawn", len(missing)) as advance:
        writer = csv.writer(file)
        if begun:
            header = ["source", "sop_instance_uid", "seed", "index", *synth.FINDINGS]
            writer.writerow(header)
        for count, index in enumerate(missing, 1):
            dicom, states = synth.draw(index, seed=seed, size=size)
            instance = pacs.store(dicom)
            values = [int(states[name] is State.PRESENT) for name in synth.FINDINGS]
            row = [instance.orthanc_id, instance.sop_instance_uid, seed, index, *values]
            writer.writerow(row)
            advance(count)
    return len(missing)


def is_drawn(truth: Path, sources: Iterable[str]) -> bool:
    """Say whether all of these images were drawn by us, so that they may be shown freely."""
    if not truth.exists():
        return False
    with truth.open(newline="") as file:
        ours = {row.get("source") for row in csv.DictReader(file)}
    return all(source in ours for source in sources)


def _drawn(truth: Path, seed: int) -> set[int]:
    if not truth.exists():
        return set()
    try:
        with truth.open(newline="") as file:
            return set(_indices(csv.DictReader(file), seed))
    except (OSError, KeyError, ValueError) as error:
        raise PacsError(f"{truth}: expected the list of drawn images, met {error!r}") from error


def _indices(rows: "csv.DictReader[str]", seed: int) -> Iterator[int]:
    return (int(row["index"]) for row in rows if int(row["seed"]) == seed)
