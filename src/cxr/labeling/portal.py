"""The portal's HTTP face: who you are, your next image, your answer.

It renders the worker template and calls the Lambda handlers, so that a reader here and a worker
in Ground Truth meet the same page. Images come from the PACS server mounted under /pacs, by
signed URL. Sign-in is a personal link; a job with one reader needs none, on loopback.
"""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from cxr import NOTE, schema
from cxr.contract import consolidate, labels, manifest, signing
from cxr.contract.signing import Keys
from cxr.errors import AnnotationError, CxrError, JobError, TokenError
from cxr.labeling import Job, handlers, page
from cxr.labeling.answers import Answers, Task
from cxr.pacs import server
from cxr.pacs.folder import FolderPacs

MAX_ANSWER = 2_000_000
"""Bytes of one submitted form; a page full of freehand polygons is a tenth of it."""
_AUDIENCE = "portal"
_LINK_TTL_S = 30 * 86_400
_CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src data:; "
    "connect-src 'self'; worker-src blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types cxr-decoder"
)
_routes = APIRouter()


@dataclass(frozen=True)
class Portal:
    """What the routes need to know.

    Attributes:
        job: Whose images are labelled.
        answers: Where they go.
        keys: That sign links and sessions.
        url: The portal's own address.
        assets: Name → file, of what pages load.
        pre_annotate: The pre-annotation Lambda's handler, configured for this portal.
        csrf_key: New at each start; a page opened before asks to be reloaded.
    """

    job: Job
    answers: Answers
    keys: Keys
    url: str
    assets: Mapping[str, Path]
    pre_annotate: handlers.Handler
    csrf_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def cookie(self) -> str:
        """Name the session's cookie: cookies know no ports, and jobs run side by side."""
        return f"cxr_session_{self.job.name}"

    def csrf(self, worker: str) -> str:
        """Give what a page of this worker must send with an answer."""
        return hmac.new(self.csrf_key, worker.encode(), "sha256").hexdigest()

    def task_input(self, task: Task) -> dict[str, Any]:
        """Give what the page reads, by the event that Ground Truth would send."""
        name = self.job.name
        event = {
            "version": "2018-10-16",
            "labelingJobArn": f"arn:aws:sagemaker:local:000000000000:labeling-job/{name}",
            "dataObject": dict(task.data_object),
        }
        result: dict[str, Any] = self.pre_annotate(event, None)["taskInput"]
        return result

    def reader(self, token: str) -> str:
        """Say whose token it is.

        Raises:
            TokenError: Nobody's of this job.
        """
        claims = signing.verify(self.keys, token, audience=_AUDIENCE)
        for reader in self.job.readers:
            if signing.opens(claims, _scope(self.job, reader.id)):
                return reader.id
        raise TokenError("this link is for another job")


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
    application = FastAPI(title="cxr portal", docs_url=None, redoc_url=None, openapi_url=None)
    pre_annotate = handlers.load("pre_annotation", _environment(job, keys, url, viewer))
    application.state.portal = Portal(job, answers, keys, url, assets, pre_annotate)
    application.mount("/pacs", server.app(pacs, keys))
    application.include_router(_routes)
    application.middleware("http")(_guard)
    application.exception_handler(StarletteHTTPException)(_refused)  # the router's own too
    return application


def link(job: Job, keys: Keys, url: str, reader_id: str) -> str:
    """Give a reader's personal link, good for 30 days."""
    return f"{url}/enter?token={_token(job, keys, reader_id)}"


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


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, StarletteHTTPException) else 500
    return JSONResponse({"error": getattr(error, "detail", "")}, status)


def _portal(request: Request) -> Portal:
    portal: Portal = request.app.state.portal
    return portal


def _worker(request: Request) -> str:
    try:
        return _portal(request).reader(request.cookies.get(_portal(request).cookie, ""))
    except TokenError as error:
        raise HTTPException(401, "open your personal link to sign in") from error


ThePortal = Annotated[Portal, Depends(_portal)]
Worker = Annotated[str, Depends(_worker)]


@_routes.get("/")
def _home(request: Request, portal: ThePortal) -> Response:
    if len(portal.job.readers) == 1 and not request.cookies.get(portal.cookie):
        return _signed_in(portal, portal.job.readers[0].id)
    return RedirectResponse("/task", 303)


@_routes.get("/enter")
def _enter(portal: ThePortal, token: str = "") -> Response:
    try:
        return _signed_in(portal, portal.reader(token))
    except TokenError as error:
        return HTMLResponse(page.message("This link does not open", f"{error}."), 401)


@_routes.get("/task")
def _next_page(request: Request, portal: ThePortal) -> Response:
    try:
        worker = _worker(request)
    except HTTPException:
        if len(portal.job.readers) == 1:
            return _signed_in(portal, portal.job.readers[0].id)
        text = "Open the personal link that you were given."
        return HTMLResponse(page.message("Sign in first", text), 401)
    task = portal.answers.assign(worker)
    if task is None:
        return HTMLResponse(_done(portal, worker))
    number = portal.answers.answered_by(worker) + 1
    return HTMLResponse(
        page.document(
            page.render(portal.task_input(task)),
            title=f"{portal.job.name} · image {number}",
            submit_url=f"/tasks/{task.id}/answer",
            csrf=portal.csrf(worker),
        )
    )


