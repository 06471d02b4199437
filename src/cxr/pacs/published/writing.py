"""Labels and splits of a published set, by what its images are called in the PACS."""

import csv
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cxr.errors import PacsError
from cxr.pacs import withdrawn
from cxr.pacs.ledger import Held
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import PublishedSet

LABELS, SPLIT, BOXES, TEST = "labels.csv", "split.csv", "boxes.csv", "test_patients.txt"


@dataclass(frozen=True)
class Written:
    """What was left for the next commands.

    Attributes:
        labels: A table that job=published reads.
        split: A table that data.split reads, or None: the set has none.
        boxes: A table that job.boxes reads, or None.
        test: A list that data.test_list reads, or None.
        images: In the PACS.
        unlabelled: Images of them that no table has labels for.
        absent: Images that tables have rows about, and the folder does not hold.
    """

    labels: Path
    split: Path | None
    boxes: Path | None
    test: Path | None
    images: int
    unlabelled: int
    absent: int


def write(
    held: Iterable[Iterable[Held]],
    found: PublishedSet,
    index: Index,
    folder: Path,
    *,
    patient: Callable[[str], str] = str,
    is_withdrawn: Callable[[str], bool] = lambda name: False,
) -> Written:
    """Write the tables, each whole or not at all.

    Args:
        held: Images in the PACS, by path.
        found: The set.
        index: What its tables say.
        folder: Where to; what is there of an earlier ingest is replaced.
        patient: Gives the PatientID in the PACS.
        is_withdrawn: Whether no list may name a PatientID.

    Raises:
        PacsError: They cannot be written.
    """
    tally = _Tally()
    with ExitStack() as files:
        tables = {
            name: csv.writer(files.enter_context(_whole(folder / name)))
            for name in (LABELS, SPLIT, BOXES)
        }
        key = "study_instance_uid" if found.by_study else "sop_instance_uid"
        tables[LABELS].writerow([key, *found.columns])
        tables[SPLIT].writerow(["sop_instance_uid", "split"])
        tables[BOXES].writerow(["sop_instance_uid", "label", "x_min", "y_min", "x_max", "y_max"])
        for one in (one for some in held for one in some):
            _add(tables, one, found, index, tally)
    if found.test:
        with _whole(folder / TEST) as listed:
            names = (name for name in index.patients("test") if not is_withdrawn(name))
            listed.writelines(f"{patient(name)}\n" for name in names)
    kept = {
        LABELS: True, SPLIT: tally.divided > 0, BOXES: found.boxes is not None, TEST: found.test,
    }  # fmt: skip
    for name, is_kept in kept.items():
        if not is_kept:
            (folder / name).unlink(missing_ok=True)
    at = {name: folder / name if is_kept else None for name, is_kept in kept.items()}
    return Written(
        folder / LABELS, at[SPLIT], at[BOXES], at[TEST],
        tally.images, tally.unlabelled, index.count() - tally.known,
    )  # fmt: skip


@dataclass
class _Tally:
    images: int = 0
    known: int = 0
    unlabelled: int = 0
    divided: int = 0
    last: str = ""


def _add(
    tables: Mapping[str, Any], one: Held, found: PublishedSet, index: Index, tally: _Tally
) -> None:
    """Write the rows of one image."""
    key = found.key(one.path)
    entry = index.get(key)
    study = found.study(one.path) or (entry.study if entry else "")
    said = (entry.labels if entry else ()) or (index.study(study) if study else ())
    tally.images += 1
    tally.known += entry is not None
    tally.unlabelled += not said
    name = one.study_instance_uid if found.by_study else one.sop_instance_uid
    if said and name != tally.last:  # of one study, whose images come together, one row
        tables[LABELS].writerow([name, *said])
        tally.last = name
    if entry and entry.split and not found.test:
        tables[SPLIT].writerow([one.sop_instance_uid, entry.split])
        tally.divided += 1
    tables[BOXES].writerows([one.sop_instance_uid, *box] for box in index.boxes(key))


def forget(root: Path, images: withdrawn.Images, patient_ids: Collection[str]) -> None:
    """Take a patient out of every table of every set."""

    def without(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.strip() not in patient_ids)

    for part in sorted((root / "published").glob("*/*.part")):
        part.unlink()  # of an ingest that was killed
    for path in sorted((root / "published").glob("*/*.csv")):
        withdrawn.rewrite(path, images.without)
    for path in sorted((root / "published").glob(f"*/{TEST}")):
        withdrawn.rewrite(path, without)


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise PacsError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
