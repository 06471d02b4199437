"""What training holds of a patient who withdraws: cached pixels, splits, predictions, pictures.

A model that has learned from an image cannot forget it. So models stay, and whoever is
responsible learns which runs saw the patient and decides: retrain without, or say why not.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from cxr.errors import DataError
from cxr.learning.folds import SPLITS
from cxr.pacs import withdrawn
from cxr.pacs.withdrawn import Images, Run

_SPLIT = "split.csv"
_PAGE, _SHAREABLE = "report.html", "report-without-pictures.html"


def look(root: Path, images: Images, mark: Callable[[str], str]) -> list[Run]:
    """List the runs that trained, tuned or tested on one of the images, and change nothing.

    Args:
        root: The data root.
        images: The patient's.
        mark: Names a SOPInstanceUID without giving it, in 32 hex digits.
    """
    names = images.uids | {_unnamed(uid, mark) for uid in images.uids}
    found = []
    for folder in _folders(root):
        used = [split for uid, split in _splits(folder / _SPLIT) if uid in names]
        if used:
            record = _record(folder / "run.json")
            counts = (used.count(split) for split in SPLITS)
            found.append(Run(folder.name, record.get("run_id", ""), *counts))
    return found


def remove(root: Path, images: Images, mark: Callable[[str], str]) -> None:
    """Take the images out of what runs wrote about single images; again is harmless.

    Their rows in predictions go. A split keeps its row under another UID, so that it can be told
    later how many images a model has seen that are no more. A report that shows pictures, and
    might show these, becomes the one without.

    Raises:
        DataError: A file cannot be read or written.
    """
    for folder in _folders(root):
        try:
            for path in sorted(folder.rglob("predictions.csv")):
                _unpictured(path, images)
                withdrawn.rewrite(path, images.without)
            for table in [folder / _SPLIT, *sorted(folder.glob(f"members/*/{_SPLIT}"))]:
                if table.exists():
                    withdrawn.rewrite(table, lambda text: _renamed(text, images, mark))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: cannot remove images from it: {error}") from error


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "runs").glob("*") if path.is_dir())


def _splits(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [(row[0], row[1]) for row in csv.reader(file) if len(row) > 1]


def _record(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unnamed(uid: str, mark: Callable[[str], str]) -> str:
    """Give a UID that stands for one that is withdrawn."""
    return f"2.25.{int(mark(uid), 16)}"


def _renamed(text: str, images: Images, mark: Callable[[str], str]) -> str:
    if not any(uid in text for uid in images.uids):
        return text
    made = io.StringIO(newline="")
    rows = csv.writer(made, lineterminator="\n")
    for row in csv.reader(io.StringIO(text, newline="")):
        rows.writerow([_unnamed(c, mark) if c in images.uids else c for c in row])
    return made.getvalue()


def _unpictured(predictions: Path, images: Images) -> None:
    page, shareable = predictions.with_name(_PAGE), predictions.with_name(_SHAREABLE)
    if shareable.exists():
        with predictions.open(newline="", encoding="utf-8") as file:
            shown = any(row and row[0] in images.uids for row in csv.reader(file))
        if shown:
            withdrawn.rewrite(page, lambda _: shareable.read_text(encoding="utf-8"))
