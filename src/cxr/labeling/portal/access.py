"""Who you are: personal links, the session's cookie, and the page that says how to sign in."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cxr.contract.signing import Keys
from cxr.errors import TokenError
from cxr.labeling import Job, page
from cxr.labeling.portal import context
from cxr.labeling.portal.context import Portal, ThePortal

routes = APIRouter()


def link(job: Job, keys: Keys, url: str, reader_id: str) -> str:
    """Give a reader's personal link, good for 30 days."""
    return f"{url}/enter?token={context.token(job, keys, reader_id)}"


def worker_of(request: Request) -> str:
    """Give the ID of the reader who asks.

    Raises:
        HTTPException: 401 where nobody is signed in.
    """
    portal = context.the_portal(request)
    try:
        return portal.reader(request.cookies.get(portal.cookie, ""))
    except TokenError as error:
        raise HTTPException(401, "open your personal link to sign in") from error


Worker = Annotated[str, Depends(worker_of)]


@routes.get("/")
def _home(request: Request, portal: ThePortal) -> Response:
    if len(portal.job.readers) == 1 and not request.cookies.get(portal.cookie):
        return signed_in(portal, portal.job.readers[0].id)
    return RedirectResponse("/task", 303)


@routes.get("/enter")
def _enter(portal: ThePortal, token: str = "") -> Response:
    try:
        return signed_in(portal, portal.reader(token))
    except TokenError as error:
        return HTMLResponse(page.message("This link does not open", f"{error}."), 401)


def signed_in(portal: Portal, worker: str) -> Response:
    """Send a reader to her next image, with a session's cookie."""
    response = RedirectResponse("/task", 303)
    token = context.token(portal.job, portal.keys, worker)
    response.set_cookie(
        # lax, or a link opened from webmail would not arrive signed in; answers need X-CSRF
        portal.cookie,
        token,
        max_age=context.LINK_TTL_S,
        httponly=True,
        samesite="lax",
        path="/",
    )
    return response