@_routes.get("/api/task")
def _next_task(worker: Worker, portal: ThePortal) -> dict[str, Any]:
    """Give the next task as JSON, for readers that are programs."""
    task = portal.answers.assign(worker)
    if task is None:
        return {"task": None}
    return {
        "note": NOTE,
        "task": {"id": task.id, "input": portal.task_input(task)},
        "submitUrl": f"/tasks/{task.id}/answer",
        "csrf": portal.csrf(worker),
    }


@_routes.get("/api/status")
def _status(worker: Worker, portal: ThePortal) -> dict[str, Any]:
    done, total = portal.answers.counts()
    mine = portal.answers.answered_by(worker)
    return {
        "note": NOTE,
        "job": portal.job.name,
        "labelled": done,
        "total": total,
        "answeredByYou": mine,
    }


@_routes.post("/tasks/{task_id}/answer")
async def _answer(task_id: str, request: Request, worker: Worker, portal: ThePortal) -> Response:
    given = request.headers.get("x-csrf", "").encode()  # as text it would have to be ASCII
    if not hmac.compare_digest(given, portal.csrf(worker).encode()):
        raise HTTPException(403, "reload the page, then submit again")
    # SQLite waits for the disk: the event loop, which serves images, must not
    task = await run_in_threadpool(portal.answers.task, task_id)
    if task is None:
        raise HTTPException(410, "this image went back after its time limit; reload the page")
    if task.worker_id != worker:
        raise HTTPException(403, "this image is before another reader")
    content = _checked(await _body(request), task)
    try:
        await run_in_threadpool(portal.answers.submit, task_id, content)
    except JobError as error:
        raise HTTPException(410, str(error)) from error
    return JSONResponse({"next": "/task"})


@_routes.get("/assets/{name}")
def _asset(name: str, portal: ThePortal) -> Response:
    if name not in portal.assets:
        raise HTTPException(404, "no such file")
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    # the viewer's name holds its hash, so it may be kept for good
    kept = "max-age=31536000, immutable" if name.startswith("viewer-") else "no-cache"
    return FileResponse(portal.assets[name], media_type=kind, headers={"Cache-Control": kept})


def _signed_in(portal: Portal, worker: str) -> Response:
    response = RedirectResponse("/task", 303)
    token = _token(portal.job, portal.keys, worker)
    response.set_cookie(
        # lax, or a link opened from webmail would not arrive signed in; answers need X-CSRF
        portal.cookie,
        token,
        max_age=_LINK_TTL_S,
        httponly=True,
        samesite="lax",
        path="/",
    )
    return response


def _token(job: Job, keys: Keys, reader_id: str) -> str:
    return signing.sign(keys, [_scope(job, reader_id)], ttl_s=_LINK_TTL_S, audience=_AUDIENCE)


def _scope(job: Job, reader_id: str) -> str:
    return f"reader:{job.name}:{reader_id}"


def _done(portal: Portal, worker: str) -> str:
    done, total = portal.answers.counts()
    mine = portal.answers.answered_by(worker)
    text = f"You answered {mine} of the {total} images of job {portal.job.name}."
    if done < total:
        waiting = f"{text} {total - done} wait for other readers."
        return page.message("Nothing left for you", waiting, link=("/task", "Look again"))
    return page.message("All images are labelled", f"{text} You can close this window.")


def _environment(job: Job, keys: Keys, url: str, viewer: Path) -> dict[str, str]:
    kid, key = next(iter(keys.by_id.items()))
    return {
        "CXR_PACS_URL": f"{url}/pacs",
        "CXR_TOKEN_KEY": f"{kid}:{key.hex()}",
        "CXR_TOKEN_TTL_S": str(job.task_time_limit_s + 300),
        "CXR_VIEWER_URL": f"{url}/assets/{viewer.name}",
        "CXR_INSTRUCTIONS": job.instructions,
        "CXR_TEMPLATE_SHA": page.sha(page.template_text()),
        "CXR_VIEWER_SHA": page.sha(viewer.read_bytes()),
    }


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ANSWER:  # content-length may lie, or be absent
            raise HTTPException(413, f"expected at most {MAX_ANSWER} bytes")
    return bytes(body)


def _checked(body: bytes, task: Task) -> str:
    """Give the form as a JSON string, if the answer in it can be understood."""
    try:
        content = json.dumps(json.loads(body))
        consolidate.read_content(content, labels.from_data_object(task.data_object))
    except AnnotationError as error:
        raise HTTPException(422, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, "expected JSON") from error
    except CxrError as error:
        raise HTTPException(500, f"{manifest.source(task.data_object)}: {error}") from error
    return content
