"""A folder PACS over HTTP, as any DICOMweb client expects one (PS3.18).

    /dicom-web/studies, /series, /instances and nested       QIDO-RS; POST to studies: STOW-RS
    /dicom-web/studies/<uid>[/series/<uid>[/instances/<uid>]]    WADO-RS; also /metadata, /frames/1
    /wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…    WADO-URI
    /instances/<Orthanc ID>/file                             the file itself, as Orthanc serves it

Files go out as they are stored: nothing is transcoded but single frames. Every request needs a
token (`contract.signing`); `gate` sees to that, and to everything else that is not about DICOM.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.encaps import get_frame
from pydicom.uid import UID, ExplicitVRLittleEndian
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from cxr.contract import signing
from cxr.errors import AbsentError, CxrError, PacsError
from cxr.images import dicom, pixels
from cxr.images.dicom import Instance
from cxr.pacs import matching, multipart, stow
from cxr.pacs.folder import FolderPacs
from cxr.pacs.gate import Gate, address, error

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
OCTETS = "application/octet-stream"

_PIECE = 1 << 20
_UNFILTERED = ("limit", "offset", "includefield", "fuzzymatching")
_LITERAL = '299 cxr: "fuzzymatching is not supported, only literal matching was performed"'
_WADO_URI = ("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax")
# PS3.18 table 8.7.3-5: by the first characters of the transfer syntax
_FRAME_KINDS = {
    "1.2.840.10008.1.2.4.5": "image/jpeg",
    "1.2.840.10008.1.2.4.7": "image/jpeg",
    "1.2.840.10008.1.2.4.8": "image/jls",
    "1.2.840.10008.1.2.4.9": "image/jp2",
    "1.2.840.10008.1.2.4.20": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


def app(pacs: FolderPacs, keys: signing.Keys, *, allowed_origins: Sequence[str] = ()) -> ASGIApp:
    """Make the ASGI application; may be mounted below a prefix.

    Args:
        pacs: What to serve.
        keys: Verify tokens. Scopes: `p:/dicom-web`, `p:/wado` and longer paths, `i:<Orthanc ID>`,
            `w:<SOPInstanceUID>`, `store`.
        allowed_origins: See `gate.Gate`.
    """
    server = _Server(pacs)
    study = "/dicom-web/studies/{StudyInstanceUID}"
    series = study + "/series/{SeriesInstanceUID}"
    instance = series + "/instances/{SOPInstanceUID}"
    get: dict[str, Callable[[Request], Response]] = {
        "/dicom-web/studies": server.search("studies"),
        "/dicom-web/series": server.search("series"),
        "/dicom-web/instances": server.search("instances"),
        study + "/series": server.search("series"),
        study + "/instances": server.search("instances"),
        series + "/instances": server.search("instances"),
        **dict.fromkeys((study, series, instance), server.retrieve),
        **{f"{level}/metadata": server.metadata for level in (study, series, instance)},
        instance + "/frames/{frames}": server.frames,
        "/wado": server.wado_uri,
        "/instances/{orthanc_id}/file": server.file,
    }
    routes = [Route(path, handler, methods=["GET"]) for path, handler in get.items()]
    store = stow.handler(pacs)
    routes += [Route(path, store, methods=["POST"]) for path in ("/dicom-web/studies", study)]
    path = re.compile(rf"{re.escape(str(pacs.folder))}[^\s:]*")

    def failed(_: Request, reason: Exception) -> Response:
        return error(500, path.sub("the PACS", str(reason)))

    made = Starlette(routes=routes, exception_handlers={CxrError: failed})
    made.router.redirect_slashes = False
    return Gate(made, keys, allowed_origins)


class _Server:
    def __init__(self, pacs: FolderPacs) -> None:
        self._pacs = pacs

    def search(self, level: str) -> Callable[[Request], Response]:
        """QIDO-RS (PS3.18 10.6) at one level."""

        def handler(request: Request) -> Response:
            keys = dict(request.path_params)
            headers = {}
            try:
                for name, value in request.query_params.multi_items():
                    if name in _UNFILTERED:
                        continue
                    if matching.keyword(name) in keys:
                        raise PacsError(f"{name!r} is given twice")
                    keys[matching.keyword(name)] = value
                where = matching.where(keys)
                limit = matching.bound("limit", request.query_params.get("limit"))
                offset = matching.bound("offset", request.query_params.get("offset"))
            except PacsError as reason:
                return error(400, str(reason))
            if request.query_params.get("fuzzymatching") == "true":
                headers["Warning"] = _LITERAL
            rows = self._pacs.index.grouped(level, where, limit, offset or 0)
            base = f"{address(request)}/dicom-web"
            found = (_described(dict(row), level, base) for row in rows)
            return StreamingResponse(_json_array(found), headers=headers, media_type=DICOM_JSON)

        return handler

    def retrieve(self, request: Request) -> Response:
        """WADO-RS (PS3.18 10.4): every instance below a resource, as stored."""
        found = list(self._pacs.search(**request.path_params))
        if not found:
            return error(404, "no such study, series or instance")
        for form in multipart.accepted(request.headers.get("accept")):
            if not all(form.takes(DICOM, item.transfer_syntax_uid) for item in found):
                continue
            if form.parts:
                parts = (
                    (f"{DICOM}; transfer-syntax={item.transfer_syntax_uid}", self._pieces(item))
                    for item in found
                )
                return multipart.response(parts, DICOM)
            if len(found) == 1:
                return self._whole(found[0])
        return error(406, "instances come as they are stored, as multipart/related of " + DICOM)

    def metadata(self, request: Request) -> Response:
        """WADO-RS metadata: everything but the pixels, as DICOM JSON (PS3.18 F)."""
        forms = multipart.accepted(request.headers.get("accept"))
        kinds = (DICOM_JSON, "application/json")
        if not any(form.single and form.takes(kind, "") for form in forms for kind in kinds):
            return error(406, f"metadata comes as {DICOM_JSON}")
        found = list(self._pacs.search(**request.path_params))
        if not found:
            return error(404, "no such study, series or instance")
        documents = (_header(self._pacs.path(item)) for item in found)
        return StreamingResponse(_json_array(documents), media_type=DICOM_JSON)

    def frames(self, request: Request) -> Response:
        """WADO-RS frames: the one frame there is, as stored or unpacked."""
        if request.path_params.pop("frames") != "1":
            return error(404, "instances here have one frame, number 1")
        found = next(self._pacs.search(**request.path_params), None)
        if found is None:
            return error(404, "no such instance")
        for form in multipart.accepted(request.headers.get("accept")):
            choice = _frame_choice(form, found.transfer_syntax_uid)
            if choice is None:
                continue
            kind, syntax = choice
            frame = _frame(self._pacs.path(found), stored=syntax == found.transfer_syntax_uid)
            heading = f"{kind}; transfer-syntax={syntax}"
            if form.parts:
                return multipart.response([(heading, [frame])], kind)
            return Response(frame, media_type=heading)
        return error(406, f"frames come as stored ({found.transfer_syntax_uid}) or as {OCTETS}")

    def wado_uri(self, request: Request) -> Response:
        """WADO-URI (PS3.18 9): one instance, named in the query."""
        query = dict(request.query_params.multi_items())
        if unknown := next((name for name in query if name not in _WADO_URI), None):
            return error(400, f"{unknown!r} is not supported")
        if query.get("requestType") != "WADO":
            return error(400, "expected requestType=WADO")
        if query.get("contentType", DICOM) != DICOM:
            return error(406, f"instances come as {DICOM}")
        uids = ("studyUID", "seriesUID", "objectUID")
        if missing := next((name for name in uids if not query.get(name)), None):
            return error(400, f"expected {missing}, met none")
        try:
            found = self._pacs.find(query["objectUID"])
        except AbsentError:
            return error(404, "no such instance")
        if (found.study_instance_uid, found.series_instance_uid) != (
            query[uids[0]],
            query[uids[1]],
        ):
            return error(404, "no such instance in that study and series")
        if query.get("transferSyntax", "*") not in ("*", found.transfer_syntax_uid):
            return error(406, f"it is stored as {found.transfer_syntax_uid}")
        return self._whole(found)

    def file(self, request: Request) -> Response:
        """Orthanc's own way to one file: byte for byte."""
        try:
            found = self._pacs.find(request.path_params["orthanc_id"])
        except AbsentError:
            return error(404, "no such instance")
        return self._whole(found)

    def _whole(self, instance: Instance) -> Response:
        path = self._pacs.path(instance)
        with _nameless():
            return FileResponse(path, media_type=DICOM, stat_result=path.stat())

    def _pieces(self, instance: Instance) -> Iterator[bytes]:
        with _nameless(), self._pacs.path(instance).open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


