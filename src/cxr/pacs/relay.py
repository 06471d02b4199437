"""One kind of request, answered for any PACS: the file behind a signed image URL.

Where a PACS has no gateway of its own, browsers load images here. They hold a link to one image
each, for a while; what opens the PACS itself stays in this process.
"""

import logging
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from cxr.contract import signing
from cxr.errors import AbsentError, PacsError
from cxr.pacs import Pacs
from cxr.pacs.gate import Gate, error

_log = logging.getLogger(__name__)


def app(pacs: Pacs, keys: signing.Keys) -> ASGIApp:
    """Make the ASGI application; may be mounted below a prefix.

    Args:
        pacs: Whose files go out, at `/instances/<Orthanc ID>/file`.
        keys: Verify tokens of scope `i:<Orthanc ID>`.
    """

    def file(request: Request) -> Response:
        names = [request.path_params["orthanc_id"]]
        try:
            instance = pacs.find(names[0])
            names += [instance.sop_instance_uid, instance.series_instance_uid]
            names += [instance.study_instance_uid]
            pieces = pacs.stream(instance)
            first = next(pieces, b"")  # what is refused at all is refused here, with a status
        except AbsentError:
            return error(404, "the PACS holds no such image")
        except PacsError as reason:
            said = str(reason)
            for name in names:  # no log may name an image
                said = said.replace(name, "…")
            _log.warning("an image cannot be shown: %s", said)
            return error(502, "the PACS does not give this image now; the portal's log says why")
        second = next(pieces, None)
        if second is None:
            return Response(first, media_type="application/dicom")
        return StreamingResponse(_whole(first, second, pieces), media_type="application/dicom")

    made = Starlette(routes=[Route("/instances/{orthanc_id}/file", file, methods=["GET"])])
    made.router.redirect_slashes = False
    return Gate(made, keys, ())


def _whole(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    try:
        yield from rest
    except PacsError:  # without its words, for this ends in uvicorn's log
        raise PacsError("an image broke off on its way from the PACS") from None
