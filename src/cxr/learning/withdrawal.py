"""What training holds of a patient who withdraws: cached pixels, splits, predictions, pictures.

A model that has learned from an image cannot forget it. So models stay, and whoever is
responsible learns which runs saw the patient and decides: retrain without, or say why not.
"""

import csv
import io
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from cxr.errors import DataError
from cxr.learning.folds import LEAKS
from cxr.pacs import withdrawn
from cxr.pacs.withdrawn import Images, Run

_SPLIT = "split.csv"
_PAGE, _SHAREABLE = "report.html", "report-without-pictures.html"
_PICTURE = b"data:image/"


def look(root: Path, images: Images, mark: Callable[[str], str]) -> list[Run]:
    """List the runs that trained, tuned or tested on one of the images, and change nothing.

    Those too that began with the weights of such a run, or that average it, however far back.

    Args:
        root: The data root.
        images: The patient's.
        mark: Names a SOPInstanceUID without giving it, in 32 hex digits.
    """
    names = images.uids | {_unnamed(uid, mark) for uid in images.uids}
    folders = _folders(root)
    used = {
        folder.name: [split for uid, split in _splits(folder / _SPLIT) if uid in names]
        for folder in folders
    }
    inherited = _inherited(folders, {name for name, of in used.items() if {"train", "val"} & {*of}})
    return [
        Run(
            folder.name,
            _record(folder / "run.json").get("run_id", ""),
            used[folder.name].count("train"),
            used[folder.name].count("val"),
            used[folder.name].count("test"),
            inherited.get(folder.name, ""),
        )
        for folder in folders
        if used[folder.name] or folder.name in inherited
    ]


def _inherited(folders: Sequence[Path], saw: Collection[str]) -> dict[str, str]:
    """Say of runs from which of others they have weights that saw one of the images."""
    sources = {folder.name: _sources(folder) for folder in folders}
    found: dict[str, str] = {}
    grew = True
    while grew:
        knows = {*saw, *found}
        new = {
            name: min(of & knows)
            for name, of in sources.items()
            if name not in found and of & knows
        }
        found |= new
        grew = bool(new)
    return found


def _sources(folder: Path) -> set[str]:
    """Name the runs whose weights a run began with or averages."""
    record = _record(folder / "run.json")
    inner = [_record(path) for path in folder.glob("members/*/run.json")]
    began = {str(one.get("weights", {}).get("source", "")) for one in (record, *inner)}
    return (began | {str(name) for name in record.get("members", ())}) - {"", folder.name}


def remove(root: Path, images: Images, mark: Callable[[str], str]) -> None:
    """Take the images out of what runs wrote about single images; again is harmless.

    Their rows in predictions go. A split keeps its row under another UID, so that it can be told
    later how many images a model has seen that are no more. A report that shows pictures, and
    might show these, becomes the one without, or goes where there is none. What killed commands
    left half written goes.

    Raises:
        DataError: A file cannot be read or written.
    """
    for folder in [root / LEAKS, *_folders(root)]:
        try:
            for part in sorted(folder.rglob("*.part")):
                if ".csv" in part.name or ".html" in part.name:
                    part.unlink()
            named = "*.csv" if folder == root / LEAKS else "predictions.csv"
            for path in sorted(folder.rglob(named)):
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
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        return [(row[0], row[1]) for row in csv.reader(file) if len(row) > 1]


def _record(path: Path) -> dict[str, Any]:
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
    # a report without pictures may be newer than the one that another evaluation left to share
    if not page.exists() or _PICTURE not in page.read_bytes():
        return
    with predictions.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        if not any(row and row[0] in images.uids for row in csv.reader(file)):
            return
    if shareable.exists():
        withdrawn.rewrite(page, lambda _: shareable.read_text(encoding="utf-8"))
    else:
        page.unlink()
