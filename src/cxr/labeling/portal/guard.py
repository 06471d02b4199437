"""What every request passes before any route: from where it came, for which host, by which proxy.

Nothing that a client says of itself is believed, except by a listed proxy: who asks, from which
address, over https. A proxy that is not listed is refused rather than ignored, for ignoring it
would look like a sign-in that never works.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxr import places

_COMMON = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'{images}; worker-src blob:; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types cxr-decoder; "
)
CSP = _COMMON + "form-action 'none'"
"""Where images come from another server than the portal, its origin stands at {images}."""
CSP_FORM = _COMMON.format(images="") + "form-action 'self'"
"""For pages whose forms are sent without a script."""
_ALWAYS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), "
        "midi=(), display-capture=()"
    ),
}
_HSTS = f"max-age={365 * 86_400}"
_PEER = "cxr.peer"


@dataclass(frozen=True)
class Entrance:
    """How the portal is reached.

    Attributes:
        url: What readers open, without a trailing slash.
        listens: Where it listens itself; another address behind a proxy.
        proxies: Addresses and networks of the proxies before it.
        user_header: In which header they say who asks, in lower case; empty: they do not.
        images: The origin of the gateway that images come from; empty: the portal itself.
    """

    url: str
    listens: str
    proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()
    user_header: str = ""
    images: str = ""

    @property
    def secure(self) -> bool:
        """Whether readers come over https."""
        return self.url.startswith("https://")

    @property
    def private(self) -> bool:
        """Whether nobody but this machine comes here."""
        hosts = (urlsplit(address).hostname or "" for address in (self.url, self.listens))
        return not self.proxies and all(places.is_loopback(host) for host in hosts)

    @property
    def host(self) -> str:
        """What a browser sends as Host."""
        return _host(self.url)

    def listed(self, address: str) -> bool:
        """Say whether an address is one of the proxies'."""
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self.proxies)


def entrance(
    url: str, listens: str = "", addresses: Sequence[str] = (), user_header: str | None = None
) -> Entrance:
    """Say how a portal is reached, as the config has it.

    Args:
        url: What readers open.
        listens: Where the portal listens; empty is the same.
        addresses: Proxies, as IP addresses or networks.
        user_header: In which header they say who asks.
    """
    proxies = tuple(ipaddress.ip_network(address) for address in addresses)
    shown = f"{url.casefold().partition('://')[0]}://{_host(url.rstrip('/'))}"
    return Entrance(shown, listens or shown, proxies, (user_header or "").casefold())


@dataclass(frozen=True)
class Peer:
    """From where a request came.

    Attributes:
        address: The client's, as the proxy has it where one is listed.
        by_proxy: Whether a listed proxy handed it on.
        user: Whom that proxy names; empty where it names nobody.
    """

    address: str = ""
    by_proxy: bool = False
    user: str = field(default="", repr=False)


def peer_of(scope: Scope) -> Peer:
    """Give from where a request came that passed the guard."""
    found: Peer = scope.get(_PEER) or Peer()
    return found


class Guard:
    """An ASGI application before the portal's: refuses what came the wrong way, signs answers."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        """Stand before an application."""
        self._app, self._entrance = app, entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sign(message: Message) -> None:
            if message["type"] == "http.response.start":
                harden(MutableHeaders(scope=message), self._entrance)
            await send(message)

        headers = Headers(scope=scope)
        met = (scope.get("client") or ("",))[0]
        by_proxy = self._entrance.listed(met)
        refusal = self._refusal(scope, headers, by_proxy)
        if refusal is not None:
            status, reason = refusal
            await JSONResponse({"error": reason}, status)(scope, receive, sign)
            return
        passed = {**scope, _PEER: self._peer(headers, met, by_proxy)}
        if self._entrance.secure:
            passed["scheme"] = "https"
        if by_proxy:  # it may have put its own name for us there
            kept = [pair for pair in scope["headers"] if pair[0] != b"host"]
            passed["headers"] = [*kept, (b"host", self._entrance.host.encode())]
        await self._app(passed, receive, sign)

    def _refusal(self, scope: Scope, headers: Headers, by_proxy: bool) -> tuple[int, str] | None:
        here = self._entrance
        users = headers.getlist(here.user_header) if here.user_header else []
        if users and not by_proxy:
            return 403, f"only the proxy may say who asks; {here.url} leads there"
        if here.proxies and not by_proxy and scope["scheme"] != "https":
            return 403, f"open {here.url}"
        # a page elsewhere may point its own name at 127.0.0.1 (DNS rebinding)
        hosts = headers.getlist("host")
        ours = {here.host, _host(here.listens)} if by_proxy else {here.host}
        if len(hosts) != 1 or _host(f"{scope['scheme']}://{hosts[0]}", here.secure) not in ours:
            return 400, "unknown host"
        if by_proxy:
            outside = headers.get("x-forwarded-host")
            if outside is not None and _host(f"https://{outside}") != here.host:
                return 400, "unknown host"
            if headers.get("x-forwarded-proto", "https").casefold() != "https":
                return 403, f"open {here.url}"
            if len(users) > 1:
                return 400, "expected one user from the proxy, met several"
        return None

    def _peer(self, headers: Headers, met: str, by_proxy: bool) -> Peer:
        if not by_proxy:
            return Peer(met)
        address = met
        # the last one before our own proxies; whatever stands further left, a client may invent
        for hop in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
            if _parsed(hop.strip()) is None:
                break
            address = hop.strip()
            if not self._entrance.listed(address):
                break
        given = headers.get(self._entrance.user_header, "") if self._entrance.user_header else ""
        return Peer(address, True, _text(given))


def harden(headers: MutableHeaders, entrance: Entrance) -> None:
    """Add the headers that every answer carries; a route may have set a policy of its own."""
    headers.update(_ALWAYS)
    images = f" {entrance.images}" if entrance.images else ""
    headers.setdefault("Content-Security-Policy", CSP.format(images=images))
    headers.setdefault("Cache-Control", "no-store")
    if entrance.secure:
        headers["Strict-Transport-Security"] = _HSTS


def _host(url: str, secure: bool = False) -> str:
    """Give host and port of a URL as browsers send them: lower case, no default port."""
    scheme, _, netloc = url.casefold().partition("://")
    default = ":443" if secure or scheme == "https" else ":80"
    return netloc.removesuffix(default)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (parsed.version == 6 and parsed.ipv4_mapped) or parsed


def _text(header: str) -> str:
    try:
        return header.encode("latin-1").decode().strip()  # Starlette reads headers as Latin-1
    except UnicodeDecodeError:
        return ""
