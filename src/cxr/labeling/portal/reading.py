"""Your next image and your answer."""

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from cxr import NOTE
from cxr.contract import consolidate, labels, manifest
from cxr.errors import AnnotationError, CxrError, JobError
from cxr.labeling import page
from cxr.labeling.answers import Task
from cxr.labeling.portal import context
from cxr.labeling.portal.access import Worker
from cxr.labeling.portal.context import Portal, ThePortal

routes = APIRouter()


@routes.get("/task")
def _next_page(worker: Worker, portal: ThePortal) -> Response:
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


@routes.get("/api/task")
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


@routes.get("/api/status")
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


@routes.post("/tasks/{task_id}/answer")
async def _answer(task_id: str, request: Request, worker: Worker, portal: ThePortal) -> Response:
    context.check_csrf(request, portal, worker)
    # SQLite waits for the disk: the event loop, which serves images, must not
    task = await run_in_threadpool(portal.answers.task, task_id)
    if task is None:
        raise HTTPException(410, "this image went back after its time limit; reload the page")
    if task.worker_id != worker:
        raise HTTPException(403, "this image is before another reader")
    content = _checked(await context.body(request), task)
    try:
        await run_in_threadpool(portal.answers.submit, task_id, content)
    except JobError as error:
        raise HTTPException(410, str(error)) from error
    return JSONResponse({"next": "/task"})


def _done(portal: Portal, worker: str) -> str:
    done, total = portal.answers.counts()
    mine = portal.answers.answered_by(worker)
    text = f"You answered {mine} of the {total} images of job {portal.job.name}."
    if done < total:
        waiting = f"{text} {total - done} wait for other readers."
        return page.message("Nothing left for you", waiting, link=("/task", "Look again"))
    return page.message("All images are labelled", f"{text} You can close this window.")


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
