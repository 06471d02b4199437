"""From a checked file to its destination: admitted by a folder, sent in batches to a server.

Whatever happens to one batch, the outcomes of the others are told before the error is raised: so
nothing is lost that came in, and another run sends only the rest.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import CxrError, DuplicateError, PacsError
from cxr.images.dicom import Instance
from cxr.pacs import Pacs, transfer
from cxr.pacs.checking import Checked
from cxr.pacs.folder import FolderPacs
from cxr.pacs.orthanc import OrthancPacs
from cxr.pacs.sources import File

REQUEST_BYTES = 64 << 20
"""Of one request, before the file that goes beyond it; servers refuse more than some 256 MB."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        is_new: Whether the destination did not hold it before.
        error: Why it is not there now.
    """

    is_new: bool = False
    error: CxrError | None = None


Sent = tuple[File, Checked, Outcome]


class ChangedError(CxrError):
    """The file is no longer what was checked."""


def admit_all(pacs: FolderPacs, checked: Iterable[tuple[File, Checked]]) -> Iterator[Sent]:
    """Put files into place that lie in the folder already.

    Raises:
        PacsError: The folder cannot be written.
    """
    for file, item in checked:
        if item.staged is None:
            raise ValueError("expected a staged file")
        try:
            yield file, item, Outcome(pacs.admit(item.staged))
        except DuplicateError as error:
            yield file, item, Outcome(error=error)


def send_all(
    pacs: Pacs, checked: Iterable[tuple[File, Checked]], *, batch: int, threads: int
) -> Iterator[Sent]:
    """Send files to a server, several in a request and several requests at once.

    Yields:
        What became of each, in their order.

    Raises:
        PacsError: A request failed for good; after the outcomes of those under way.
    """
    under_way: deque[tuple[Sequence[tuple[File, Checked]], Future[list[Outcome]]]] = deque()
    broken: list[PacsError] = []

    def settled() -> Iterator[Sent]:
        items, future = under_way.popleft()
        try:
            outcomes = future.result()
        except PacsError as error:
            broken.append(error)
            for _, item in items:
                item.drop()
            return
        for (file, item), outcome in zip(items, outcomes, strict=True):
            yield file, item, outcome

    with ThreadPoolExecutor(threads) as pool:
        for items in _batches(checked, batch):
            under_way.append((items, pool.submit(_send, pacs, [item for _, item in items])))
            while len(under_way) > 2 * threads or (under_way and under_way[0][1].done()):
                yield from settled()
            if broken:
                break
        while under_way:
            yield from settled()
    if broken:
        raise broken[0]


def _batches(
    checked: Iterable[tuple[File, Checked]], batch: int
) -> Iterator[list[tuple[File, Checked]]]:
    waiting: list[tuple[File, Checked]] = []
    size = 0
    for file, item in checked:
        waiting.append((file, item))
        size += int(item.row.size)
        if len(waiting) >= batch or size >= REQUEST_BYTES:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _send(pacs: Pacs, items: Sequence[Checked]) -> list[Outcome]:
    """Store some files in one request."""
    outcomes: dict[int, Outcome] = {}
    left: list[int] = []
    before = held(pacs, [item.row.sop_instance_uid for item in items])
    dicoms: list[bytes] = []
    for number, item in enumerate(items):
        try:
            dicoms.append(_read(item))
            left.append(number)
        except ChangedError as error:
            outcomes[number] = Outcome(error=error)
    for number, met in zip(left, _stored(pacs, dicoms), strict=True):
        is_new = items[number].row.orthanc_id not in before
        outcomes[number] = Outcome(error=met) if isinstance(met, CxrError) else Outcome(is_new)
    return [outcomes[number] for number in range(len(items))]


def held(pacs: Pacs, uids: Sequence[str]) -> set[str]:
    """Give the Orthanc IDs of what a PACS holds under these SOPInstanceUIDs."""
    found: set[str] = set()

    def ask() -> None:
        if isinstance(pacs, OrthancPacs):
            found.update(pacs.there(uids))  # its search would read every header
        else:
            found.update(i.orthanc_id for i in pacs.search(SOPInstanceUID=list(uids)))

    if uids:
        transfer.again(ask)
    return found


def _stored(pacs: Pacs, dicoms: Sequence[bytes]) -> Sequence[Instance | CxrError]:
    met: list[Instance | CxrError] = []

    def store() -> None:
        met[:] = pacs.store_all(dicoms)

    if dicoms:
        transfer.again(store)
    return met


def _read(item: Checked) -> bytes:
    at = item.at or Path()
    try:
        data = at.read_bytes()
    except OSError as error:
        raise ChangedError(f"cannot be read: {error.strerror}") from error
    if not item.made and hashlib.sha256(data).hexdigest() != item.row.sha256:
        raise ChangedError("changed while it was read; run it again")
    return data
