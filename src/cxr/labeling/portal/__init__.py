"""The portal's HTTP face.

It renders the worker template and calls the Lambda handlers, so that a reader here and a worker
in Ground Truth meet the same page. Images come from the PACS server mounted under /pacs, by
signed URL, or from the PACS's own gateway. Each module holds the routes of one matter; `context`
is what they share.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from cxr import places
from cxr.contract.signing import Keys
from cxr.labeling import Job, handlers, page
from cxr.labeling.accounts import Accounts
from cxr.labeling.answers import Answers
from cxr.labeling.portal import access, adjudication, context, guard, lead, reading, sign_in
from cxr.labeling.portal.context import Portal, ThePortal
from cxr.labeling.portal.guard import Entrance
from cxr.pacs import Pacs, relay, server
from cxr.pacs.folder import FolderPacs

_KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}
_FOR_PROGRAMS = ("/api/", "/assets/", "/pacs/", "/tasks/")
_routes = APIRouter()


def app(
    job: Job,
    answers: Answers,
    pacs: Pacs,
    keys: Keys,
    *,
    url: str = "",
    entrance: Entrance | None = None,
    accounts: Accounts | None = None,
    collects: Callable[[str], Path] | None = None,
) -> FastAPI:
    """Make the portal of one job.

    Args:
        job: Whose images are labelled.
        answers: The job's, open.
        pacs: Whose images are shown; served under /pacs where it has no gateway.
        keys: That sign image URLs, links and sessions.
        url: The portal's own address; requests for another host are refused.
        entrance: How it is reached, where there is more to say than `url`.
        accounts: The readers' passphrases; None keeps them in the job's folder.
        collects: Writes the output manifest of what there is for somebody, and gives its path;
            None where there is nothing to write.
    """
    viewer = page.viewer()
    files = places.shipped("templates") / "portal"
    assets = {f.name: f for f in (viewer, *files.iterdir()) if f.suffix in (".js", ".css")}
    assets |= page.example_files(job.page)
    reached = entrance or guard.entrance(url)
    if pacs.gateway:
        parts = urlsplit(pacs.gateway)
        reached = replace(reached, images=f"{parts.scheme}://{parts.netloc}".casefold())
    application = FastAPI(title="cxr portal", docs_url=None, redoc_url=None, openapi_url=None)
    application.state.portal = Portal(
        job,
        answers,
        keys,
        reached,
        accounts or Accounts(job.folder / "accounts.db"),
        assets,
        handlers.load("pre_annotation", environment(job, keys, reached.url, viewer, pacs.gateway)),
        collects or _nothing,
    )
    if not pacs.gateway:
        served = server.app(pacs, keys) if isinstance(pacs, FolderPacs) else relay.app(pacs, keys)
        application.mount("/pacs", served)
    for routes in (
        _routes,
        access.routes,
        sign_in.routes,
        reading.routes,
        lead.routes,
        adjudication.routes,
    ):
        application.include_router(routes)
    application.add_middleware(guard.Guard, entrance=reached)
    application.exception_handler(StarletteHTTPException)(_refused)  # the router's own too
    application.exception_handler(RequestValidationError)(_malformed)
    application.exception_handler(Exception)(_broken)
    return application


async def _refused(request: Request, error: Exception) -> Response:
    """Say what was wrong: on a page to whom opens one, else in one line of JSON."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else 500
    reason = str(getattr(error, "detail", ""))
    path = request.url.path
    if path in sign_in.PATHS or (request.method == "GET" and not path.startswith(_FOR_PROGRAMS)):
        if status == 401 and not access.asserted(request):
            return sign_in.sign_in_page(context.the_portal(request), to=path, status=401)
        return access.refusal_page(status, reason)
    return JSONResponse({"error": reason}, status, getattr(error, "headers", None))


async def _malformed(_: Request, error: Exception) -> Response:
    """Name the first parameter that is not what a route expects."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = ".".join(str(part) for part in first.get("loc", ()))
    return JSONResponse({"error": f"{place}: {first.get('msg', 'malformed')}"}, 422)


async def _broken(request: Request, _: Exception) -> Response:
    """Answer for a mistake of ours; the log has it."""
    response = JSONResponse({"error": "the portal made a mistake; its log says which"}, 500)
    guard.harden(response.headers, context.the_portal(request).entrance)  # outside of the guard
    return response


@_routes.get("/assets/{name}")
def _asset(name: str, request: Request, portal: ThePortal) -> Response:
    if name not in portal.assets:
        raise HTTPException(404, "no such file")
    if name.startswith("example-"):  # pictures of patients, it may be
        access.reader_of(request)
    kind = _KINDS[portal.assets[name].suffix.casefold()]
    # the viewer's name holds its hash, so it may be kept for good
    kept = "max-age=31536000, immutable" if name.startswith("viewer-") else "no-cache"
    return FileResponse(portal.assets[name], media_type=kind, headers={"Cache-Control": kept})


def _nothing(_: str) -> Path:
    raise HTTPException(404, "this portal writes no output manifest")


def environment(
    job: Job, keys: Keys, url: str, viewer: Path, gateway: str | None
) -> dict[str, str]:
    """Give what the pre-annotation Lambda's configuration would be, were this portal its job.

    Args:
        job: Whose page is shown.
        keys: The first one signs image URLs.
        url: The portal's own address.
        viewer: The built viewer.
        gateway: Where images come from; None is the portal itself.
    """
    kid, key = next(iter(keys.by_id.items()))
    return {
        "CXR_PACS_URL": (gateway or f"{url}/pacs").rstrip("/"),
        "CXR_TOKEN_KEY": f"{kid}:{key.hex()}",
        "CXR_TOKEN_TTL_S": str(job.task_time_limit_s + 300),
        "CXR_VIEWER_URL": f"{url}/assets/{viewer.name}",
        "CXR_PAGE": json.dumps(page.settings(job.page, f"{url}/assets")),
        "CXR_TEMPLATE_SHA": page.sha(page.template_text()),
        "CXR_VIEWER_SHA": page.sha(viewer.read_bytes()),
    }
