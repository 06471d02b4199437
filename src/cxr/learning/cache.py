"""Decode once: images of the PACS as uint8 in memory-mapped shards.

A folder per preset and size; it only grows, and every job adds its images; a file replaced by
another with the same UID is decoded again. Pixels are on disk before the index names them, so
whatever stops a build, the next one goes on where it ended. The cache is patient data.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import progress
from cxr.errors import DataError
from cxr.images.dicom import Instance
from cxr.learning import decoding
from cxr.learning.decoding import Picture, Size

log = logging.getLogger(__name__)

VERSION = 1
"""Of the layout and of what `decoding.decode` does; another version, another folder."""
SHARD_BYTES = 256 * 2**20
_INDEX = "index.jsonl"
_NOBODY = "withdrawn"
_FLUSH = 64  # images between two syncs to disk


@dataclass(frozen=True)
class Entry:
    """One cached image.

    Attributes:
        sop_instance_uid: Key.
        sha256: Of the DICOM file it was decoded from.
        pixels_sha256: Of the cached pixels: the same for the same picture in another file.
        md5: Of the DICOM file too, where its PACS tells files apart by that; else empty.
    """

    sop_instance_uid: str
    sha256: str
    pixels_sha256: str
    md5: str = ""

    def is_of(self, digest: str) -> bool:
        """Say whether it was decoded from this very file.

        Args:
            digest: As `Pacs.digest` gives it. Where that cannot say, the UID alone has to do: it
                names one content for good (PS3.5 9).
        """
        kind, _, value = digest.partition(":")
        return not digest or value == {"sha256": self.sha256, "md5": self.md5}.get(kind)

    def line(self) -> str:
        """Give the line of the index."""
        held = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(held) + "\n"


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
    digest: Callable[[Instance], str],
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
        retrieve: Gives the DICOM file; called from threads of this process, never in another.
        digest: Says as `Pacs.digest` which file `retrieve` would give; asked of every instance,
            from threads too.
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
        newest = {entry.sop_instance_uid: entry for entry in entries}
        asked = {i.sop_instance_uid: i for i in instances}
        there = [i for uid, i in asked.items() if uid in newest]
        with ThreadPoolExecutor(decoding.THREADS) as threads:  # of a server each answer takes time
            for instance, said in zip(there, threads.map(digest, there), strict=True):
                if newest[instance.sop_instance_uid].is_of(said):
                    del asked[instance.sop_instance_uid]
        todo = list(asked.values())
        if todo:
            made = decoding.pictures(
                todo, retrieve, digest, image_size=size, preset=preset, workers=workers or _cores()
            )
            with progress.bar("decoded", len(todo)) as advance:
                _append(place, len(entries), made, unreadable, advance)
    if unreadable:
        log.warning("%d of %d images cannot be decoded", len(unreadable), len(instances))
        if len(unreadable) == len({i.sop_instance_uid for i in instances}):
            raise DataError(
                f"no image can be decoded; the first: {next(iter(unreadable.values()))}"
            )
    return Cache(place, size, unreadable)


def forget(folder: Path, sop_instance_uids: Collection[str]) -> int:
    """Blank these images in every cache below a folder, and say how many rows that were.

    A row keeps its place, for others come after it; its pixels are 0 and its entry is nobody's.
    Waits for a build that is at work.

    Raises:
        DataError: A cache cannot be written.
    """
    count = 0
    for recipe in sorted(folder.glob("*/cache.json")):
        place = recipe.parent
        size = tuple(json.loads(recipe.read_text())["image_size"])
        try:
            with _alone(place):
                count += _forget(place, size, sop_instance_uids)
        except OSError as error:
            raise DataError(f"{place}: cannot write the cache: {error.strerror}") from error
    return count


def _forget(place: Path, size: Size, sop_instance_uids: Collection[str]) -> int:
    entries = _entries(place, repair=True)
    gone = [row for row, e in enumerate(entries) if e.sop_instance_uid in sop_instance_uids]
    if not gone:
        return 0
    blank = np.zeros(size, np.uint8)
    for row in gone:
        _write_pixels(place, row, [blank])
        entries[row] = Entry(_NOBODY, _NOBODY, _NOBODY)
    part = place / f"{_INDEX}.part"
    with part.open("w") as index:
        index.writelines(entry.line() for entry in entries)
        index.flush()
        os.fsync(index.fileno())
    part.replace(place / _INDEX)
    return len(gone)


def _place(folder: Path, size: Size, preset: str) -> Path:
    """Give the folder of this recipe, with the recipe in it for whoever looks."""
    recipe = json.dumps({"image_size": size, "preset": preset, "version": VERSION})
    place = folder / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "cache.json").write_text(recipe + "\n")
    return place


def _append(
    folder: Path,
    row: int,
    made: Iterable[tuple[Instance, Picture | str]],
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
                pixels = hashlib.sha256(result.image.data).hexdigest()
                pending.append((result.image, Entry(uid, result.sha256, pixels, result.md5)))
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
            index.writelines(entry.line() for _, entry in pending)
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