@contextmanager
def _nameless() -> Iterator[None]:
    """Say without a path what went wrong: after the first byte it ends in uvicorn's log."""
    try:
        yield
    except (OSError, CxrError) as reason:
        why = reason.strerror if isinstance(reason, OSError) else "it is damaged"
        raise PacsError(f"a stored file cannot be read: {why}") from None


def _frame_choice(form: multipart.Accepted, stored: str) -> tuple[str, str] | None:
    """Choose media type and transfer syntax of a frame, or None if this form fits neither."""
    native = not UID(stored).is_encapsulated
    if form.takes(OCTETS, ExplicitVRLittleEndian) and (native or form.transfer_syntax != "*"):
        return OCTETS, ExplicitVRLittleEndian
    if form.takes(OCTETS, stored) and not native:
        return OCTETS, stored
    kind = next((k for start, k in _FRAME_KINDS.items() if stored.startswith(start)), "")
    return (kind, stored) if kind and form.takes(kind, stored) else None


def _frame(path: Path, *, stored: bool) -> bytes:
    ds = dicom.parse(path)
    if stored and ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return get_frame(ds.PixelData, 0, number_of_frames=1)
    with dicom.explained(path):
        unpacked = pixels.decode(ds)
    return unpacked.astype(unpacked.dtype.newbyteorder("<"), copy=False).tobytes()


