"""Name and passphrase, on pages that need no script.

A form is taken from our own pages alone: browsers say where a request began (Sec-Fetch-Site), older
ones name the page's origin. Whoever guesses waits longer and longer, by name and by address.
"""

import ipaddress
import math
import re
from collections.abc import Mapping

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from cxr.errors import AccessError
from cxr.labeling import Reader, page
from cxr.labeling.accounts import SHORTEST
from cxr.labeling.portal import access, context, guard, rooms
from cxr.labeling.portal.access import SignedIn
from cxr.labeling.portal.context import Portal, ThePortal

PATHS = ("/sign-in", "/sign-out", "/passphrase")
_NEXT = re.compile(r"/(task|answered|adjudicate|job|passphrase)(/[A-Za-z0-9_-]{1,100})?")
routes = APIRouter()


def sign_in_page(
    portal: Portal, *, to: str = "", name: str = "", wrong: str = "", status: int = 200
) -> Response:
    """Make the page that asks for name and passphrase.

    Args:
        portal: Of which job.
        to: The path to go on to; others than the portal's pages are dropped.
        name: As typed before.
        wrong: What was wrong with that.
        status: Of the answer.
    """
    text = page.own(
        "sign-in.html",
        job=portal.job.name,
        to=to if _NEXT.fullmatch(to) else "",
        name=name,
        wrong=_alert(wrong),
    )
    return _form_page(text, status)


@routes.get("/sign-in")
def _ask(portal: ThePortal) -> Response:
    return sign_in_page(portal)


@routes.post("/sign-in")
async def _sign_in(request: Request, portal: ThePortal) -> Response:
    _check_origin(request, portal)
    if access.asserted(request):
        raise HTTPException(403, "the proxy signs you in, not this page")
    form = await context.form(request)
    name, to = form.get("name", ""), form.get("next", "")
    reader = portal.named(name)
    wait_s = await _try(request, portal, reader, name, form.get("passphrase", ""))
    if wait_s:
        seconds = math.ceil(wait_s)
        wrong = f"Too many attempts. Wait {seconds} s, or open your personal link."
        response = sign_in_page(portal, to=to, name=name, wrong=wrong, status=429)
        response.headers["Retry-After"] = str(seconds)
        return response
    if wait_s is None or reader is None:
        wrong = "Name or passphrase is wrong."
        return sign_in_page(portal, to=to, name=name, wrong=wrong, status=401)
    to = to if _NEXT.fullmatch(to) else ""
    return await run_in_threadpool(access.signed_in, portal, reader, by="passphrase", to=to)


@routes.post("/sign-out")
async def _sign_out(request: Request, portal: ThePortal) -> Response:
    _check_origin(request, portal)
    try:
        session = await run_in_threadpool(access.session_of, request)
    except HTTPException:
        session = None  # out already
    if session:
        await run_in_threadpool(portal.accounts.end, session.token, expires=session.expires)
    response = RedirectResponse("/sign-in", 303)
    access.set_session(response, portal, "")
    return response


@routes.get("/passphrase")
def _ask_passphrase(request: Request, reader: SignedIn, portal: ThePortal) -> Response:
    if access.asserted(request):
        text = f"You are {reader.name or reader.id}. Where you signed in, you also sign out."
        return HTMLResponse(rooms.message(portal, reader, "Signed in by the proxy", text))
    return _passphrase_page(request, portal, reader)


@routes.post("/passphrase")
async def _set_passphrase(request: Request, portal: ThePortal) -> Response:
    _check_origin(request, portal)
    reader = await run_in_threadpool(access.reader_of, request)
    form = await context.form(request)
    wrong, status = await _changed(request, portal, reader, form)
    if wrong:
        return await run_in_threadpool(
            _passphrase_page, request, portal, reader, wrong=wrong, status=status
        )
    text = "Your passphrase is set. Links and sessions from before it open nothing any more."
    response = HTMLResponse(page.message("Done", text, link=(access.home(reader), "Go on")))
    token = await run_in_threadpool(portal.begin_session, reader, "passphrase")
    access.set_session(response, portal, token)
    return response


