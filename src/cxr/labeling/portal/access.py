"""Who you are: personal links, the session's cookie, and what each role may open.

Routes name whom they are for by the type of a parameter: `Worker`, `Adjudicator`, `Lead`, or
`SignedIn` for anybody of the job. What is refused to a browser's navigation becomes a page.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cxr.contract.signing import Keys
from cxr.errors import TokenError
from cxr.labeling import ADJUDICATOR, LEAD, READER, Job, Reader, page
from cxr.labeling.portal import context
from cxr.labeling.portal.context import Portal, ThePortal

_HOME = {READER: "/task", ADJUDICATOR: "/adjudicate", LEAD: "/job"}
routes = APIRouter()


def link(job: Job, keys: Keys, url: str, reader_id: str) -> str:
    """Give a reader's personal link, good for 30 days."""
    return f"{url}/enter?token={context.token(job, keys, reader_id)}"


def reader_of(request: Request) -> Reader:
    """Say who asks, whatever her roles.

    Raises:
        HTTPException: 401 where nobody is signed in.
    """
    portal = context.the_portal(request)
    given = request.cookies.get(portal.cookie, "")
    if not given and portal.open:
        return portal.job.readers[0]
    try:
        return portal.reader(given)
    except TokenError as error:
        raise HTTPException(401, "open your personal link to sign in") from error


def require(role: str) -> Callable[[Request], Reader]:
    """Make a dependency that gives who asks, if she has a role.

    The dependency raises 401 where nobody is signed in and 403 where the role is another's.
    """

    def guard(request: Request) -> Reader:
        reader = reader_of(request)
        if role not in reader.roles:
            raise HTTPException(403, f"this is for a {role} of the job")
        return reader

    return guard


def worker_of(request: Request) -> str:
    """Give the ID of the reader who asks, if she gets tasks.

    Raises:
        HTTPException: 401 where nobody is signed in, 403 where she only leads or adjudicates.
    """
    return require(READER)(request).id


SignedIn = Annotated[Reader, Depends(reader_of)]
Worker = Annotated[str, Depends(worker_of)]
Adjudicator = Annotated[Reader, Depends(require(ADJUDICATOR))]
Lead = Annotated[Reader, Depends(require(LEAD))]


def from_own_page(request: Request, reader: SignedIn) -> None:
    """Refuse a change that no page of this reader asked for, as a route's dependency.

    Raises:
        HTTPException: 403.
    """
    context.check_csrf(request, context.the_portal(request), reader.id)


def refusal_page(status: int, reason: str) -> Response:
    """Say to a person why a page does not open."""
    if status == 401:
        text = "Open the personal link that you were given."
        return HTMLResponse(page.message("Sign in first", text), 401)
    title = {403: "Not yours to open", 404: "Nothing here"}.get(status, "This does not open")
    return HTMLResponse(page.message(title, f"{reason}."), status)


@routes.get("/")
def _home(reader: SignedIn) -> Response:
    return RedirectResponse(home(reader), 303)


def home(reader: Reader) -> str:
    """Give the page where a reader begins."""
    return next((path for role, path in _HOME.items() if role in reader.roles), "/task")


@routes.get("/enter")
def _enter(portal: ThePortal, token: str = "") -> Response:
    try:
        return signed_in(portal, portal.reader(token))
    except TokenError as error:
        return HTMLResponse(page.message("This link does not open", f"{error}."), 401)


def signed_in(portal: Portal, reader: Reader) -> Response:
    """Send a reader to where she begins, with a session's cookie."""
    response = RedirectResponse(home(reader), 303)
    token = context.token(portal.job, portal.keys, reader.id)
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
