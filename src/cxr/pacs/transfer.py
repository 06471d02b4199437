"""Bulk copies out of a PACS: streamed, checked against its digest, then moved into place.

What is on its way is called `.part`, and nothing else ever is; a file under its own name is whole.
Memory holds one piece per download at a time, however many instances there are.
"""

import hashlib
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cxr import progress
from cxr.errors import AbsentError, DicomError, PacsError, UnavailableError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import Pacs
from cxr.pacs.ledger import IN, Ledger, Listed, Row, keyed

WAITS_S = (1.0, 4.0)
"""Pauses before the second and last try, on top of the client's own: a restart takes seconds."""
_PATIENCE_S = 60.0

T = TypeVar("T")
_BATCH = 50
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Attributes:
        copied: Instances that came over now.
        present: Instances that were there already.
        gone: Instances that were deleted in the meantime.
        size: Bytes that came over.
    """

    copied: int
    present: int
    gone: int
    size: int


class Fuse:
    """Lets no request begin after one failed for good: each would wait for the server again."""

    def __init__(self) -> None:
        self._blown = threading.Event()

    def call(self, request: Callable[..., T], *values: Any) -> T:
        """Do something that may fail, in whichever thread."""
        if self._blown.is_set():
            raise UnavailableError("given up, after another request failed")
        try:
            return request(*values)
        except PacsError as error:
            if not isinstance(error, AbsentError):
                self._blown.set()
            raise


def plain_name(instance: Instance) -> str:
    """Name an instance as a file of plain folders: `<StudyInstanceUID>/<SOPInstanceUID>.dcm`.

    Raises:
        PacsError: The PACS gave something as a UID that is none, and might name another place.
    """
    for uid in (instance.study_instance_uid, instance.sop_instance_uid):
        if len(uid) > 64 or not _UID.fullmatch(uid):
            raise PacsError(f"expected a UID from the PACS, met {uid[:80]!r}")
    return f"{instance.study_instance_uid}/{instance.sop_instance_uid}.dcm"


def packed(instance: Instance) -> bytes:
    """Put what `unpacked` needs into bytes: the four identifiers."""
    return json.dumps(
        [instance.patient_id, instance.study_instance_uid,
         instance.series_instance_uid, instance.sop_instance_uid]
    ).encode()  # fmt: skip


def unpacked(place: bytes) -> Instance:
    """Give an instance that knows its identifiers and nothing else."""
    return Instance(*json.loads(place))


def download(pacs: Pacs, instance: Instance, target: Path, *, key: str = "CXR_ROOT") -> Path:
    """Stream one instance to a file, which appears under its name once it is whole.

    Args:
        pacs: Asked again, after a pause, when it does not answer.
        instance: As `search` found it.
        target: Overwritten.
        key: What to change if there is no room.

    Raises:
        AbsentError: It is no longer there.
        PacsError: It did not come over whole, however often it was asked for; or cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        again(lambda: _stream(pacs, instance, part, key))
        part.replace(target)
    except PacsError as error:
        if not isinstance(error, UnavailableError) and _is_gone(pacs, instance):
            raise AbsentError(f"{pacs.name}: no longer there") from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return target


def to_folder(
    source: Pacs, query: dict[str, Any], folder: Path, ledger: Ledger, *, key: bytes, threads: int
) -> Copied:
    """Copy what a query finds to `<folder>/<StudyInstanceUID>/<SOPInstanceUID>.dcm`, as it is.

    Files that an earlier copy brought, and that have their length still, are not fetched again.

    Args:
        source: Where they are.
        query: QIDO-RS matching keys.
        folder: Where to.
        ledger: Of this folder.
        key: For the keyed hashes of the ledger.
        threads: Downloads at once.

    Raises:
        PacsError: Nothing is found, or one of the two sides fails; another run goes on from here.
    """
    # a query may name a patient
    name = f"{source.name}\n{keyed(json.dumps(query, sort_keys=True, default=str), key)}"
    found = (
        Listed(plain_name(instance), packed(instance), "there")
        for instance in source.search(**query)
    )
    total = ledger.begin(name, found)
    if not total:
        raise PacsError(f"query: expected one that finds something in {source.name}, met {query}")
    ledger.recheck(name, lambda rows: [r.path for r in rows if not _is(folder / r.path, r.size)])
    copied, gone, size, new = 0, 0, 0, ledger.count_new()
    try:
        with progress.bar("copied", new) as advance:
            wanted = _fetched(source, ledger.new(), folder, threads)
            for done, (listed, length) in enumerate(wanted, 1):
                if length is None:
                    gone += 1
                else:
                    copied, size = copied + 1, size + length
                    patient = keyed(unpacked(listed.place).patient_id, key)
                    row = Row(listed.stamp, IN, size=str(length), patient_key=patient)
                    ledger.note(name, listed.path, row)
                if done % _BATCH == 0:
                    ledger.commit()
                advance(done)
    finally:
        ledger.commit()
    return Copied(copied, total - new, gone, size)


