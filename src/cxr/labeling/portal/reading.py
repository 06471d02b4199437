"""Your next image, the one after it, and your answers: the first, and what you correct in it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from cxr import NOTE
from cxr.errors import ClosedError, JobError, StaleError
from cxr.labeling import page
from cxr.labeling.portal import context, forms, rooms
from cxr.labeling.portal.access import Worker
from cxr.labeling.portal.context import Portal, ThePortal
from cxr.labeling.tasks import Task

_DEEPEST = 60
"""Levels of a draft; a page's own state has a fifth of them."""
T = TypeVar("T")
routes = APIRouter()


def own_task(task_id: str, worker: Worker, portal: ThePortal) -> Task:
    """Find the task that a path names, if it is this worker's.

    Raises:
        HTTPException: 410 where it went back, 403 where it is another's.
    """
    task = portal.answers.task(task_id)
    if task is None:
        raise HTTPException(410, "this image went back after its time limit; reload the page")
    if task.worker_id != worker:
        raise HTTPException(403, "this image is before another reader")
    return task


def own_begun(task_id: str, worker: Worker, portal: ThePortal) -> Task:
    """Find the task that a path names, even if it went back: who comes late may take it again.

    Raises:
        HTTPException: As `own_task` does.
    """
    task = portal.answers.task(task_id, returned=True)
    return task if task and task.worker_id == worker else own_task(task_id, worker, portal)


Own = Annotated[Task, Depends(own_task)]
Begun = Annotated[Task, Depends(own_begun)]
Versions = Annotated[int, Query(ge=0, le=10**9)]


@routes.get("/task")
def _next_page(worker: Worker, portal: ThePortal) -> Response:
    task = portal.answers.assign(worker)
    return HTMLResponse(_done(portal, worker) if task is None else _page(portal, task))


@routes.get("/task/{task_id}")
def _task_page(task: Own, portal: ThePortal) -> Response:
    portal.answers.seen(task.id)
    return HTMLResponse(_page(portal, task))


@routes.get("/answered")
def _answered_page(worker: Worker, portal: ThePortal) -> Response:
    answered = portal.answers.answered(worker)
    row = Markup(
        '<tr><td><a href="/task/{}">{}</a></td><td><time datetime="{}">{}</time></td>'
        "<td>{}</td><td>{}</td></tr>\n"
    )
    rows = [
        row.format(
            a.task_id,
            len(answered) - i,
            _time(a.answered_at),
            _time(a.answered_at).replace("T", " ").replace("Z", " UTC"),
            a.source,
            ", ".join(
                ["skipped"] * a.skipped + [f"corrected {a.versions - 1}×"] * (a.versions > 1)
            ),
        )
        for i, a in enumerate(answered)
    ]
    note = "The job is closed: answers can be looked at, and no longer be corrected."
    return HTMLResponse(
        page.own(
            "answered.html",
            job=portal.job.name,
            nav=rooms.nav(portal.member(worker), "/answered"),
            note=note if portal.answers.closed else "Open one to look at it or correct it.",
            rows=Markup("").join(rows),
        )
    )


@routes.get("/api/task")
def _next_task(worker: Worker, portal: ThePortal) -> Response:
    """Give the next task as JSON, for readers that are programs."""
    task = portal.answers.assign(worker)
    return JSONResponse({"note": NOTE, "csrf": portal.csrf(worker), "task": offer(portal, task)})


@routes.get("/api/ahead")
def _ahead(worker: Worker, portal: ThePortal) -> Response:
    """Reserve the image after the open one, so that the page can fetch it."""
    return JSONResponse({"task": offer(portal, portal.answers.ahead(worker))})


@routes.get("/api/tasks/{task_id}")
def _task(task: Own, portal: ThePortal) -> Response:
    """Offer a task again: with fresh links, or to correct its answer."""
    if task.answered:
        portal.answers.seen(task.id)
    return JSONResponse({"task": offer(portal, task)})


