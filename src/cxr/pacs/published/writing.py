"""Labels and splits of a published set, by what its images are called in the PACS."""

import csv
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cxr.errors import PacsError
from cxr.pacs import withdrawn
from cxr.pacs.ledger import Held
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import PublishedSet

LABELS, SPLIT, TEST = "labels.csv", "split.csv", "test_patients.txt"


@dataclass(frozen=True)
class Written:
    """What was left for the next commands.

    Attributes:
        labels: A table that job=published reads.
        split: A table that data.split reads, or None: the set has none.
        test: A list that data.test_list reads, or None.
        images: In the PACS.
        unlabelled: Images of them that no table has labels for.
        absent: Images that tables have rows about, and the folder does not hold.
    """

    labels: Path
    split: Path | None
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
) -> Written:
    """Write the tables, each whole or not at all.

    Args:
        held: Images in the PACS, by path.
        found: The set.
        index: What its tables say.
        folder: Where to; what is there of an earlier ingest is replaced.
        patient: Gives the PatientID in the PACS.

    Raises:
        PacsError: They cannot be written.
    """
    key = "study_instance_uid" if found.by_study else "sop_instance_uid"
    images = unlabelled = known = splits = 0
    last = ""
    with _whole(folder / LABELS) as labels, _whole(folder / SPLIT) as split:
        rows, divided = csv.writer(labels), csv.writer(split)
        rows.writerow([key, *found.columns])
        divided.writerow(["sop_instance_uid", "split"])
        for one in (one for some in held for one in some):
            images += 1
            entry = index.get(found.key(one.path))
            known += entry is not None
            study = found.study(one.path) or (entry.study if entry else "")
            said = (entry.labels if entry else ()) or (index.study(study) if study else ())
            unlabelled += not said
            name = one.study_instance_uid if found.by_study else one.sop_instance_uid
            if said and name != last:  # of one study by path, one row
                rows.writerow([name, *said])
                last = name
            if entry and entry.split and not found.test:
                divided.writerow([one.sop_instance_uid, entry.split])
                splits += 1
    if found.test:
        with _whole(folder / TEST) as listed:
            listed.writelines(f"{patient(name)}\n" for name in index.patients("test"))
    if not splits:
        (folder / SPLIT).unlink()
    return Written(
        folder / LABELS, folder / SPLIT if splits else None, folder / TEST if found.test else None,
        images, unlabelled, index.count() - known,
    )  # fmt: skip


def forget(root: Path, images: withdrawn.Images, patient_ids: Collection[str]) -> None:
    """Take a patient out of every table of every set."""

    def without(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.strip() not in patient_ids)

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
