"""What a PACS is asked often, in few and small requests.

Many instances are found by one search for fifty, and of a header no more is sent than it takes.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from itertools import islice

import pydicom
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxr.errors import AbsentError, DicomError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import Pacs

_BATCH = 50
"""UIDs in one search: they stand in a URL, and 8 KB of that is what servers take."""
_THREADS = 4
_HEAD = 1024  # the transfer syntax stands within
_PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""The tag of the pixels, in either byte order: all before it is the header."""
_UID = re.compile(r"[0-9.]{1,64}")


def several(pacs: Pacs, wanted: Iterable[tuple[str, str]]) -> Iterator[Instance | None]:
    """Find instances, as a stream in the order asked; None for one that is not there.

    Args:
        pacs: Where they are.
        wanted: What `Pacs.find` takes, and the SOPInstanceUID where that is known, else nothing.

    Raises:
        PacsError: The PACS does not answer.
    """
    asked = iter(wanted)
    with ThreadPoolExecutor(_THREADS) as threads:
        while batch := list(islice(asked, _BATCH)):
            yield from _found(pacs, batch, threads)


def header(pacs: Pacs, instance: Instance) -> Dataset:
    """Read everything before the pixels, without fetching these where they are many.

    Raises:
        DicomError: The file is damaged.
        PacsError: It is not there, or the PACS does not answer.
    """
    data = bytearray()
    with closing(_pieces(pacs, instance)) as pieces:
        for piece in pieces:
            since = max(0, len(data) - 3)
            data += piece
            if any(data.find(tag, since) >= 0 for tag in _PIXELS) and _is_whole(bytes(data)):
                break
    return dicom.read_header(bytes(data))


def _is_whole(data: bytes) -> bool:
    """Say whether a header ends in what is there; the pixels' tag may be another's value."""
    if DeflatedExplicitVRLittleEndian.encode() in data[:_HEAD]:
        return False  # its tags stand compressed, and what it inflates to is not bounded here
    stream = BytesIO(data)
    try:
        with dicom.explained(data):
            pydicom.dcmread(stream, stop_before_pixels=True)
    except DicomError:
        return False
    return data[stream.tell() :][:4] in _PIXELS


def _pieces(pacs: Pacs, instance: Instance) -> Generator[bytes]:
    yield from pacs.stream(instance)


def _found(
    pacs: Pacs, batch: list[tuple[str, str]], threads: ThreadPoolExecutor
) -> Iterator[Instance | None]:
    by_name: dict[str, Instance] = {}
    if uids := [uid for _, uid in batch if _UID.fullmatch(uid)]:
        for instance in pacs.search(SOPInstanceUID=uids):
            by_name |= {instance.orthanc_id: instance, instance.sop_instance_uid: instance}
    # what no search named is asked for by itself: a line may hold no UID, or a wrong one
    others = {
        source: threads.submit(_one, pacs, source) for source, _ in batch if source not in by_name
    }
    for source, _ in batch:
        yield others[source].result() if source in others else by_name[source]


def _one(pacs: Pacs, source: str) -> Instance | None:
    try:
        return pacs.find(source)
    except AbsentError:
        return None