@routes.get("/api/answered")
def _answered(worker: Worker, portal: ThePortal) -> dict[str, Any]:
    return {
        "answered": [
            {
                "id": a.task_id,
                "itemId": a.source,
                "answeredAt": _time(a.answered_at),
                "versions": a.versions,
                "skipped": a.skipped,
            }
            for a in portal.answers.answered(worker)
        ]
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
async def _answer(
    request: Request,
    worker: Worker,
    task: Begun,
    portal: ThePortal,
    versions: Annotated[int | None, Query(ge=0, le=10**9)] = None,
) -> Response:
    """Keep an answer; `versions` are those that its page knew, None where it does not say."""
    context.check_csrf(request, portal, worker)
    content, said = forms.checked(await context.body(request), task.data_object)

    def keep() -> Response:
        new = _kept(lambda: portal.answers.submit(task.id, content, skipped=said.skipped))
        now = portal.answers.latest(task.id)
        unseen = new and versions is not None and now is not None and now.versions > versions + 1
        following = offer(portal, portal.answers.assign(worker))
        answered, total = portal.answers.position(worker)
        return JSONResponse(
            {
                "next": "/task",
                "task": following,
                "answered": answered,
                "total": total,
                # of an answer from another window, which this page had not seen
                "corrected": bool(unseen),
            }
        )

    # SQLite waits for the disk: the event loop, which serves images, must not
    return await run_in_threadpool(keep)


@routes.put("/tasks/{task_id}/draft")
async def _draft(
    request: Request, worker: Worker, task: Begun, portal: ThePortal, versions: Versions = 0
) -> Response:
    """Keep a draft; `versions` are those of its offer, 0 for an image not answered yet."""
    context.check_csrf(request, portal, worker)
    content = _state(await context.body(request))
    await run_in_threadpool(_kept, lambda: portal.answers.save_draft(task.id, content, versions))
    return Response(status_code=204)


def offer(portal: Portal, task: Task | None) -> dict[str, Any] | None:
    """Give what the page needs to show a task, or None where there is none."""
    if task is None:
        return None
    answers = portal.answers
    draft = answers.draft(task.id)
    said = answers.latest(task.id) if task.answered else None
    answered, total = answers.position(task.worker_id)
    number, previous, following = answers.place(task.id)
    versions = 0 if said is None else said.versions
    return {
        "id": task.id,
        "input": portal.task_input(task.data_object),
        "submitUrl": f"/tasks/{task.id}/answer?versions={versions}",
        "draftUrl": f"/tasks/{task.id}/draft",
        "draft": None if draft is None else json.loads(draft),
        "answer": None if said is None else forms.document(said.content),
        "versions": versions,
        "position": {"answered": answered, "total": total},
        "previous": previous,
        "next": following,
        "number": number,
        "rooms": rooms.listed(portal.member(task.worker_id)),
    }


def _page(portal: Portal, task: Task) -> str:
    offered = offer(portal, task) or {}
    task_input = offered.pop("input")
    what = f"image {offered['number']}{' · answered' if task.answered else ''}"
    return page.document(
        page.render(task_input),
        title=f"{portal.job.name} · {what}",
        submit_url=offered["submitUrl"],
        csrf=portal.csrf(task.worker_id),
        offer=offered,
    )


def _done(portal: Portal, worker: str) -> str:
    done, total = portal.answers.counts()
    text = f"You answered {portal.answers.answered_by(worker)} images of job {portal.job.name}."
    link = ("/answered", "Your answers")
    if portal.answers.closed:
        title = "This job is closed"
    elif done < total:
        title, text = "Nothing left for you", f"{text} {total - done} wait for other readers."
        link = ("/task", "Look again")
    else:
        title, text = "All images are labelled", f"{text} You can close this window."
    return rooms.message(portal, portal.member(worker), title, text, here="/task", link=link)


def _kept(keep: Callable[[], T]) -> T:
    """Keep an answer or a draft.

    Raises:
        HTTPException: 423 where the job is closed, 409 where it comes late, 410 where the task
            went back.
    """
    try:
        return keep()
    except ClosedError as error:
        raise HTTPException(423, str(error)) from error
    except StaleError as error:
        raise HTTPException(409, str(error)) from error
    except JobError as error:
        raise HTTPException(410, str(error)) from error


def _state(body: bytes) -> str:
    """Give a draft as it is kept, if it can be given back."""
    try:
        state = json.loads(body)
        # what JSON cannot say: NaN, infinity, half a character
        text = json.dumps(state, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, "expected JSON") from error
    if not isinstance(state, dict):
        raise HTTPException(422, f"expected a JSON object, met {text[:40]}")
    level: list[Any] = [state]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return text
    raise HTTPException(422, f"expected at most {_DEEPEST} levels")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
