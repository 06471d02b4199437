"""What jobs hold of a patient who withdraws: answers, lines, tables.

The audit log stays whole: its entries on the patient's images still name them by Orthanc ID, a
hash of the four identifiers, for taking an entry out would break the chain of all later ones.
What was kept under them is gone, and one entry more says so.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.errors import JobError
from cxr.labeling import audit, lock, selection
from cxr.labeling.database import Database
from cxr.pacs import withdrawn
from cxr.pacs.withdrawn import Images

_GUARDED = ("answers", "decisions")
_OF_OBJECTS = ("drafts", "decisions", "tasks", "returned")


@dataclass(frozen=True)
class Held:
    """What one job holds of a patient.

    Attributes:
        job: Its name.
        lines: Data objects, known ones too, in its database or else its output manifest.
        answers: All versions.
        decisions: Of adjudicators.
        remote: s3:// URIs below which Ground Truth has more of it, which nothing here deletes.
    """

    job: str
    lines: int
    answers: int = 0
    decisions: int = 0
    remote: tuple[str, ...] = ()


@contextmanager
def stopped(root: Path) -> Iterator[list[Path]]:
    """Keep every job of a data root from being opened, and give their folders.

    Raises:
        JobError: One is open; the message names it and the process.
    """
    with ExitStack() as locks:
        folders = _folders(root)
        for folder in folders:
            locks.callback(lock.JobLock(folder).release)
        yield folders


def look(root: Path, images: Images) -> list[Held]:
    """Count what the jobs hold of a patient, and change nothing."""
    found = []
    for folder in _folders(root):
        path = folder / selection.ANSWERS
        if not path.exists():
            count = sum(1 for _ in _lines_of(folder, images))
            held = Held(folder.name, count, remote=_remote(folder))
        else:
            with _database(path) as db:
                ids = _objects(db, images)
                answers, decisions = (_count(db, ids, table) for table in _GUARDED)
                held = Held(folder.name, len(ids), answers, decisions)
        if held.lines:
            found.append(held)
    return found


def _remote(folder: Path) -> tuple[str, ...]:
    from cxr.labeling.groundtruth import state  # which few jobs have

    return tuple(f"{one.base}/" for one in state.read(folder))


def remove(folder: Path, images: Images, key: bytes) -> None:
    """Remove what one job holds of a patient; again is harmless.

    Files go before the database, which alone knows their numbers, so that whatever stops this, the
    next time does the rest.

    Args:
        folder: The job's, from `stopped`.
        images: The patient's.
        key: First of `audit.keys`.

    Raises:
        JobError: Something of it cannot be read or written.
    """
    path = folder / selection.ANSWERS
    numbers: list[int] = []
    try:
        if path.exists():
            with _database(path) as db:
                numbers = _objects(db, images)
        elif (folder / selection.GROUND_TRUTH).exists():
            numbers = [n for n, line in _numbered(folder) if images.hold(line)]
        _from_files(folder, images, numbers)
        if path.exists():
            _from_database(path, images, key)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise JobError(f"{folder}: cannot remove what it holds: {error}") from error


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "jobs").glob("*") if path.is_dir())


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
        yield db


def _objects(db: sqlite3.Connection, images: Images) -> list[int]:
    """Find the data objects that are, or show, one of the images."""
    names = images.sources | images.uids
    return [
        number
        for number, line in db.execute("SELECT object_id, line FROM objects")
        if any(name in line for name in names) and images.hold(json.loads(line))
    ]


def _count(db: sqlite3.Connection, numbers: list[int], table: str) -> int:
    joined = "answers JOIN tasks USING(task_id)" if table == "answers" else table
    return sum(
        db.execute(f"SELECT count(*) FROM {joined} WHERE object_id=?", (n,)).fetchone()[0]
        for n in numbers
    )


def _from_database(path: Path, images: Images, key: bytes) -> None:
    database = Database(path)  # which brings an older one up
    try:
        with database.transaction() as db:
            _take_out(db, images, key)
            end = audit.head(db)
    finally:
        database.close()
    with _database(path) as db:  # what was deleted must not lie in free pages, nor in the WAL
        db.execute("PRAGMA secure_delete=ON")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    audit.note_head(path.parent, end)


def _take_out(db: sqlite3.Connection, images: Images, key: bytes) -> None:
    numbers = _objects(db, images)
    beside = _without_companions(db, images)
    if not numbers and not beside:
        return
    told: dict[str, list[int]] = {name: [] for name in _GUARDED}
    with _unguarded(db):
        for number in numbers:
            of_tasks = "SELECT task_id FROM tasks WHERE object_id=?"
            for (answer,) in db.execute(
                f"SELECT answer_id FROM answers WHERE task_id IN ({of_tasks})", (number,)
            ).fetchall():
                told["answers"].append(answer)
            query = "SELECT decision_id FROM decisions WHERE object_id=?"
            told["decisions"] += [n for (n,) in db.execute(query, (number,)).fetchall()]
            db.execute(f"DELETE FROM answers WHERE task_id IN ({of_tasks})", (number,))
            for table in _OF_OBJECTS:
                db.execute(f"DELETE FROM {table} WHERE object_id=?", (number,))
            # the row stays, since the readers' order counts on the numbers
            db.execute(
                "UPDATE objects SET source='withdrawn-'||object_id, line='{}', known=NULL,"
                " kind='withdrawn', labelled=1, given=0, done=0 WHERE object_id=?",
                (number,),
            )
    audit.append_withdrawn(db, key, patient=images.mark, objects=len(numbers), **told)


@contextmanager
def _unguarded(db: sqlite3.Connection) -> Iterator[None]:
    """Let what is only ever added to lose rows, within this transaction."""
    names = [f"{table}_no_delete" for table in _GUARDED]
    marks = ",".join("?" * len(names))
    found = db.execute(
        f"SELECT name, sql FROM sqlite_master WHERE type='trigger' AND name IN ({marks})", names
    ).fetchall()
    for name, _ in found:
        db.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in found:
        db.execute(sql)


def _without_companions(db: sqlite3.Connection, images: Images) -> int:
    """Take the images out of the lines that show them beside another; say of how many."""
    changed = 0
    for number, line, known in db.execute("SELECT object_id, line, known FROM objects").fetchall():
        texts = [_alone(text, images) for text in (line, known)]
        if texts != [line, known]:
            db.execute("UPDATE objects SET line=?, known=? WHERE object_id=?", (*texts, number))
            changed += 1
    return changed


def _alone(text: str | None, images: Images) -> str | None:
    if text is None or not any(name in text for name in images.sources | images.uids):
        return text
    line = json.loads(text)
    if images.hold(line) or "companions" not in line:
        return text  # goes as a whole, or shows none
    line["companions"] = [one for one in line["companions"] if not images.hold(one)]
    return json.dumps(line)


def _numbered(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    path = folder / "input.manifest"
    return enumerate(manifest.read(path)) if path.exists() else enumerate(())


def _from_files(folder: Path, images: Images, numbers: list[int]) -> None:
    annotations = folder / "annotations"
    for number in numbers:  # first, since manifests may be all that knows them
        for place in annotations.glob(f"worker-response/*/{number}"):
            shutil.rmtree(place)
    if (folder / "preview").exists():
        shutil.rmtree(folder / "preview")  # one task, of whomever
    for path in sorted(folder.rglob("*.part")):
        path.unlink()  # of a writer that was killed
    for path in sorted(folder.rglob("*.manifest")):
        withdrawn.rewrite(path, lambda text: _manifest(text, images))
    for path in sorted(folder.rglob("*.csv")):
        if path.is_file():
            withdrawn.rewrite(path, images.without)
    for path in sorted(annotations.glob("consolidated-annotation/**/*.json")):
        withdrawn.rewrite(path, lambda text: _requests(text, images))


def _manifest(text: str, images: Images) -> str:
    kept = []
    for raw in text.splitlines(keepends=True):
        line = raw
        if any(name in raw for name in images.sources | images.uids):
            told = json.loads(raw)
            if images.hold(told):
                continue
            if "companions" in told:
                told["companions"] = [c for c in told["companions"] if not images.hold(c)]
                line = json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n"
        kept.append(line)
    return "".join(kept)


def _requests(text: str, images: Images) -> str:
    if not any(name in text for name in images.sources | images.uids):
        return text
    kept = []
    for item in json.loads(text):
        content = item.get("dataObject", {}).get("content", "")
        if content in images.sources:
            continue  # as Ground Truth has it: the source of a line, and no more
        if content.startswith("{"):  # the whole line, as this portal once had it
            if images.hold(json.loads(content)):
                continue
            content = _alone(content, images)
            item = dict(item) | {"dataObject": {"content": content}}
        kept.append(item)
    return json.dumps(kept)


def _lines_of(folder: Path, images: Images) -> Iterator[dict[str, Any]]:
    path = folder / "manifests" / "output" / "output.manifest"
    if not path.exists():
        path = folder / "input.manifest"
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for raw in file:
                if any(name in raw for name in images.sources | images.uids):
                    line = json.loads(raw)
                    if images.hold(line):
                        yield line
