"""Which patients a run has learned from, itself or with the weights that it began with.

A run names its images by SOPInstanceUID, and another job may hold other images of the same
patients: whose an image is, the PACS alone says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cxr.learning import folds, predictor
from cxr.pacs import Pacs, finding

_SPLIT = "split.csv"
_FILES = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Learned:
    """What is known of whom a run has seen.

    Attributes:
        trained: PatientIDs of images that it, or a run before it, was trained on.
        tuned: PatientIDs of images that chose an epoch of one of them.
        doubts: What cannot be told any more; sentences that name no patient.
    """

    trained: frozenset[str]
    tuned: frozenset[str]
    doubts: tuple[str, ...] = ()


def learned(folder: Path, runs: Path, pacs: Pacs, known: Mapping[str, str]) -> Learned:
    """Find the patients that a run, and those whose weights it began with, learned from.

    Args:
        folder: Of the run.
        runs: Where runs are.
        pacs: Where images are.
        known: SOPInstanceUID → PatientID of images at hand, which the PACS is not asked for.

    Raises:
        DataError: A split cannot be read.
        PacsError: The PACS does not answer.
        RunError: A run's record cannot be read.
    """
    uids: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    doubts = []
    name = predictor.load_run(folder).name
    for source, place in lineage(folder, runs):
        table = None if place is None else place / _SPLIT
        if table is None or not table.is_file():
            lost = f"the run {source}" if table is None else table
            doubts.append(f"{lost} is missing: whether {source} saw these patients cannot be told")
            continue
        for uid, split in folds.load(table).items():
            uids[split].add(uid)
    asked = sorted((uids["train"] | uids["val"]) - known.keys())
    found = zip(asked, finding.several(pacs, ((uid, uid) for uid in asked)), strict=True)
    whose = {uid: instance.patient_id for uid, instance in found if instance}
    if gone := len(asked) - len(whose):
        doubts.append(
            f"{gone} of {len(uids['train'] | uids['val'])} images that {name} learned from are in "
            "the PACS no more: whether these patients are among theirs cannot be told"
        )
    whose |= known
    trained, tuned = (
        frozenset(whose[uid] for uid in uids[split] if uid in whose) for split in ("train", "val")
    )
    return Learned(trained, tuned, tuple(doubts))


def lineage(folder: Path, runs: Path) -> Iterator[tuple[str, Path | None]]:
    """Give a run and those whose weights it began with, however far back, the nearest first.

    Args:
        folder: Of the run.
        runs: Where runs are.

    Returns:
        Name and folder of each; None where it is not there any more.
    """
    waiting = [(folder.name, folder)]
    met = {folder.resolve()}
    while waiting:
        name, here = waiting.pop(0)
        yield name, here
        for source in _sources(here):
            places = (parent / source for parent in (here.parent, runs))
            before = next((p for p in places if (p / predictor.RUN).is_file()), None)
            if before is None:
                yield source, None
            elif before.resolve() not in met:
                met.add(before.resolve())
                waiting.append((source, before))


def _sources(folder: Path) -> list[str]:
    """Name the runs whose weights a run, or a member of it, began with."""
    record = predictor.load_run(folder)
    inner = [predictor.load_run(folder / predictor.MEMBERS / name) for name in record.members]
    began = [str(one.weights.get("source", "")) for one in (record, *inner)]
    # of a file from elsewhere nobody knows whom it saw
    return sorted({name for name in began if name and Path(name).suffix not in _FILES})
