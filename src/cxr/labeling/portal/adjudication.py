"""Deciding where readers differ: their answers side by side, and whose they are unsaid.

A dispute is an image that has all its answers and on which these differ. The adjudicator gets the
worker page itself, from the same handler, with the readers' opinions beside it.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from cxr.contract import annotation, consolidate, labels
from cxr.contract.labels import LabelSet
from cxr.errors import ClosedError
from cxr.labeling import ADJUDICATOR, Reader, page
from cxr.labeling.decisions import Decision, settles
from cxr.labeling.portal import access, context, forms, rooms
from cxr.labeling.portal.access import Adjudicator
from cxr.labeling.portal.board import Dispute
from cxr.labeling.portal.context import Portal, ThePortal
from cxr.labeling.results import Answer

_MOST_DIGITS = 18
"""Of an ID; SQLite knows no longer numbers, and Python refuses to read very long ones."""
routes = APIRouter()
HERE = "/adjudicate"
_HOW = (
    "This job is consolidated by another rule, so nobody decides. To have an adjudicator decide "
    "where readers differ, set job.consolidation=adjudicated."
)


def object_of(object_id: str) -> int:
    """Read the ID of a data object in a path.

    Raises:
        HTTPException: 404 where it is none.
    """
    if len(object_id) > _MOST_DIGITS or not (object_id.isascii() and object_id.isdecimal()):
        raise HTTPException(404, "no such image in this job")
    return int(object_id)


ObjectId = Annotated[int, Depends(object_of)]


@routes.get(HERE)
def _next(adjudicator: Adjudicator, portal: ThePortal, label: str = "") -> Response:
    """Show the first dispute that waits for a decision, or say that none does."""
    if portal.job.consolidation != "adjudicated":
        return _message(portal, adjudicator, "Nothing to decide", _HOW)
    if portal.answers.closed:
        return _message(portal, adjudicator, "This job is closed", "Its decisions stand.")
    found = _disputes(portal, label)
    decided = portal.answers.decisions()
    in_turn = _in_turn(portal, adjudicator, found)
    chosen = next((d for d in in_turn if not _is_decided(d, decided, label)), None)
    if chosen is None:
        return _none_left(portal, adjudicator, found, label)
    return _shown(portal, adjudicator, chosen, found, label)


@routes.get(HERE + "/{object_id}")
def _one(
    object_id: ObjectId, adjudicator: Adjudicator, portal: ThePortal, label: str = ""
) -> Response:
    """Show one dispute, decided or not."""
    if portal.job.consolidation != "adjudicated" or portal.answers.closed:
        return RedirectResponse(HERE, 303)  # which says why
    found = _disputes(portal, label)
    return _shown(portal, adjudicator, _chosen(found, object_id), found, label)


@routes.get("/api/disputes/{object_id}")
def _offered(
    object_id: ObjectId, adjudicator: Adjudicator, portal: ThePortal, label: str = ""
) -> Response:
    """Offer a dispute as JSON: with fresh links, or for an adjudicator that is a program."""
    if portal.job.consolidation != "adjudicated":
        raise HTTPException(409, _HOW)
    if portal.answers.closed:
        raise HTTPException(423, "this job is closed; its decisions stand")
    found = _disputes(portal, label)
    chosen = _chosen(found, object_id)
    _note_seen(portal, adjudicator, chosen)
    offer = _offer(portal, adjudicator, chosen, found, label)
    return JSONResponse(
        {"csrf": portal.csrf(adjudicator.id), "task": offer | {"input": _input(portal, chosen)}}
    )


@routes.post("/disputes/{object_id}/decision", dependencies=[Depends(access.from_own_page)])
async def _decide(
    object_id: ObjectId,
    request: Request,
    adjudicator: Adjudicator,
    portal: ThePortal,
    label: str = "",
) -> Response:
    body = await context.body(request)
    # SQLite waits for the disk: the event loop, which serves images, must not
    return await run_in_threadpool(_decided, portal, adjudicator, object_id, body, label)


def _decided(
    portal: Portal, adjudicator: Reader, object_id: int, body: bytes, label: str
) -> Response:
    if portal.job.consolidation != "adjudicated":
        raise HTTPException(409, _HOW)
    if object_id >= portal.answers.counts()[1]:
        raise HTTPException(404, "no such image in this job")
    disputes = portal.board.told(fresh=True).disputes
    chosen = next((d for d in disputes if d.object_id == object_id), None)
    if chosen is None:
        raise HTTPException(409, "readers do not differ on this image; open the next one")
    ((_, line, _),) = portal.answers.results(object_id)
    content, _ = forms.checked(body, line)
    try:
        portal.answers.decide(object_id, adjudicator.id, content, chosen.labels)
    except ClosedError as error:
        raise HTTPException(423, str(error)) from error
    found = _disputes(portal, label)
    decided = portal.answers.decisions()
    return JSONResponse(
        {
            "next": HERE + _query(label),
            "task": None,
            "answered": sum(_is_decided(d, decided, label) for d in found),
            "total": len(found),
        }
    )


def _disputes(portal: Portal, label: str) -> list[Dispute]:
    if label and label not in portal.job.labels.names:
        raise HTTPException(404, "no such finding in this job")
    every = portal.board.told(fresh=True).disputes
    return [dispute for dispute in every if not label or label in dispute.labels]


def _is_decided(dispute: Dispute, decided: Mapping[int, Decision], label: str) -> bool:
    """Say whether nothing of a dispute, or of one finding in it, waits for an adjudicator."""
    return settles(decided.get(dispute.object_id), [label] if label else dispute.labels)


def _chosen(found: Sequence[Dispute], object_id: int) -> Dispute:
    chosen = next((d for d in found if d.object_id == object_id), None)
    if chosen is None:
        raise HTTPException(404, f"readers do not differ on image {object_id + 1}")
    return chosen


def _in_turn(portal: Portal, adjudicator: Reader, found: Sequence[Dispute]) -> list[Dispute]:
    """Order disputes as they come; where several adjudicate, each begins elsewhere."""
    team = [reader.id for reader in portal.job.having(ADJUDICATOR)]
    start = len(found) * team.index(adjudicator.id) // len(team)
    return [*found[start:], *found[:start]]


def _shown(
    portal: Portal, adjudicator: Reader, chosen: Dispute, found: Sequence[Dispute], label: str
) -> Response:
    """Render the worker page of one dispute."""
    _note_seen(portal, adjudicator, chosen)
    task_input = _input(portal, chosen)
    offer = _offer(portal, adjudicator, chosen, found, label)
    number, total = offer["dispute"]["number"], len(found)
    return HTMLResponse(
        page.document(
            page.render(task_input),
            title=f"{portal.job.name} · disagreement {number} of {total}",
            submit_url=offer["submitUrl"],
            csrf=portal.csrf(adjudicator.id),
            offer=offer,
        )
    )


def _note_seen(portal: Portal, adjudicator: Reader, chosen: Dispute) -> None:
    """Log who saw the readers' answers; from now on her own on this image stays as it is."""
    portal.answers.record("seen", adjudicator.id, chosen.source, dispute=chosen.object_id)


