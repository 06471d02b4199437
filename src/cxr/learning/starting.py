"""Where a net begins: as its seed made it, or with weights of before.

Weights of a run that saw the patients of today's val or test would know the answers, so they are
refused; whichever of their images it saw, and however many runs ago.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cxr.errors import DataError, RunError
from cxr.infra import tracking
from cxr.learning import folds, lineage, predictions, predictor, weights
from cxr.learning.material import Material
from cxr.learning.predictor import RunRecord
from cxr.learning.weights import Taken
from cxr.pacs import Pacs

SCHEMA = "cxr-weights/1"
FILE = "weights.json"

_log = logging.getLogger(__name__)


def begin(
    net: nn.Module,
    given: str,
    runs: Path,
    *,
    names: Sequence[str],
    material: Material,
    splits: NDArray[np.str_],
    pacs: Pacs,
    table: Path | None = None,
) -> Taken:
    """Load weights into a new net, change it in place, and tell in one line what was taken.

    Args:
        net: As its seed made it.
        given: A file, a run's folder, or the name of a run.
        runs: Where runs are.
        names: L labels of the net.
        material: What it will be trained and scored on.
        splits: (N) of train, val, test.
        pacs: Says whose the images were that the weights come from.
        table: Where to write which images leak.

    Raises:
        RunError: There is no such file or run, or it is nothing that fits.
        DataError: The weights come from a run that was trained on patients of val or test.
    """
    path = find(given, runs)
    record = _record(path)
    if record is not None:
        _refuse_leak(path.parent, runs, record.name, material, splits, pacs, table)
    taken = weights.fill(
        net, weights.read(path), path=path,
        source=record.name if record else path.name,
        head=record is not None and record.label_names == tuple(names),
    )  # fmt: skip
    _log.info("%s; all names: %s", taken, FILE)
    return taken


def find(given: str, runs: Path) -> Path:
    """Find the file of weights that is meant.

    Raises:
        RunError: There is none.
    """
    known = runs / given if "/" not in given else Path(given)
    for folder in (known, Path(given).expanduser()):
        if (folder / predictor.CHECKPOINT).is_file():
            return folder / predictor.CHECKPOINT
        if (folder / predictor.MEMBERS).is_dir():
            raise RunError(f"model.weights: {given!r} is an ensemble; name one of its runs instead")
    path = Path(given).expanduser()
    if path.is_file():
        return path
    there = ", ".join(sorted(p.parent.name for p in runs.glob("*/best.ckpt"))) or "none yet"
    raise RunError(
        f"model.weights: expected a file or a finished run, met {given!r}; runs are {there}"
    )


def write(run_folder: Path, taken: Taken) -> None:
    """Write every name into `weights.json`."""
    document = {"schema": SCHEMA, "counts": taken.counts, **asdict(taken)}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    predictions.replace_text(run_folder / FILE, text)


def note(run_folder: Path) -> None:
    """Put the counts of `weights.json` into `run.json`, of a run that goes on too."""
    path = run_folder / FILE
    if path.is_file():
        counts = json.loads(path.read_text())["counts"]
        record = predictor.load_run(run_folder)
        predictor.save_run(run_folder, replace(record, weights=counts))


def _record(path: Path) -> RunRecord | None:
    beside = path.parent / predictor.RUN
    own = path.suffix == ".ckpt" and beside.is_file()
    return predictor.load_run(path.parent) if own else None


def _refuse_leak(
    folder: Path,
    runs: Path,
    name: str,
    material: Material,
    splits: NDArray[np.str_],
    pacs: Pacs,
    told: Path | None,
) -> None:
    whose = material.patient_ids
    known = dict(zip(material.sop_instance_uids, whose, strict=True))
    seen = lineage.learned(folder, runs, pacs, known)
    for doubt in seen.doubts:
        _log.warning("model.weights: %s", doubt)
    leaked = [
        row
        for row, patient in enumerate(whose)
        # what chose an epoch then may choose one again
        if (splits[row] != "train" and patient in seen.trained)
        or (splits[row] == "test" and patient in seen.tuned)
    ]
    if leaked:
        table = folder / "split.csv"
        covered = table.is_file() and known.keys() <= folds.load(table).keys()
        advice = (
            f"divide as it was with data.split={table}"
            if covered
            else "give these patients to train by a data.split of your own, or begin with others"
        )
        which = ""
        if told is not None:
            _write(told, leaked, material, splits, tracking.secret(runs.parent))
            which = f"{told} says which they are; "
        raise DataError(
            f"leak: {len(leaked)} of {int((splits != 'train').sum())} images in val and test are "
            f"of patients that {name!r} of model.weights, or a run whose weights it began with, "
            f"was trained or tuned on; {which}{advice}"
        )


def _write(
    table: Path,
    leaked: Sequence[int],
    material: Material,
    splits: NDArray[np.str_],
    secret: bytes,
) -> None:
    """Write which images leak, for the user alone."""
    studies = [example.study_instance_uid for example in material.cohort.examples]
    ids = material.patient_ids, studies, material.sop_instance_uids
    named = folds.pseudonyms(
        ids[0], ids[2], lambda identifier: tracking.pseudonym(identifier, secret)
    )
    folds.write_leaks(table, [("weights", row) for row in leaked], splits, named, ids)
