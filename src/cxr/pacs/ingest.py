"""From a folder full of files to a PACS: the good ones stored, the others listed with a reason.

Every file is accounted for, those that are no DICOM too. What became of each is noted in the
index, so that a second run, or one after a kill -9, only looks at what is new or changed.
"""

import csv
import multiprocessing
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from cxr import progress
from cxr.errors import DicomError, DuplicateError, PacsError
from cxr.images import doctor
from cxr.pacs.folder import FolderPacs
from cxr.pacs.staging import Staged

_BATCH = 50
_FEW = 24
"""So few files are checked faster here than in processes that first have to start."""
_CRASHED = "decoding it crashed the decoder"


@dataclass(frozen=True)
class Report:
    """What an ingest found.

    Attributes:
        stored: Files that came in now.
        present: Files that were in already, by an earlier run or under another name.
        refused: Path below the folder, and why; in the order of the paths.
    """

    stored: int
    present: int
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _File:
    path: Path
    relative: str
    stamp: str


@dataclass(frozen=True)
class _Checked:
    staged: Staged | None
    reason: str = ""
    for_now: bool = False  # next time it may be otherwise, though the file is the same


def ingest(folder: Path, pacs: FolderPacs, *, workers: int = 1) -> Report:
    """Check every file below a folder and store the good ones.

    Of several files with one SOPInstanceUID the first by path comes in; equal ones are counted
    as present, others refused.

    Args:
        folder: Read only; links are followed, but in no circle.
        pacs: Where to.
        workers: Processes that check files; 1 checks them in this one.

    Raises:
        PacsError: No such folder, none that can be read, nothing in it, or the PACS cannot be
            written.
    """
    root = _root(folder)
    key = _text(root.resolve())
    known, held = pacs.index.known(key), pacs.index.orthanc_ids()
    present, new = 0, list[_File]()
    refused: dict[str, str] = {}
    for file in _files(root, pacs.folder):
        stamp, orthanc_id, reason = known.get(file.relative, ("", "", ""))
        if stamp != file.stamp or not (reason or orthanc_id in held):
            new.append(file)
        elif reason:
            refused[file.relative] = reason
        else:
            present += 1
    if not (new or present or refused):
        raise PacsError(f"{folder}: expected a folder of DICOM files, met an empty one")
    stored = 0
    with progress.bar("checked", len(new)) as advance:
        outcomes = enumerate(_noted(pacs, key, new, workers), 1)
        for done, (file, is_new, reason) in outcomes:
            if reason:
                refused[file.relative] = reason
            stored += is_new
            present += not is_new and not reason
            advance(done)
    return Report(stored, present, tuple(sorted(refused.items())))


