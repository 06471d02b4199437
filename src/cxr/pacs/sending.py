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
from cxr.pacs.ledger import Held, Row
from cxr.pacs.orthanc import OrthancPacs
from cxr.pacs.sources import File

REQUEST_BYTES = 64 << 20
"""Of one request, before the file that goes beyond it; servers refuse more than some 256 MB."""

IN_A_ROW = 10
"""Files that a server does not keep before it counts as broken."""


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


_OF_THE_FILE = (DuplicateError, ChangedError)


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
    fuse, not_kept = transfer.Fuse(), 0

    def settled() -> Iterator[Sent]:
        nonlocal not_kept
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
            settled_by = outcome.error is None or isinstance(outcome.error, _OF_THE_FILE)
            not_kept = 0 if settled_by else not_kept + 1
        if not_kept >= IN_A_ROW:
            broken.append(
                PacsError(
                    f"{pacs.name} kept none of {not_kept} files in a row: see its log, and whether "
                    "its disk is full; free some space, or set pacs.folder to another folder"
                )
            )

    with ThreadPoolExecutor(threads) as pool:
        for items in _batches(checked, batch):
            future = pool.submit(fuse.call, _send, pacs, [item for _, item in items])
            under_way.append((items, future))
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
    # other servers do not say at a fair price what they had before, so there all counts as new
    before = held(pacs, [it.row for it in items]) if isinstance(pacs, OrthancPacs) else set()
    dicoms: list[bytes] = []
    for number, item in enumerate(items):
        try:
            dicoms.append(_read(item))
            left.append(number)
        except ChangedError as error:
            outcomes[number] = Outcome(error=error)
    known = [it for number in left if (it := items[number].instance) is not None]
    for number, met in zip(left, _stored(pacs, dicoms, known), strict=True):
        is_new = items[number].row.orthanc_id not in before
        outcomes[number] = Outcome(error=met) if isinstance(met, CxrError) else Outcome(is_new)
    return [outcomes[number] for number in range(len(items))]


def greet(pacs: Pacs) -> None:
    """Ask a server something small: whether it is there, and lets us in.

    Raises:
        PacsError: It is not, or does not.
    """
    if not isinstance(pacs, FolderPacs):
        next(pacs.search(PatientID="nobody", limit=1), None)


def held(pacs: Pacs, rows: Sequence[Row | Held]) -> set[str]:
    """Give the Orthanc IDs of what a PACS holds under the SOPInstanceUIDs of some files."""
    found: set[str] = set()
    uids = sorted({row.sop_instance_uid for row in rows})
    # or a DICOMweb server would be asked about all studies it has
    studies = sorted({row.study_instance_uid for row in rows})

    def ask() -> None:
        if isinstance(pacs, OrthancPacs):
            found.update(pacs.there(uids))  # its search would read every header
        else:
            query = {"StudyInstanceUID": studies, "SOPInstanceUID": uids}
            found.update(instance.orthanc_id for instance in pacs.search(**query))

    if uids:
        transfer.again(ask)
    return found


def _stored(
    pacs: Pacs, dicoms: Sequence[bytes], known: Sequence[Instance]
) -> Sequence[Instance | CxrError]:
    met: list[Instance | CxrError] = []

    def store() -> None:
        met[:] = pacs.store_all(dicoms, known)

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
