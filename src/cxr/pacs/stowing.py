"""Sending files by STOW-RS (PS3.18 10.5), and what the server said of each."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cxr.errors import CxrError, DicomError, DuplicateError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import described
from cxr.pacs.web import Web

MAX_REQUEST = 1 << 26
"""Bytes of files in one request; a single larger file goes alone."""

# what a server may answer and still say of each file what became of it
_UNDERSTOOD = (400, 409, 415)


def identified(dicoms: Sequence[bytes]) -> list[Instance | CxrError]:
    """Read who each file is, or why that cannot be read."""
    return [_identified(file) for file in dicoms]


def settled(
    outcomes: list[Instance | CxrError],
    dicoms: Sequence[bytes],
    compare: Callable[[Instance, bytes], Instance | CxrError | None],
) -> list[int]:
    """Settle in place what needs no sending, and say which files do.

    Args:
        outcomes: As `identified` gave them.
        dicoms: The files, in the same order.
        compare: With what is there under the same SOPInstanceUID; None: nothing is.
    """
    first: dict[str, int] = {}
    for at, it in enumerate(outcomes):
        if not isinstance(it, Instance):
            continue
        before = first.setdefault(it.sop_instance_uid, at)
        if before == at:
            if (there := compare(it, dicoms[at])) is not None:
                outcomes[at] = there
                del first[it.sop_instance_uid]
        elif dicoms[before] != dicoms[at]:
            outcomes[at] = duplicate(it)
    return list(first.values())


def duplicate(instance: Instance) -> DuplicateError:
    """Say that another file is there."""
    return DuplicateError(
        f"SOPInstanceUID {instance.sop_instance_uid!r} is here already, with other content"
    )


def batches(dicoms: Sequence[bytes], chosen: Sequence[int]) -> Iterator[list[int]]:
    """Divide the chosen files into requests of bounded size."""
    batch: list[int] = []
    size = 0
    for at in chosen:
        if batch and size + len(dicoms[at]) > MAX_REQUEST:
            yield batch
            batch, size = [], 0
        batch.append(at)
        size += len(dicoms[at])
    if batch:
        yield batch


def send(web: Web, path: str, files: Sequence[bytes]) -> Any:
    """Send files in one request, and give the answer: DICOM JSON, or None where there is none.

    Raises:
        PacsError: It cannot be reached, or refuses the whole of it.
    """
    boundary = secrets.token_hex(16)
    line = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    pieces = [part for file in files for part in (line, file, b"\r\n")]
    body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return web.json(
        "POST",
        path,
        data=body,
        headers={"Content-Type": kind, "Accept": "application/dicom+json"},
        allowed=_UNDERSTOOD,
    )


def told(answer: Any) -> tuple[set[str], dict[str, int]]:
    """Read the answer (PS3.18 table 10.5.3-1): UIDs that stayed, and those that did not, and why.

    Returns:
        SOPInstanceUIDs, and SOPInstanceUID → Failure Reason; a server may leave out any of them.
    """
    if isinstance(answer, list) and len(answer) == 1:  # as every other DICOM JSON comes
        answer = answer[0]
    header = described.from_json(answer) if isinstance(answer, Mapping) else {}
    stayed = {
        uid for item in _items(header, "ReferencedSOPSequence") if (uid := _uid(item)) is not None
    }
    failed = {}
    for item in _items(header, "FailedSOPSequence"):
        reason = item.get("FailureReason", "")
        if (uid := _uid(item)) is not None:
            failed[uid] = int(reason) if reason.isdigit() else 0
    return stayed - failed.keys(), failed


def _items(header: Mapping[str, Any], keyword: str) -> list[Mapping[str, Any]]:
    found = header.get(keyword)
    return found if isinstance(found, list) else []


def _uid(item: Mapping[str, Any]) -> str | None:
    return item.get("ReferencedSOPInstanceUID") or None


def _identified(file: bytes) -> Instance | CxrError:
    try:
        return dicom.identify(file)
    except DicomError as error:
        return error
