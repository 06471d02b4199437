"""Where files come from before they are checked: a folder, or what a query finds on another PACS.

A source lists what it holds, as a stream, and makes each file readable when its turn comes. From
another PACS files pass through a private folder, a few at a time.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cxr.errors import AbsentError, PacsError
from cxr.pacs import Pacs, transfer
from cxr.pacs.ledger import Listed

_SPOOLED = 1 << 28
"""Bytes that may wait to be checked; one more file may come on top."""


@dataclass(frozen=True)
class File:
    """One file whose turn has come.

    Attributes:
        at: Where it can be read now.
        passing: Whether it is to be deleted once it was dealt with.
        reason: Why there is none after all.
        header: It is a picture, and this is what its DICOM header is to hold; None: a DICOM file.
    """

    listed: Listed
    at: Path
    passing: bool = False
    reason: str = ""
    header: Mapping[str, str] | None = None


class Source(Protocol):
    """What an ingest takes files from."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        ...

    @property
    def nothing(self) -> str:
        """What to tell the user if there is nothing in it."""
        ...

    def files(self) -> Iterator[Listed]:
        """Say what is there, as a stream."""
        ...

    def fetch(self, wanted: Iterable[Listed], spool: Path) -> Iterator[File]:
        """Make files readable, in their order, a few ahead of who asks."""
        ...


class Folder:
    """Every file below a folder; links are followed, but in no circle.

    Args:
        folder: Read only.
        without: Folders of ours that may lie below it.

    Raises:
        PacsError: No such folder, or none that can be read.
    """

    def __init__(self, folder: Path, *, without: Iterable[Path] = ()) -> None:
        self._folder, self._without = Path(folder), tuple(without)
        expected = f"{folder}: expected a folder of DICOM files"
        self.nothing = f"{expected}, met an empty one"
        try:
            if not stat.S_ISDIR(self._folder.stat().st_mode):
                raise PacsError(f"{expected}, met a file; give the folder it is in")
            with os.scandir(folder):
                self.name = _text(self._folder.resolve())
        except FileNotFoundError as error:
            raise PacsError(f"{expected}, met none") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise PacsError(f"{expected}, met one that cannot be read: {reason}") from error

    def files(self) -> Iterator[Listed]:
        """List every file by path, each folder once.

        A folder that cannot be listed comes as if it were a file, to be refused as one.
        """
        seen = {_identity(folder) for folder in self._without if folder.exists()}
        waiting = [self._folder]
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
                yield self._listed(folder)
                continue
            waiting += [folder / name for name, is_folder in reversed(entries) if is_folder]
            for name, is_folder in entries:
                if not is_folder:
                    yield self._listed(folder / name)

    def fetch(self, wanted: Iterable[Listed], spool: Path) -> Iterator[File]:
        """Say where each file is."""
        for listed in wanted:
            yield File(listed, Path(os.fsdecode(listed.place)))

    def _listed(self, path: Path) -> Listed:
        relative = _text(path.relative_to(self._folder))
        try:
            found = path.stat()
        except OSError:  # a link to nowhere
            return Listed(relative, os.fsencode(path), "")
        return Listed(relative, os.fsencode(path), f"{found.st_size}:{found.st_mtime_ns}")


class Query:
    """What a query finds on another PACS.

    An instance that came over once is not asked for again: what an archive holds does not change.

    Args:
        pacs: Open as long as the source is used.
        query: QIDO-RS matching keys.
        threads: Downloads at once.
    """

    def __init__(self, pacs: Pacs, query: Mapping[str, object], *, threads: int) -> None:
        self.name = pacs.name
        self.nothing = f"query: expected one that finds something in {pacs.name}, met {dict(query)}"
        self._pacs, self._query, self._threads = pacs, dict(query), threads

    def files(self) -> Iterator[Listed]:
        """List the instances found, as `<StudyInstanceUID>/<SOPInstanceUID>.dcm`."""
        for found in self._pacs.search(**self._query):
            yield Listed(transfer.plain_name(found), transfer.packed(found), "there")

    def fetch(self, wanted: Iterable[Listed], spool: Path) -> Iterator[File]:
        """Download into the spool, in the order asked for."""
        under_way: deque[tuple[Listed, Future[Path]]] = deque()
        fuse = transfer.Fuse()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for listed in wanted:
                    future = pool.submit(fuse.call, self._download, listed, spool)
                    under_way.append((listed, future))
                    while len(under_way) > 2 * self._threads or _size(under_way) > _SPOOLED:
                        yield _fetched(*under_way.popleft())
                while under_way:
                    yield _fetched(*under_way.popleft())
            finally:
                for _, future in under_way:
                    future.cancel()

    def _download(self, listed: Listed, spool: Path) -> Path:
        instance = transfer.unpacked(listed.place)
        return transfer.download(self._pacs, instance, spool / f"{instance.orthanc_id}.dcm")


def _fetched(listed: Listed, future: "Future[Path]") -> File:
    try:
        return File(listed, future.result(), passing=True)
    except AbsentError as error:
        return File(listed, Path(), reason=str(error))


def _size(under_way: "deque[tuple[Listed, Future[Path]]]") -> int:
    done = (future.result() for _, future in under_way if _is_done(future))
    return sum(path.stat().st_size for path in done)


def _is_done(future: "Future[Path]") -> bool:
    return future.done() and future.exception() is None


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
