"""STOW-RS (PS3.18 10.5): files in, and for each one whether it stayed.

What comes in this way will be labelled and trained on, so the same rules hold as for `ingest`.
The client is told about each file; the log gets counts, for no log may name an image.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from pydicom import Dataset
from pydicom.sequence import Sequence
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from cxr.errors import DicomError, DuplicateError
from cxr.images import dicom, doctor
from cxr.pacs import multipart
from cxr.pacs.folder import FolderPacs
from cxr.pacs.gate import address, error

MAX_REQUEST = 1 << 28
"""Bytes of one request; clients send batches of 10 to 50 files of up to 30 MB."""

# PS3.18 table I.2-2 and PS3.7 annex C
_DUPLICATE = 0x0111
_UNFIT = 0xA900
_UNREADABLE = 0xC000

_log = logging.getLogger(__name__)


def handler(pacs: FolderPacs) -> Callable[[Request], Awaitable[Response]]:
    """Make the handler of POST to `studies`, and to one study."""

    async def store(request: Request) -> Response:
        kind, parameters = multipart.content_type(request.headers.get("content-type", ""))
        if kind != "multipart/related" or parameters.get("type") != "application/dicom":
            return error(415, 'expected multipart/related; type="application/dicom"')
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_REQUEST:
                return error(413, f"expected at most {MAX_REQUEST} bytes in one request")
        try:
            parts = list(multipart.read(bytes(body), parameters.get("boundary", "")))
        except ValueError as reason:
            return error(400, str(reason))
        if not parts:
            return error(400, "expected at least one part, met none")
        if any(multipart.content_type(part)[0] != "application/dicom" for part, _ in parts):
            return error(415, "expected parts of application/dicom")
        study = request.path_params.get("StudyInstanceUID")
        base = f"{address(request)}/dicom-web/studies"
        files = [content for _, content in parts]
        return await run_in_threadpool(_store, pacs, files, study, base)

    return store


def _store(pacs: FolderPacs, files: list[bytes], study: str | None, base: str) -> Response:
    stored, failed, unreadable = [], [], []
    for data in files:
        item = Dataset()
        try:
            instance = dicom.identify(data)
        except DicomError:
            item.FailureReason = _UNREADABLE
            unreadable.append(item)
            continue
        item.ReferencedSOPClassUID = instance.sop_class_uid
        item.ReferencedSOPInstanceUID = instance.sop_instance_uid
        code = _keep(pacs, data, None if study in (None, instance.study_instance_uid) else study)
        if code:
            item.FailureReason = code
            failed.append(item)
        else:
            item.RetrieveURL = (
                f"{base}/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
                f"/instances/{instance.sop_instance_uid}"
            )
            stored.append(item)
    answer = Dataset()
    answer.RetrieveURL = f"{base}/{study}" if study else ""
    answer.ReferencedSOPSequence = Sequence(stored)
    if failed:
        answer.FailedSOPSequence = Sequence(failed)
    if unreadable:
        answer.OtherFailuresSequence = Sequence(unreadable)
    if refused := failed + unreadable:
        codes = Counter(item.FailureReason for item in refused).most_common()
        reasons = ", ".join(f"{count} for {code:#06x}" for code, count in codes)
        _log.warning("STOW-RS: refused %d of %d files: %s", len(refused), len(files), reasons)
    status = 200 if len(stored) == len(files) else 202 if stored else 409
    return Response(answer.to_json(), status, media_type="application/dicom+json")


def _keep(pacs: FolderPacs, data: bytes, other_study: str | None) -> int:
    """Check and store one file; 0, or the failure reason."""
    if other_study:
        return _UNFIT
    found = doctor.examine(data)
    if found.problems:
        return _UNFIT
    try:
        pacs.admit(pacs.stage(data, pixel_hash=found.pixel_hash))
    except DuplicateError:
        return _DUPLICATE
    return 0
