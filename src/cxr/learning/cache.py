"""Decode once: images of the PACS as uint8 in memory-mapped shards.

A folder per preset and size; it only grows, and every job adds its images; a file replaced by
another with the same UID is decoded again. Pixels are on disk before the index names them, so
whatever stops a build, the next one goes on where it ended. The cache is patient data. No torch
in here: every decoding process imports this module.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import progress
from cxr.errors import DataError, DicomError
from cxr.images import dicom as dicom_files
from cxr.images.dicom import Instance

log = logging.getLogger(__name__)

Size = Sequence[int]
"""Rows and columns, in pixels."""
VERSION = 1
"""Of the layout and of what `decode` does; another version, another folder."""
SHARD_BYTES = 256 * 2**20
_INDEX = "index.jsonl"
_FLUSH = 64  # images between two syncs to disk
_FEW = 32  # images for which starting processes costs more than it saves


@dataclass(frozen=True)
class Entry:
    """One cached image.

    Attributes:
        sop_instance_uid: Key.
        sha256: Of the DICOM file it was decoded from.
        pixels_sha256: Of the cached pixels: the same for the same picture in another file.
    """

    sop_instance_uid: str
    sha256: str
    pixels_sha256: str


class Shards:
    """The cached images as if they were one array (N, H, W) uint8, in order of arrival.

    Attributes:
        shape: (N, H, W)
    """

    def __init__(self, folder: Path, count: int, size: Size) -> None:
        self.shape = (count, *size)
        self._rows = _rows_per_shard(size)
        starts = range(0, count, self._rows)
        self._shards = [
            np.memmap(_shard(folder, k), np.uint8, "r", shape=(min(self._rows, count - s), *size))
            for k, s in enumerate(starts)
        ]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Gather images into a fresh array.

        Args:
            rows: (B) from `Cache.rows`.

        Returns:
            (B, H, W)
        """
        rows = np.asarray(rows)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        shard, place = np.divmod(rows, self._rows)
        for k in np.unique(shard):
            here = shard == k
            images[here] = self._shards[k][place[here]]
        return images


class Cache:
    """What one cache folder holds; open it by `build`.

    Attributes:
        images: (N, H, W) uint8, black is air; index it with `rows(...)`.
        entries: (N) what each row is.
        unreadable: SOPInstanceUID → reason, for those asked for that have no row.
    """

    def __init__(self, folder: Path, size: Size, unreadable: Mapping[str, str]) -> None:
        self.entries = _entries(folder)
        self.images = Shards(folder, len(self.entries), size)
        self.unreadable = unreadable
        # later rows win: of a file that was replaced, the newest counts
        self._row = {
            entry.sop_instance_uid: row
            for row, entry in enumerate(self.entries)
            if entry.sop_instance_uid not in unreadable
        }

    def rows(self, sop_instance_uids: Iterable[str]) -> NDArray[np.intp]:
        """Find images.

        Returns:
            (B) rows of `images`, in the order asked.

        Raises:
            DataError: One is not in the cache.
        """
        try:
            return np.array([self._row[uid] for uid in sop_instance_uids], dtype=np.intp)
        except KeyError as error:
            raise DataError("expected every image in the cache, met one that is not") from error

    def pixel_hashes(self, sop_instance_uids: Iterable[str]) -> list[str]:
        """Give what is equal for equal pictures, for the leak gate."""
        return [self.entries[row].pixels_sha256 for row in self.rows(sop_instance_uids)]