def write_refused(path: Path, report: Report) -> Path:
    """Write the refused files as CSV of `file` and `reason`, and give its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        path.chmod(0o600)  # file names name patients, often enough
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows(report.refused)
    return path


def _noted(
    pacs: FolderPacs, key: str, files: Sequence[_File], workers: int
) -> Iterator[tuple[_File, bool, str]]:
    """Admit what was checked, and note the outcomes now and then.

    Yields:
        The file, whether it is new here, why it was refused.
    """
    outcomes: list[tuple[str, str, str, str]] = []
    try:
        for file, checked in _checked(pacs, files, workers):
            orthanc_id, is_new, reason = _admit(pacs, checked)
            stamp = "" if checked.for_now else file.stamp
            outcomes.append((file.relative, stamp, orthanc_id, reason))
            yield file, is_new, reason
            if len(outcomes) >= _BATCH:
                pacs.index.remember(key, outcomes)
                outcomes = []
    finally:
        pacs.index.remember(key, outcomes)


def _admit(pacs: FolderPacs, checked: _Checked) -> tuple[str, bool, str]:
    if checked.staged is None:
        return "", False, checked.reason
    try:
        is_new = pacs.admit(checked.staged)
    except DuplicateError as error:
        return "", False, str(error)
    return checked.staged.instance.orthanc_id, is_new, ""


def _root(folder: Path) -> Path:
    expected = f"{folder}: expected a folder of DICOM files"
    try:
        if not stat.S_ISDIR(Path(folder).stat().st_mode):
            raise PacsError(f"{expected}, met a file; give the folder it is in")
        with os.scandir(folder):
            return Path(folder)
    except FileNotFoundError as error:
        raise PacsError(f"{expected}, met none") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PacsError(f"{expected}, met one that cannot be read: {reason}") from error


def _files(root: Path, own: Path) -> Iterator[_File]:
    """List every file below a folder by path, each folder once, without the PACS's own.

    A folder that cannot be listed comes as if it were a file, to be refused as one.
    """
    seen = {_identity(own)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as found:
                entries = sorted((entry.name, _is_folder(entry)) for entry in found)
        except OSError:
            yield _file(folder, root)
            continue
        waiting += [folder / name for name, is_folder in reversed(entries) if is_folder]
        for name, is_folder in entries:
            if not is_folder:
                yield _file(folder / name, root)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into where we may not look
        return False


def _text(path: Path) -> str:
    # names need not be UTF-8, and SQLite's text must be
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _file(path: Path, root: Path) -> _File:
    relative = _text(path.relative_to(root))
    try:
        found = path.stat()
    except OSError:  # a link to nowhere
        return _File(path, relative, "")
    return _File(path, relative, f"{found.st_size}:{found.st_mtime_ns}:{doctor.VERSION}")


def _checked(
    pacs: FolderPacs, files: Sequence[_File], workers: int
) -> Iterator[tuple[_File, _Checked]]:
    """Check files in several processes; the answers come in the order of the files."""
    if workers <= 1 or len(files) < _FEW:
        for file in files:
            yield file, _check(pacs, file)
        return
    left = deque(files)
    while left:
        under_way: deque[tuple[_File, Future[_Checked]]] = deque()
        try:
            with _pool(workers, pacs) as pool:
                while left or under_way:
                    while left and len(under_way) < 4 * workers:
                        under_way.append((left[0], pool.submit(_check_in_pool, left[0])))
                        left.popleft()
                    yield under_way[0][0], under_way[0][1].result()
                    under_way.popleft()
        except BrokenProcessPool:
            yield from _salvaged(pacs, under_way)


def _salvaged(
    pacs: FolderPacs, under_way: deque[tuple[_File, Future[_Checked]]]
) -> Iterator[tuple[_File, _Checked]]:
    """Go on after a worker died: whichever file kills a process of its own is the culprit."""
    while under_way:
        with _pool(1, pacs) as pool:
            while under_way:
                file, future = under_way.popleft()
                if future.done() and future.exception() is None:
                    yield file, future.result()
                    continue
                try:
                    yield file, pool.submit(_check_in_pool, file).result()
                except BrokenProcessPool:
                    yield file, _Checked(None, _CRASHED)
                    break


def _pool(workers: int, pacs: FolderPacs) -> ProcessPoolExecutor:
    # a forked child would inherit threads' locks and, on some systems, cannot use frameworks
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(pacs,))


_pacs_here: list[FolderPacs] = []


def _begin(pacs: FolderPacs) -> None:
    _pacs_here[:] = [pacs]


def _check_in_pool(file: _File) -> _Checked:
    return _check(_pacs_here[0], file)


def _check(pacs: FolderPacs, file: _File) -> _Checked:
    try:
        mode = file.path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(file.path).close()  # says why it could not be listed
        if not stat.S_ISREG(mode):
            return _Checked(None, "not a regular file")  # reading a pipe would never end
        data = file.path.read_bytes()
    except OSError as error:
        return _Checked(None, f"cannot be read: {error.strerror}", for_now=True)
    found = doctor.examine(data)
    if found.problems:
        return _Checked(None, "; ".join(found.problems))
    try:
        return _Checked(pacs.stage(data, pixel_hash=found.pixel_hash))
    except (DicomError, DuplicateError) as error:
        return _Checked(None, str(error))
