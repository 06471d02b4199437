"""What nginx asks before it lets a request through to a real PACS, where it has no njs.

An `auth_request` server: it never sees an image and never speaks to the PACS. It answers 204 with
the request as the PACS may see it, 401 or 403; nginx takes everything else, silence too, for no.
`templates/nginx/signed.js` is its twin inside nginx; what they have in common is in one table of
the tests. Methods and what no path holds (`%`, `..`, `//`) nginx refuses before it asks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cxr.contract import signing
from cxr.errors import TokenError
from cxr.pacs import gate

TARGET = "X-Original-URI"
AUTHORIZATION = "X-Original-Authorization"
_UID = r"[0-9]+(?:\.[0-9]+)*"
_SHAPES = re.compile(
    r"/instances/[0-9a-f]{8}(?:-[0-9a-f]{8}){4}"
    r"/(?:file|preview|rendered|simplified-tags|frames/[0-9]+/(?:raw|preview|rendered))"
    rf"|/dicom-web/studies/{_UID}(?:/metadata|/series/{_UID}(?:/metadata|/instances/{_UID}"
    r"(?:/metadata|/rendered|/frames/[0-9]+(?:/rendered)?)?)?)?"
    r"|/wado"
)
_PARAMETERS = (
    "requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax",
    "frameNumber", "rows", "columns", "windowCenter", "windowWidth", "viewport", "window",
    "quality", "width", "height",
)  # fmt: skip
_VALUE = re.compile(r"[A-Za-z0-9.,/+*_;=-]{0,256}")


@dataclass(frozen=True)
class Passed:
    """A request that may pass.

    Attributes:
        target: Path and query as the PACS may see them: no token, no parameter it need not know.
        subject: Whose token it was, for the log; of letters, digits and `@._-`.
    """

    target: str
    subject: str


def judge(
    keys: signing.Keys, target: str, authorizations: Sequence[str] = (), *, now: float | None = None
) -> Passed | None:
    """Say what of a GET request passes; None: the token is good, but not for this.

    Args:
        keys: Verify tokens.
        target: Path and query, raw, as the request line has them.
        authorizations: Every Authorization header there is.
        now: Seconds since 1970, instead of the clock's.

    Raises:
        TokenError: There is not exactly one token, or it is not valid.
    """
    path, _, query = target.partition("?")
    pairs = gate.read_query(query)
    claims = signing.verify(keys, gate.one_token(pairs, authorizations), now=now)
    if not _SHAPES.fullmatch(path):
        return None
    if not any(signing.opens(claims, need) for need in gate.needs(path, pairs)):
        return None
    kept = []
    for name in _PARAMETERS:
        values = [value for given, value in pairs if given == name]
        if len(values) > 1 or not all(_VALUE.fullmatch(value) for value in values):
            return None
        kept += [f"{name}={value}" for value in values]
    subject = claims.get("sub")
    shown = re.sub(r"[^A-Za-z0-9@._-]", "", subject)[:64] if isinstance(subject, str) else "-"
    return Passed(path + ("?" + "&".join(kept) if kept else ""), shown)


def app(keys: signing.Keys) -> ASGIApp:
    """Make the ASGI application that nginx asks."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _answer(keys, Headers(scope=scope))(scope, receive, send)

    return application


def _answer(keys: signing.Keys, headers: Headers) -> Response:
    try:
        passed = judge(keys, headers.get(TARGET, ""), headers.getlist(AUTHORIZATION))
    except TokenError:
        return Response(status_code=401)
    if passed is None:
        return Response(status_code=403)
    found = {"X-Pacs-Uri": passed.target, "X-Pacs-Subject": passed.subject}
    return Response(status_code=204, headers=found)