async def _changed(
    request: Request, portal: Portal, reader: Reader, form: Mapping[str, str]
) -> tuple[str, int]:
    """Set a passphrase, or say what was wrong."""
    if access.asserted(request):
        raise HTTPException(403, "the proxy signs you in; there is no passphrase here")
    if not context.is_csrf(portal, reader.id, form.get("csrf", "")):
        return "Send the form again; the portal was started anew meanwhile.", 403
    new = form.get("passphrase", "")
    if new != form.get("again", ""):
        return "The two passphrases differ.", 422
    if await run_in_threadpool(_asks_current, request, portal, reader):
        wait_s = await _try(request, portal, reader, reader.id, form.get("current", ""))
        if wait_s:
            return f"Too many attempts. Wait {math.ceil(wait_s)} s.", 429
        if wait_s is None:
            return "The current passphrase is wrong.", 403
    try:
        async with portal.hashing:
            await run_in_threadpool(portal.accounts.set_passphrase, reader.id, new)
    except AccessError as error:
        return f"{error}.".capitalize(), 422
    await run_in_threadpool(portal.answers.record, "passphrase-set", reader.id)
    return "", 200


def _asks_current(request: Request, portal: Portal, reader: Reader) -> bool:
    """Say whether the current passphrase is asked for: a personal link alone may replace it."""
    session = access.session_of(request)
    by_link = session is not None and session.by == "link"
    return portal.accounts.has_passphrase(reader.id) and not by_link


async def _try(
    request: Request, portal: Portal, reader: Reader | None, name: str, passphrase: str
) -> float | None:
    """Check a passphrase: 0 where it is right, None where not, else how many seconds to wait."""
    # one key for each way to write a reader's name, else each way had its own free attempts
    by_name = reader.id if reader else name.strip().casefold()[:200]
    by_address = _place(guard.peer_of(request.scope).address)
    wait_s = portal.by_address.begin(by_address)
    if wait_s:
        return wait_s
    wait_s = portal.by_name.begin(by_name)
    if wait_s:
        portal.by_address.take_back(by_address)
        return wait_s
    async with portal.hashing:
        identifier = reader.id if reader else None
        right = await run_in_threadpool(portal.accounts.verify, identifier, passphrase)
    if not right:
        return None
    portal.by_name.forgive(by_name)
    portal.by_address.take_back(by_address)
    return 0.0


def _place(address: str) -> str:
    """Give what counts as one address: of IPv6, the network that one household gets."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed.packed, 64), strict=False))
    return str(parsed)


def _check_origin(request: Request, portal: Portal) -> None:
    """Refuse a form that another site's page sent.

    Raises:
        HTTPException: 403.
    """
    site = request.headers.get("sec-fetch-site")
    # our pages send no referrer, and then browsers say Origin: null even to ourselves
    own = site == "same-origin" if site else request.headers.get("origin") == portal.url
    if not own:
        raise HTTPException(403, f"this form was not sent by a page of {portal.url}")


def _passphrase_page(
    request: Request, portal: Portal, reader: Reader, *, wrong: str = "", status: int = 200
) -> Response:
    current = Markup(
        '<label for="current">Current passphrase</label>\n<input id="current" name="current" '
        'type="password" autocomplete="current-password" required maxlength="1024">'
    )
    text = page.own(
        "passphrase.html",
        job=portal.job.name,
        name=reader.name or reader.id,
        id=reader.id,
        shortest=str(SHORTEST),
        current=current if _asks_current(request, portal, reader) else "",
        csrf=portal.csrf(reader.id),
        wrong=_alert(wrong),
        nav=rooms.nav(reader, "/passphrase"),
    )
    return _form_page(text, status)


def _form_page(text: str, status: int) -> Response:
    return HTMLResponse(text, status, {"Content-Security-Policy": guard.CSP_FORM})


def _alert(wrong: str) -> str:
    return Markup('<p class="wrong" role="alert">{}</p>').format(wrong) if wrong else ""