def _header(path: Path) -> dict[str, Any]:
    with _nameless(), dicom.explained(path):
        ds = dicom.read_header(path)
        document: dict[str, Any] = ds.to_json_dict(suppress_invalid_tags=True)
    return document | _element("AvailableTransferSyntaxUID", str(ds.file_meta.TransferSyntaxUID))


def _described(row: dict[str, Any], level: str, base: str) -> dict[str, Any]:
    """Describe a study, series or instance in DICOM JSON."""
    levels = matching.LEVELS[: matching.LEVELS.index(level) + 1]
    document: dict[str, Any] = {}
    for keyword, its_level in matching.ATTRIBUTES.items():
        if its_level in levels:
            document |= _element(keyword, row[keyword])
    url = f"{base}/studies/{row['StudyInstanceUID']}"
    if level == "studies":
        document |= _element("ModalitiesInStudy", *sorted(row["modalities"].split(",")))
        document |= _element("NumberOfStudyRelatedSeries", row["series"])
        document |= _element("NumberOfStudyRelatedInstances", row["instances"])
    else:
        url += f"/series/{row['SeriesInstanceUID']}"
    if level == "series":
        document |= _element("NumberOfSeriesRelatedInstances", row["instances"])
    if level == "instances":
        url += f"/instances/{row['SOPInstanceUID']}"
        document |= _element("AvailableTransferSyntaxUID", row["transfer_syntax_uid"])
    document |= _element("InstanceAvailability", "ONLINE") | _element("RetrieveURL", url)
    return dict(sorted(document.items()))


def _element(keyword: str, *values: str | int | None) -> dict[str, Any]:
    """Make one DICOM JSON element (PS3.18 F.2.2)."""
    kind = matching.vr(keyword)
    element: dict[str, Any] = {"vr": kind}
    present = [value for value in values if value not in (None, "")]
    if present:
        element["Value"] = [{"Alphabetic": v} for v in present] if kind == "PN" else present
    return {f"{tag_for_keyword(keyword):08X}": element}


def _json_array(documents: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    separator = b"["
    for document in documents:
        yield separator + json.dumps(document, separators=(",", ":")).encode()
        separator = b","
    yield b"[]" if separator == b"[" else b"]"