def _input(portal: Portal, chosen: Dispute) -> dict[str, Any]:
    """Give what the page reads: the task as any reader gets it, and what all of them said."""
    ((_, line, answers),) = portal.answers.results(chosen.object_id)
    label_set = labels.from_data_object(line)
    return portal.task_input(line) | {
        "opinions": opinions(portal, chosen.object_id, answers, label_set),
        "disputed": list(chosen.labels),
    }


def _offer(
    portal: Portal, adjudicator: Reader, chosen: Dispute, found: Sequence[Dispute], label: str
) -> dict[str, Any]:
    place = found.index(chosen)
    decided = portal.answers.decisions()
    newest = decided.get(chosen.object_id)
    count = sum(_is_decided(d, decided, label) for d in found)

    def url(k: int) -> str | None:
        within = 0 <= k < len(found)
        return f"{HERE}/{found[k].object_id}{_query(label)}" if within else None

    return {
        "id": str(chosen.object_id),
        "submitUrl": f"/disputes/{chosen.object_id}/decision{_query(label)}",
        "draftUrl": None,
        "draft": None,
        "answer": forms.document(newest.content) if newest else None,
        "versions": newest.versions if newest else 0,
        "position": {"answered": count, "total": len(found)},
        "previous": None,
        "next": None,
        "rooms": rooms.listed(adjudicator),
        "dispute": {
            "number": place + 1,
            "of": len(found),
            "decided": count,
            "label": label or None,
            "previousUrl": url(place - 1),
            "nextUrl": url(place + 1),
        },
    }


def opinions(
    portal: Portal, object_id: int, answers: Sequence[Answer], label_set: LabelSet
) -> list[dict[str, Any]]:
    """Give what the readers said of an image, as A, B, C and so on.

    Who is who differs from image to image, is the same each time, and cannot be told without the
    site's signing key. IDs of ROIs are replaced, since a page could write anything into them.

    Args:
        portal: Whose key blinds.
        object_id: The image's.
        answers: One per reader.
        label_set: What was asked.
    """
    key = next(iter(portal.keys.by_id.values()))

    def place(answer: Answer) -> bytes:
        text = f"{portal.job.name}|{object_id}|{answer.worker_id}"
        return hmac.new(key, text.encode(), "sha256").digest()

    return [
        _opinion(chr(ord("A") + i), consolidate.read_content(answer.content, label_set))
        for i, answer in enumerate(sorted(answers, key=place))
    ]


def _opinion(name: str, said: annotation.Annotation) -> dict[str, Any]:
    document = annotation.to_document(said)
    return {
        "name": name,
        "findings": document["findings"],
        "rois": [roi | {"id": f"{name}{k}"} for k, roi in enumerate(document["rois"], 1)],
        "comment": said.comment,
        "skipped": said.skipped,
        "reason": said.reason,
    }


def _none_left(
    portal: Portal, adjudicator: Reader, found: Sequence[Dispute], label: str
) -> Response:
    done, total = portal.answers.counts()
    about = f" on {label}" if label else ""
    waits = f" {total - done} of {total} images still wait for answers." if done < total else ""
    if not found:
        agree = f"Readers agree{about} on every image that has all its answers."
        text = (agree if done else "No image has all its answers yet.") + waits
        return _message(portal, adjudicator, "Nothing to decide", text, (HERE, "Look again"))
    many = len(found)
    text = f"You can go through them again until the job is closed.{waits}"
    title = f"All {many} disagreements{about} are decided" if many > 1 else "Decided"
    again = (f"{HERE}/{found[0].object_id}{_query(label)}", "Go through them again")
    return _message(portal, adjudicator, title, text, again)


def _message(
    portal: Portal, adjudicator: Reader, title: str, text: str, link: tuple[str, str] | None = None
) -> Response:
    return HTMLResponse(rooms.message(portal, adjudicator, title, text, here=HERE, link=link))


def _query(label: str) -> str:
    return f"?label={quote(label, safe='')}" if label else ""
