"""Many instances found at once: one search answers for fifty, where each would be a request."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from cxr.errors import AbsentError
from cxr.images.dicom import Instance
from cxr.pacs import Pacs

_BATCH = 50
"""UIDs in one search: they stand in a URL, and 8 KB of that is what servers take."""
_THREADS = 4
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
