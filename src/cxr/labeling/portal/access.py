"""Who you are: sessions, personal links, a proxy's word, and what each role may open.

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
from cxr.labeling.portal import context, guard
from cxr.labeling.portal.context import Portal, Session, ThePortal

_HOME = {READER: "/task", ADJUDICATOR: "/adjudicate", LEAD: "/job"}
routes = APIRouter()


def link(job: Job, keys: Keys, url: str, reader_id: str) -> str:
    """Give a reader's personal link, good for 30 days or until she sets a passphrase."""
    return f"{url}/enter?token={context.token(job, keys, reader_id)}"


def session_of(request: Request) -> Session | None:
    """Give the session of who asks; None where none is needed, since a proxy or nobody knows her.

    Raises:
        HTTPException: 401 where nobody is signed in.
    """
    portal = context.the_portal(request)
    if asserted(request) or portal.open:
        return None
    try:
        return portal.session(request.cookies.get(portal.cookie, ""))
    except TokenError as error:
        raise HTTPException(401, "open your personal link to sign in") from error


def reader_of(request: Request) -> Reader:
    """Say who asks, whatever her roles.

    Raises:
        HTTPException: 401 where nobody is signed in, 403 where the proxy names nobody of the job.
    """
    portal = context.the_portal(request)
    if asserted(request):
        return _whom_the_proxy_names(request, portal)
    session = session_of(request)
    return session.reader if session else portal.job.readers[0]


def asserted(request: Request) -> bool:
    """Say whether a proxy alone says who asks, whatever cookie there is."""
    portal = context.the_portal(request)
    return bool(portal.entrance.user_header) and guard.peer_of(request.scope).by_proxy


def _whom_the_proxy_names(request: Request, portal: Portal) -> Reader:
    user = guard.peer_of(request.scope).user
    if not user:
        raise HTTPException(401, "the proxy named nobody; sign in there")
    reader = portal.named(user)
    if reader is None:
        raise HTTPException(403, "you are not one of this job's team; ask who leads it")
    return reader


def require(role: str) -> Callable[[Request], Reader]:
    """Make a dependency that gives who asks, if she has a role.

    The dependency raises 401 where nobody is signed in and 403 where the role is another's.
    """

    def guarded(request: Request) -> Reader:
        reader = reader_of(request)
        if role not in reader.roles:
            raise HTTPException(403, f"this is for a {role} of the job")
        return reader

    return guarded


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
    title = {403: "Not yours to open", 404: "Nothing here"}.get(status, "This does not open")
    return HTMLResponse(page.message(title, f"{reason}."), status)


def home(reader: Reader) -> str:
    """Give the page where a reader begins."""
    return next((path for role, path in _HOME.items() if role in reader.roles), "/task")


@routes.get("/")
def _home(reader: SignedIn) -> Response:
    return RedirectResponse(home(reader), 303)


@routes.get("/api/csrf")
def _csrf(reader: SignedIn, portal: ThePortal) -> dict[str, str]:
    """Give what a page sends with a change: anew where the portal was started again."""
    return {"csrf": portal.csrf(reader.id)}


@routes.get("/enter")
def _enter(request: Request, portal: ThePortal, token: str = "") -> Response:
    if asserted(request):  # then a link is only the portal's address
        return RedirectResponse("/", 303)
    try:
        return signed_in(portal, portal.reader(token), by="link")
    except TokenError as error:
        link = ("/sign-in", "Sign in")
        return HTMLResponse(page.message("This link does not open", f"{error}.", link=link), 401)


def signed_in(portal: Portal, reader: Reader, *, by: str, to: str = "") -> Response:
    """Send a reader on with a session's cookie, by default to where she begins."""
    response = RedirectResponse(to or home(reader), 303)
    portal.answers.record("signed-in", reader.id, by=by)
    set_session(response, portal, portal.begin_session(reader, by))
    return response


def set_session(response: Response, portal: Portal, token: str) -> None:
    """Give a browser a session's cookie; an empty token takes it away."""
    response.set_cookie(
        portal.cookie,
        token,
        max_age=context.SESSION_TTL_S if token else 0,
        path="/",
        httponly=True,
        secure=portal.entrance.secure,
        # lax, or a link opened from webmail would not arrive signed in; changes need X-CSRF
        samesite="lax",
    )
