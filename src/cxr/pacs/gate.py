"""The gate before the server: who may pass, from which pages, and what is never let out.

Fails closed: what is not plainly allowed is refused before anything looks at it. Paths are judged
raw, as they came over the wire, for a decoder between gate and server is where traversal begins.
"""

import json
import logging
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxr.contract import signing
from cxr.errors import TokenError

STORE = "store"
_METHODS = "GET, HEAD, OPTIONS, POST"
_ALWAYS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Origin",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, Range",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Content-Length, Content-Range, Content-Type, WWW-Authenticate, Warning"


class Gate:
    """An ASGI application that lets through what a token opens.

    Args:
        app: The server behind it; sees neither the token nor a method other than GET, HEAD, POST.
        keys: Verify tokens.
        allowed_origins: Pages whose scripts may read answers, as scheme://host:port, exactly.
            The word `null` (a sandboxed frame) counts only if it is listed.
    """

    def __init__(self, app: ASGIApp, keys: signing.Keys, allowed_origins: Sequence[str]) -> None:
        self._app, self._keys, self._origins = app, keys, frozenset(allowed_origins)
        _keep_secrets_out_of_the_access_log()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")

        async def sign(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                if origin in self._origins:
                    headers["Access-Control-Allow-Origin"] = str(origin)
                    headers["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, sign)
            return
        pairs = read_query(scope["query_string"].decode("latin-1"))
        query = urlencode([pair for pair in pairs if pair[0] != "token"])
        await self._app({**scope, "query_string": query.encode()}, receive, sign)

    def _refusal(self, scope: Scope) -> Response | None:
        raw = scope.get("raw_path") or scope["path"].encode()
        if scope["method"] not in _METHODS.split(", "):
            return error(405, f"{scope['method']} is not allowed", {"Allow": _METHODS})
        if b"%" in raw or b"//" in raw or b".." in raw or b"\\" in raw or not raw.isascii():
            return error(400, "the path holds what no path of this server does")
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        try:
            pairs = read_query(scope["query_string"].decode("latin-1"))
            claims = signing.verify(
                self._keys, one_token(pairs, Headers(scope=scope).getlist("authorization"))
            )
        except TokenError as reason:
            return error(401, str(reason), {"WWW-Authenticate": 'Bearer realm="pacs"'})
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        asked = [STORE] if scope["method"] == "POST" else needs(path, pairs)
        if any(signing.opens(claims, need) for need in asked):
            return None
        return error(403, "this token opens something else")


def error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Make an answer that says in JSON what was wrong."""
    body = json.dumps({"error": reason})
    return Response(body, status, headers, media_type="application/json")


def address(request: Request) -> str:
    """Give the URL below which the client sees this server, any prefix included."""
    # request.base_url leaves out the prefix of a mount (starlette 1.10)
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def read_query(text: str) -> list[tuple[str, str]]:
    """Take a query apart, in its order; `a` alone is `a=`."""
    return parse_qsl(text, keep_blank_values=True)


def one_token(pairs: Sequence[tuple[str, str]], authorizations: Sequence[str]) -> str:
    """Find the one token of a request, in its query or as Bearer (RFC 6750).

    Args:
        pairs: From `read_query`.
        authorizations: Every Authorization header there is.

    Raises:
        TokenError: There is none, there are several, or another scheme.
    """
    found = [value for name, value in pairs if name == "token"]
    for value in authorizations:
        kind, _, token = value.partition(" ")
        if kind.casefold() != "bearer":
            raise TokenError("expected a Bearer token, met another scheme")
        found.append(token.strip())
    if len(found) != 1:
        raise TokenError(f"expected one token, met {len(found) or 'none'}")
    return found[0]


def needs(path: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """List the scopes any of which opens what is asked for."""
    found = [f"p:{path}"]
    parts = path.split("/")
    if len(parts) >= 4 and parts[1] == "instances":
        found.append(f"i:{parts[2]}")
    if path == "/wado":
        uids = [value for name, value in pairs if name == "objectUID"]
        found += [f"w:{uids[0]}"] if len(uids) == 1 else []
    return found


class _Nameless(logging.Filter):
    """Cut tokens and identifiers off uvicorn's access log: (client, method, path, ...)."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) > 2:
            client, method, path, *rest = record.args
            # UIDs, Orthanc IDs and escaped letters have digits, the words of our paths have none
            words = re.sub(r"[^/]*[0-9][^/]*", "…", str(path).partition("?")[0])
            record.args = (client, method, words, *rest)
        return True


def _keep_secrets_out_of_the_access_log() -> None:
    access = logging.getLogger("uvicorn.access")
    if not any(isinstance(existing, _Nameless) for existing in access.filters):
        access.addFilter(_Nameless())
