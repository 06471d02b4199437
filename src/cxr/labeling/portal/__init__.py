"""The portal's HTTP face.

It renders the worker template and calls the Lambda handlers, so that a reader here and a worker
in Ground Truth meet the same page. Images come from the PACS server mounted under /pacs, by
signed URL. Each module holds the routes of one matter; `context` is what they share.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from cxr import schema
from cxr.contract.signing import Keys
from cxr.labeling import Job, handlers, page
from cxr.labeling.answers import Answers
from cxr.labeling.portal import access, reading
from cxr.labeling.portal.context import Portal, ThePortal
from cxr.pacs import server
from cxr.pacs.folder import FolderPacs

_CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types cxr-decoder"
)
_KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}
_FOR_PROGRAMS = ("/api/", "/assets/", "/pacs/", "/tasks/")
_routes = APIRouter()


def app(job: Job, answers: Answers, pacs: FolderPacs, keys: Keys, *, url: str) -> FastAPI:
    """Make the portal of one job.

    Args:
        job: Whose images are labelled.
        answers: The job's, open.
        pacs: Whose images are served under /pacs.
        keys: That sign image URLs, links and sessions.
        url: The portal's own address; requests for another host are refused.
    """
    viewer = page.viewer()
    files = schema.shipped("templates") / "portal"
    assets = {f.name: f for f in (viewer, *files.iterdir()) if f.suffix in (".js", ".css")}
    assets |= page.example_files(job.page)
    application = FastAPI(title="cxr portal", docs_url=None, redoc_url=None, openapi_url=None)
    pre_annotate = handlers.load("pre_annotation", _environment(job, keys, url, viewer))
    application.state.portal = Portal(job, answers, keys, url, assets, pre_annotate)
    application.mount("/pacs", server.app(pacs, keys))
    for routes in (_routes, access.routes, reading.routes):
        application.include_router(routes)
    application.middleware("http")(_guard)
    application.exception_handler(StarletteHTTPException)(_refused)  # the router's own too
    return application


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    portal: Portal = request.app.state.portal
    # a page elsewhere may point its own name at 127.0.0.1 (DNS rebinding)
    if request.headers.get("host") != portal.url.partition("://")[2]:
        return JSONResponse({"error": "unknown host"}, 400)
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = _CSP
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


async def _refused(request: Request, error: Exception) -> Response:
    """Say what was wrong: on a page to whom opens one, else in one line of JSON."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else 500
    reason = str(getattr(error, "detail", ""))
    if request.method == "GET" and not request.url.path.startswith(_FOR_PROGRAMS):
        return access.refusal_page(status, reason)
    return JSONResponse({"error": reason}, status)


@_routes.get("/assets/{name}")
def _asset(name: str, portal: ThePortal) -> Response:
    if name not in portal.assets:
        raise HTTPException(404, "no such file")
    kind = _KINDS[portal.assets[name].suffix.casefold()]
    # the viewer's name holds its hash, so it may be kept for good
    kept = "max-age=31536000, immutable" if name.startswith("viewer-") else "no-cache"
    return FileResponse(portal.assets[name], media_type=kind, headers={"Cache-Control": kept})


def _environment(job: Job, keys: Keys, url: str, viewer: Path) -> dict[str, str]:
    kid, key = next(iter(keys.by_id.items()))
    return {
        "CXR_PACS_URL": f"{url}/pacs",
        "CXR_TOKEN_KEY": f"{kid}:{key.hex()}",
        "CXR_TOKEN_TTL_S": str(job.task_time_limit_s + 300),
        "CXR_VIEWER_URL": f"{url}/assets/{viewer.name}",
        "CXR_PAGE": json.dumps(page.settings(job.page, f"{url}/assets")),
        "CXR_TEMPLATE_SHA": page.sha(page.template_text()),
        "CXR_VIEWER_SHA": page.sha(viewer.read_bytes()),
    }