def build(
    folder: Path,
    instances: Sequence[Instance],
    retrieve: Callable[[Instance], bytes],
    *,
    sha256: Callable[[Instance], str],
    image_size: Size,
    preset: str = "voi",
    workers: int = 0,
) -> Cache:
    """Decode what is not cached yet, and open the cache.

    Images that cannot be decoded stay out and are named in `unreadable`; they are tried again
    next time.

    Args:
        folder: Parent of all caches of this data root.
        instances: What must be in it.
        retrieve: Gives the DICOM file; called here, never in another process.
        sha256: Says which file `retrieve` would give; asked of every instance, so it must be
            cheap.
        image_size: (H, W) in pixels.
        preset: How stored values become display values, see `images.dicom.read`.
        workers: Decoding processes; 0 takes one per core, 1 decodes in this one.

    Raises:
        DataError: No image can be decoded, a decoding process died, or the disk is full.
        PacsError: The PACS does not give an image; what was decoded before stays.
    """
    size = (image_size[0], image_size[1])  # a config gives a list
    place = _place(folder, size, preset)
    unreadable: dict[str, str] = {}
    with _alone(place):
        entries = _entries(place, repair=True)
        newest = {entry.sop_instance_uid: entry.sha256 for entry in entries}
        files = {i.sop_instance_uid: sha256(i) for i in instances}
        asked = {i.sop_instance_uid: i for i in instances}
        todo = [i for uid, i in asked.items() if newest.get(uid) != files[uid]]
        if todo:
            made = _decoded(todo, retrieve, size, preset, workers or _cores())
            with progress.bar("decoded", len(todo)) as advance:
                _append(place, len(entries), _expected(made, files), unreadable, advance)
    if unreadable:
        log.warning("%d of %d images cannot be decoded", len(unreadable), len(instances))
        if len(unreadable) == len({i.sop_instance_uid for i in instances}):
            raise DataError(
                f"no image can be decoded; the first: {next(iter(unreadable.values()))}"
            )
    return Cache(place, size, unreadable)


def _place(folder: Path, size: Size, preset: str) -> Path:
    """Give the folder of this recipe, with the recipe in it for whoever looks."""
    recipe = json.dumps({"image_size": size, "preset": preset, "version": VERSION})
    place = folder / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "cache.json").write_text(recipe + "\n")
    return place


def decode(dicom: bytes, *, image_size: Size, preset: str = "voi") -> NDArray[np.uint8]:
    """Make of one DICOM file what a net is shown.

    Args:
        dicom: A Part 10 file.
        image_size: (H, W) in pixels.
        preset: As in `images.dicom.read`.

    Returns:
        (H, W), black is air.

    Raises:
        DicomError: It cannot be decoded.
    """
    return letterbox(dicom_files.read(dicom, preset)[0], image_size)


def letterbox(image: NDArray[np.floating[Any]], image_size: Size) -> NDArray[np.uint8]:
    """Shrink by area, keeping the aspect; what is left over is black, on both sides alike.

    Args:
        image: (H, W) in [0, 1].
        image_size: Rows and columns of the result.

    Returns:
        Of that size, 0 to 255.

    >>> letterbox(np.array([[0.0, 1.0, 1.0, 1.0]]), (2, 2)).tolist()
    [[128, 255], [0, 0]]
    """
    part = min(to / side for to, side in zip(image_size, image.shape, strict=True))
    rows, columns = (max(1, round(side * part)) for side in image.shape)
    small = _resize(np.ascontiguousarray(_resize(image, rows).T), columns).T
    box = np.zeros(tuple(image_size), np.uint8)
    top, left = (image_size[0] - rows) // 2, (image_size[1] - columns) // 2
    box[top : top + rows, left : left + columns] = np.rint(small.clip(0, 1) * 255)
    return box


