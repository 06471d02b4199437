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
        try:
            pieces = pacs.stream(pacs.find(request.path_params["orthanc_id"]))
            first = next(pieces, b"")  # what is refused at all is refused here, with a status
        except AbsentError:
            return error(404, "the PACS holds no such image")
        except PacsError as reason:
            _log.warning("an image cannot be shown: %s", reason)
            return error(502, "the PACS does not give this image now; the portal's log says why")
        return StreamingResponse(_whole(first, pieces), media_type="application/dicom")

    made = Starlette(routes=[Route("/instances/{orthanc_id}/file", file, methods=["GET"])])
    made.router.redirect_slashes = False
    return Gate(made, keys, ())


def _whole(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