def write(path: Path, data: bytes, *, key: str = "CXR_ROOT") -> None:
    """Write a file that its owner alone may read.

    Raises:
        PacsError: There is no room for it.
    """
    try:
        with open(path, "xb", opener=_private) as file:
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _unwritable(path.parent, error, key) from error


def again(call: Callable[[], None], waits_s: Sequence[float] = WAITS_S) -> None:
    """Call, and call again after a pause, while the PACS seems to be away for a moment.

    Raises:
        PacsError: As the last call.
    """
    begun = time.monotonic()
    for wait_s in waits_s:
        try:
            return call()
        except UnavailableError:
            if time.monotonic() - begun > _PATIENCE_S:
                raise  # it had time enough, and the client asked several times already
            time.sleep(wait_s)
    return call()


def _fetched(
    source: Pacs, wanted: Iterable[Listed], folder: Path, threads: int
) -> Iterator[tuple[Listed, int | None]]:
    """Download in their order, a few ahead; a length, or None for what is gone."""
    under_way: deque[tuple[Listed, Future[int | None]]] = deque()
    fuse = Fuse()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for listed in wanted:
                future = pool.submit(fuse.call, _fetch, source, listed, folder)
                under_way.append((listed, future))
                if len(under_way) > 4 * threads:
                    yield under_way[0][0], under_way[0][1].result()
                    under_way.popleft()
            while under_way:
                yield under_way[0][0], under_way[0][1].result()
                under_way.popleft()
        finally:
            for _, future in under_way:
                future.cancel()


def _fetch(source: Pacs, listed: Listed, folder: Path) -> int | None:
    target = folder / listed.path
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        download(source, unpacked(listed.place), target, key="to")
        return target.stat().st_size
    except AbsentError:
        return None
    except OSError as error:
        raise _unwritable(target.parent, error, "to") from error


def _stream(pacs: Pacs, instance: Instance, part: Path, key: str) -> None:
    expected = pacs.digest(instance)
    name, _, wanted = expected.partition(":")
    # sha256 if nothing is known: then only to have one way through here
    digest = hashlib.new(name or "sha256", usedforsecurity=False)
    pieces = pacs.stream(instance)
    try:
        with open(part, "wb", opener=_private) as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
    except OSError as error:
        raise _unwritable(part.parent, error, key) from error
    if wanted:
        if digest.hexdigest() != wanted:
            raise _broken(pacs, f"expected {expected}, met {digest.hexdigest()}")
        return
    try:
        met = dicom.identify(part)
    except DicomError as error:
        raise _broken(pacs, str(error)) from error
    if met.sop_instance_uid != instance.sop_instance_uid:
        raise _broken(pacs, "it is another instance")


def _broken(pacs: Pacs, what: str) -> PacsError:
    return UnavailableError(f"{pacs.name}: an instance came over damaged: {what}; run it again")


def _unwritable(folder: Path, error: OSError, key: str) -> PacsError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return PacsError(f"{folder}: expected a folder, met a file; set {key} to another folder")
    return PacsError(
        f"{folder}: cannot write: {error.strerror}; free some space, or set {key} to another folder"
    )


def _is_gone(pacs: Pacs, instance: Instance) -> bool:
    try:
        found = list(pacs.search(SOPInstanceUID=instance.sop_instance_uid))
    except PacsError:
        return False
    return instance.orthanc_id not in {i.orthanc_id for i in found}


def _is(path: Path, size: str) -> bool:
    try:
        return path.stat().st_size == int(size or -1)
    except OSError:
        return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