def _resize(image: NDArray[np.floating[Any]], size: int) -> NDArray[np.floating[Any]]:
    """Resize along the first axis: mean over the area going down, linear going up."""
    length = len(image)
    if size > length:
        at = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
        low = at.astype(int).clip(max=max(length - 2, 0))
        part = (at - low)[:, None]
        return np.asarray(image[low] * (1 - part) + image[np.minimum(low + 1, length - 1)] * part)
    edge = np.linspace(0, length, size + 1)
    mean = np.zeros((size, image.shape[1]), np.float32)
    # one row of each target row at a time, weighted by how much of it lies between the edges
    for step in range(-(-length // size) + 1):
        row = edge[:-1].astype(int) + step
        part = (np.minimum(edge[1:], row + 1) - np.maximum(edge[:-1], row)).clip(min=0)
        part = (part * (size / length)).astype(np.float32)
        mean += part[:, None] * image[row.clip(max=length - 1)]
    return mean


def _decode(dicom: bytes, size: Size, preset: str) -> tuple[NDArray[np.uint8], str] | str:
    """Give the image and the file's SHA-256, or why there is none; runs in a worker."""
    try:
        image = decode(dicom, image_size=size, preset=preset)
    except DicomError as error:
        return str(error)
    return image, hashlib.sha256(dicom).hexdigest()


_Made = tuple[Instance, tuple[NDArray[np.uint8], str] | str]


def _decoded(
    todo: Sequence[Instance],
    retrieve: Callable[[Instance], bytes],
    size: Size,
    preset: str,
    workers: int,
) -> Iterator[_Made]:
    """Decode in order; in other processes where that pays."""
    if workers == 1 or len(todo) < _FEW:
        for instance in todo:
            yield instance, _decode(retrieve(instance), size, preset)
        return
    waiting: deque[tuple[Instance, Future[Any]]] = deque()
    # spawn: a fork of a process with torch's threads in it may hang
    with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupts) as pool:
        try:
            for instance in todo:
                waiting.append((instance, pool.submit(_decode, retrieve(instance), size, preset)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        except BrokenProcessPool as error:
            raise DataError("a decoding process died, short of memory?; use fewer") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _expected(made: Iterable[_Made], files: Mapping[str, str]) -> Iterator[_Made]:
    """Refuse what was decoded from another file than the PACS named."""
    for instance, result in made:
        uid = instance.sop_instance_uid
        if isinstance(result, str) or result[1] == files[uid]:
            yield instance, result
        else:
            yield instance, f"{uid}: the file is not the one that was ingested; ingest it again"


def _ignore_interrupts() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _append(
    folder: Path,
    row: int,
    made: Iterable[_Made],
    unreadable: dict[str, str],
    advance: Callable[[int], None],
) -> None:
    """Write images from `row` on, each batch before its index lines."""
    pending: list[tuple[NDArray[np.uint8], Entry]] = []
    try:
        for number, (instance, result) in enumerate(made, 1):
            uid = instance.sop_instance_uid
            if isinstance(result, str):
                unreadable[uid] = result
            else:
                image, sha256 = result
                pending.append((image, Entry(uid, sha256, hashlib.sha256(image.data).hexdigest())))
            if len(pending) == _FLUSH:
                row += _flush(folder, row, pending)
            advance(number)
    finally:
        _flush(folder, row, pending)


def _flush(folder: Path, row: int, pending: list[tuple[NDArray[np.uint8], Entry]]) -> int:
    """Write and forget what is pending, and say how many that was."""
    count = len(pending)
    try:
        _write_pixels(folder, row, [image for image, _ in pending])
        with (folder / _INDEX).open("a") as index:
            index.writelines(json.dumps(asdict(entry)) + "\n" for _, entry in pending)
            index.flush()
            os.fsync(index.fileno())
    except OSError as error:
        raise DataError(f"{folder}: cannot write the cache: {error.strerror}") from error
    pending.clear()
    return count


def _write_pixels(folder: Path, row: int, images: Sequence[NDArray[np.uint8]]) -> None:
    by_shard: dict[int, list[tuple[int, NDArray[np.uint8]]]] = {}
    for offset, image in enumerate(images):
        shard, place = divmod(row + offset, _rows_per_shard(image.shape))
        by_shard.setdefault(shard, []).append((place, image))
    for shard, placed in by_shard.items():
        _shard(folder, shard).touch(mode=0o600)
        with _shard(folder, shard).open("r+b") as file:
            for place, image in placed:
                file.seek(place * image.size)
                file.write(image.tobytes())
            file.flush()
            os.fsync(file.fileno())


def _entries(folder: Path, *, repair: bool = False) -> list[Entry]:
    """Read the index; a line that was cut off by a crash does not count."""
    index = folder / _INDEX
    if not index.exists():
        return []
    raw = index.read_bytes()
    whole = raw.rfind(b"\n") + 1
    if repair and whole < len(raw):
        os.truncate(index, whole)
    return [Entry(**json.loads(line)) for line in raw[:whole].splitlines()]


def _shard(folder: Path, number: int) -> Path:
    return folder / f"images-{number:05d}.u8"


def _rows_per_shard(size: Size) -> int:
    return max(1, SHARD_BYTES // math.prod(size))


def _cores() -> int:
    # what this process may use, where the system tells (macOS does not)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process builds in this folder; the system frees a dead one's lock."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
