"""One task of a job as its readers will see it, on this machine, before anything is started.

The page is the worker template filled in as Ground Truth's RenderUiTemplate fills it; the viewer
meets no portal on it, and so behaves as it does there. Answers are checked and not kept.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from cxr import places
from cxr.contract import manifest
from cxr.contract.signing import Keys
from cxr.errors import JobError
from cxr.infra import http
from cxr.labeling import Job, handlers, page, portal
from cxr.labeling.portal import context, forms, guard
from cxr.pacs import Pacs, relay, server
from cxr.pacs.folder import FolderPacs

_VERSION = "2018-10-16"


class Preview:
    """A page being served on loopback; nothing of it is kept but the task's input, as a file.

    Attributes:
        url: Where it is.
    """

    def __init__(self, job: Job, pacs: Pacs, keys: Keys, *, port: int = 0) -> None:
        """Serve the first image of a job's input manifest that has no label yet.

        Args:
            job: With the page that is to be seen.
            pacs: Where its images are.
            keys: That sign the image's link.
            port: On loopback; 0 takes any free one.

        Raises:
            ConfigError: The port is taken.
            JobError: No image of the manifest is in the PACS's keeping.
        """
        line = first_line(job)
        viewer = page.viewer()
        listener = http.bind("127.0.0.1", port, key="labeling.port")
        self.url = listener.url
        environment = portal.environment(job, keys, self.url, viewer, pacs.gateway)
        task = task_input(job, line, environment)
        self._served = http.Background(
            _app(job, pacs, keys, self.url, viewer, line, task), listener
        )

    def close(self) -> None:
        """Stop serving."""
        self._served.stop()


def task_input(job: Job, line: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Give what the pre-annotation Lambda makes of a line, as its `taskInput`."""
    event = {
        "version": _VERSION,
        "labelingJobArn": f"arn:aws:sagemaker:local:000000000000:labeling-job/{job.name.lower()}",
        "dataObject": line,
    }
    made: dict[str, Any] = handlers.load("pre_annotation", environment)(event, None)["taskInput"]
    return made


def first_line(job: Job) -> dict[str, Any]:
    """Give the first line of a job's input manifest that has no label yet.

    Raises:
        JobError: There is none whose image this machine can show.
    """
    for line in manifest.read(job.input_manifest):
        if "source" in line and job.name not in line:
            return line
    raise JobError(
        f"{job.input_manifest}: preview expected an image of the PACS (`source`) that has no label "
        "yet, met none"
    )


def write(folder: Path, name: str, document: Any) -> Path:
    """Write a document for its owner alone, since it may hold a link to an image."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return path


def _app(
    job: Job,
    pacs: Pacs,
    keys: Keys,
    url: str,
    viewer: Path,
    line: dict[str, Any],
    task: dict[str, Any],
) -> FastAPI:
    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    files = places.shipped("templates") / "portal"
    assets = {f.name: f for f in (viewer, *files.iterdir()) if f.suffix in (".js", ".css")}
    assets |= page.example_files(job.page)
    body = page.document(
        page.render(task), title=f"{job.name} · preview", submit_url="", csrf="", offer=None
    )

    @made.get("/")
    def _page() -> Response:
        return HTMLResponse(body)

    @made.get("/assets/{name}")
    def _asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "no such file")
        return FileResponse(assets[name])

    @made.post("/")
    async def _answer(request: Request) -> Response:
        forms.checked(await context.body(request), line)
        return JSONResponse({"next": "/checked"})

    @made.get("/checked")
    def _checked() -> Response:
        said = "This answer would be taken. It was a preview: nothing is kept."
        return HTMLResponse(page.message("Checked", said, link=("/", "Look again"), job=job.name))

    if not pacs.gateway:
        served = server.app(pacs, keys) if isinstance(pacs, FolderPacs) else relay.app(pacs, keys)
        made.mount("/pacs", served)
    parts = urlsplit(pacs.gateway or "")
    images = f"{parts.scheme}://{parts.netloc}".casefold() if pacs.gateway else ""
    made.add_middleware(guard.Guard, entrance=guard.Entrance(url, url, images=images))
    made.exception_handler(StarletteHTTPException)(_refused)
    return made


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, StarletteHTTPException) else 500
    return JSONResponse({"error": str(getattr(error, "detail", ""))}, status)
