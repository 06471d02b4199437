"""From a PACS's files to what a net is shown, in several processes.

Files are fetched by threads while others are decoded, and few of either wait at any time. No
torch in here: every decoding process imports this module.
"""

import hashlib
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError, DicomError
from cxr.images import dicom as dicom_files
from cxr.images.dicom import Instance

Size = Sequence[int]
"""Rows and columns, in pixels."""
THREADS = 4
"""That ask the PACS at once."""
_FEW = 32  # images for which starting processes costs more than it saves


@dataclass(frozen=True)
class Picture:
    """One decoded image.

    Attributes:
        image: (H, W), black is air.
        sha256: Of the DICOM file.
        md5: Of it too, where its PACS tells files apart by that; else empty.
    """

    image: NDArray[np.uint8]
    sha256: str
    md5: str = ""


@dataclass(frozen=True)
class Placement:
    """Where in its letterbox an image lies.

    Attributes:
        top: Rows of the box above it.
        left: Columns of the box to its left.
        rows: That it takes in the box.
        columns: That it takes in the box.
        shape: (H, W) of the image itself.
    """

    top: int
    left: int
    rows: int
    columns: int
    shape: tuple[int, int]

    def points(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Move points from the image into the box.

        Args:
            points: (P, 2) of (x, y) in image pixels, (0, 0) the outer corner of the first one.

        Returns:
            (P, 2) of (x, y) in pixels of the box, counted alike.

        >>> place((100, 50), (20, 20)).points(np.array([[0.0, 0.0], [50.0, 100.0]])).tolist()
        [[5.0, 0.0], [15.0, 20.0]]
        """
        part = np.array([self.columns / self.shape[1], self.rows / self.shape[0]])
        moved = np.asarray(points, np.float64) * part + np.array([self.left, self.top])
        return np.asarray(moved, np.float64)


def place(shape: Size, image_size: Size) -> Placement:
    """Say where `letterbox` puts an image.

    Args:
        shape: Rows and columns of the image.
        image_size: Rows and columns of the box.
    """
    part = min(to / side for to, side in zip(image_size, shape, strict=True))
    rows, columns = (max(1, round(side * part)) for side in shape)
    top, left = (image_size[0] - rows) // 2, (image_size[1] - columns) // 2
    return Placement(top, left, rows, columns, (shape[0], shape[1]))


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
    at = place(image.shape, image_size)
    small = _resize(np.ascontiguousarray(_resize(image, at.rows).T), at.columns).T
    box = np.zeros(tuple(image_size), np.uint8)
    box[at.top : at.top + at.rows, at.left : at.left + at.columns] = np.rint(small.clip(0, 1) * 255)
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


def pictures(
    instances: Sequence[Instance],
    retrieve: Callable[[Instance], bytes],
    digest: Callable[[Instance], str],
    *,
    image_size: Size,
    preset: str,
    workers: int,
) -> Iterator[tuple[Instance, Picture | str]]:
    """Decode in order; in other processes where that pays.

    Args:
        instances: What to decode.
        retrieve: Gives the DICOM file.
        digest: Says as `Pacs.digest` which file that is; of another one nothing is made.
        image_size: (H, W) in pixels.
        preset: As in `images.dicom.read`.
        workers: Processes; 1 decodes in this one.

    Yields:
        Each instance, with its picture or why there is none.

    Raises:
        DataError: A process died.
        PacsError: The PACS does not give an image.
    """

    def fetch(instance: Instance) -> tuple[str, str, bytes]:
        return instance.sop_instance_uid, digest(instance), retrieve(instance)

    if workers == 1 or len(instances) < _FEW:
        for instance in instances:
            yield instance, _picture(*fetch(instance), image_size, preset)
        return
    # spawn: a fork of a process with torch's threads in it may hang
    spawn = get_context("spawn")
    waiting: deque[tuple[Instance, Future[Picture | str]]] = deque()
    with (
        ThreadPoolExecutor(THREADS) as threads,
        ProcessPoolExecutor(workers, spawn, _ignore_interrupts) as pool,
    ):
        try:
            for instance, fetched in _fetched(threads, fetch, instances):
                waiting.append((instance, pool.submit(_picture, *fetched, image_size, preset)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        except BrokenProcessPool as error:
            raise DataError("a decoding process died, short of memory?; use fewer") from error
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(cancel_futures=True)


def _fetched(
    threads: ThreadPoolExecutor,
    fetch: Callable[[Instance], tuple[str, str, bytes]],
    instances: Sequence[Instance],
) -> Iterator[tuple[Instance, tuple[str, str, bytes]]]:
    """Fetch a few ahead, in order."""
    ahead: deque[tuple[Instance, Future[Any]]] = deque()
    for instance in instances:
        ahead.append((instance, threads.submit(fetch, instance)))
        if len(ahead) > 2 * THREADS:
            first, future = ahead.popleft()
            yield first, future.result()
    while ahead:
        first, future = ahead.popleft()
        yield first, future.result()


def _picture(uid: str, digest: str, dicom: bytes, size: Size, preset: str) -> Picture | str:
    """Decode one file, or say why not; runs in a worker."""
    kind, _, named = digest.partition(":")
    sha256 = hashlib.sha256(dicom).hexdigest()
    md5 = hashlib.md5(dicom, usedforsecurity=False).hexdigest() if kind == "md5" else ""
    try:
        image = decode(dicom, image_size=size, preset=preset)
    except DicomError as error:
        return str(error)
    if digest and named != {"sha256": sha256, "md5": md5}.get(kind):
        return f"{uid}: the file is not the one that was ingested; ingest it again"
    return Picture(image, sha256, md5)


def _ignore_interrupts() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
