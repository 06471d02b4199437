"""One server over HTTP: time-outs on everything, and every way to fail said in one sentence.

A message names the server, the config key to change and what kind of resource was asked for;
never a query, an identifier or a credential, for messages end in logs.
"""

import json
import logging
import re
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from cxr import places
from cxr.errors import PacsError, UnavailableError
from cxr.pacs.patience import Adapter, timed_out

PIECE = 1 << 20
MAX_JSON = 1 << 28
"""Bytes of one answer that is kept in memory; pages and lists of IDs are far below it."""

_JSON = "application/dicom+json, application/json"
_MAX_SAID = 200
_FINE = (200, 201, 202, 204)


class RefusedError(PacsError):
    """The server answered, but not with what was asked for.

    Attributes:
        status: Of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Login:
    """How requests are authorised, and what to change where that is not enough."""

    auth: AuthBase | None
    advice: str


def variable(key: str, name: str) -> str:
    """Name the environment variable of a section, which is `pacs` or `from_pacs`.

    >>> variable("from_pacs", "TOKEN")
    'CXR_FROM_PACS_TOKEN'
    """
    return f"CXR_{key.upper()}_{name}"


def basic(user: str, secret: str, key: str) -> Login:
    """Log in by name and password."""
    names = f"{variable(key, 'USER')} and {variable(key, 'PASSWORD')}"
    # requests would encode text as Latin-1
    return Login(HTTPBasicAuth(user.encode(), secret.encode()), f"set {names}")


class Bearer(AuthBase):
    """Shows a token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add it to a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Web(requests.Session):
    """A session with one server; any number of threads may use it.

    Args:
        url: The base of every path.
        key: Of the config section, for messages.
        login: Goes to this server only: redirects are refused.
        ca: PEM of the authority behind its certificate; None trusts the system's.
        timeout_s: How long one answer may take; a stream must keep up a fair rate.
        threads: How many will ask at once.
        absent: What to do where nobody answers, as a sentence's end.
        hints: What a status most likely means, by what was asked, such as ("GET /studies", 404).

    Raises:
        PacsError: `ca` cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        login: Login,
        ca: str | None,
        timeout_s: float,
        threads: int,
        absent: str = "",
        hints: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        super().__init__()
        # it would tell each new attempt, with the path, on stderr
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self.url, self.key = url.rstrip("/"), key
        self._login, self._timeout_s = login, timeout_s
        self._absent, self._hints = absent, dict(hints or {})
        # neither ~/.netrc nor a proxy of the environment gets between us and this machine
        self.trust_env = False
        if not places.is_loopback(urlsplit(url).hostname or ""):
            self.proxies.update(get_environ_proxies(url))
        self.verify = _authority(ca, key)
        self.auth = login.auth
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # compressing images once more costs the server much and gains little
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": "cxr"})
        adapter = Adapter(timeout_s, connections=max(16, threads))
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def request(  # type: ignore[override]
        self, method: str, url: str, *, allowed: Collection[int] = (), **options: Any
    ) -> requests.Response:
        """Ask once, and again where that may help.

        Args:
            method: GET, POST or DELETE.
            url: Below the server's.
            allowed: Statuses beyond 2xx that the caller understands.
            options: Those of requests; time-out and redirects are not the caller's.

        Raises:
            PacsError: It cannot be reached, takes too long, or is not who it should be.
            RefusedError: Any other status.
        """
        options |= {"timeout": self._timeout_s, "allow_redirects": False}
        # dicomweb-client 0.61 names a host without its port
        options["headers"] = {
            k: v for k, v in (options.get("headers") or {}).items() if k != "Host"
        }
        if isinstance(body := options.get("data"), bytes):
            options["data"] = BytesIO(body)  # sent in blocks: a time-out holds for each
        asked = f"{method} {_shape(url.removeprefix(self.url))}"
        with self._explained(asked):
            response = super().request(method, url, **options)
        if response.status_code not in (*_FINE, *allowed):
            with response, self._explained(asked):
                raise self._refusal(asked, response)
        if "json" in options["headers"].get("Accept", "") and "html" in _kind(response):
            response.close()
            raise PacsError(
                f"{self.url} answered {asked} with a web page, expected JSON; "
                f"set {self.key}.url to the address below which its interface is"
            )
        return response

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Ask for JSON; an answer without content is None.

        Raises:
            PacsError: As for `request`, or the answer is no JSON.
        """
        headers = {"Accept": _JSON} | (options.pop("headers", None) or {})
        if "json" in options:
            options["data"] = json.dumps(options.pop("json")).encode()
            headers["Content-Type"] = "application/json"
        response = self.request(method, self.url + path, headers=headers, stream=True, **options)
        body = bytearray()
        for piece in self._read(response, f"{method} {_shape(path)}"):
            body += piece
            if len(body) > MAX_JSON:
                response.close()
                raise PacsError(f"{self.url} answered {method} {_shape(path)} without end")
        if not body:
            return None
        try:
            return json.loads(body)
        except ValueError as error:
            raise PacsError(
                f"{self.url} answered {method} {_shape(path)} with {_kind(response)!r}, expected "
                f"JSON; set {self.key}.url to the address below which its interface is"
            ) from error

    def pieces(self, path: str, **headers: str) -> tuple[requests.Response, Iterator[bytes]]:
        """Ask for a stream: what came first, and the body, whole or ending in `PacsError`.

        The body must be read to its end, or its iterator closed.
        """
        response = self.request("GET", self.url + path, headers=headers, stream=True)
        return response, self._read(response, f"GET {_shape(path)}")

    def _read(self, response: requests.Response, asked: str) -> Iterator[bytes]:
        with response, self._explained(asked):
            yield from response.iter_content(PIECE)

    @contextmanager
    def _explained(self, asked: str) -> Iterator[None]:
        """Say in one sentence why there is no answer."""
        try:
            yield
        except (requests.RequestException, HTTPError) as error:
            raise self._said(asked, list(_causes(error))) from error

    def _said(self, asked: str, causes: list[BaseException]) -> PacsError:
        if any(timed_out(cause) or isinstance(cause, requests.Timeout) for cause in causes):
            return UnavailableError(
                f"{self.url} did not answer {asked} within {self._timeout_s:g} s; "
                f"raise {self.key}.timeout_s if it needs longer"
            )
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return PacsError(
                    f"{self.url} is not trusted: {cause.verify_message}; "
                    f"set {self.key}.ca to the PEM of the authority behind its certificate"
                )
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return PacsError(f"{self.url} does not speak TLS as expected; check {self.key}.url")
        if any(isinstance(cause, requests.exceptions.ChunkedEncodingError) for cause in causes):
            return UnavailableError(
                f"{self.url} broke off its answer to {asked}; run the same again"
            )
        why = next((c.strerror for c in causes if isinstance(c, OSError) and c.strerror), "")
        return UnavailableError(
            f"{self.url} cannot be reached{f' ({why.lower()})' if why else ''}; is it running, and "
            f"{self.key}.url right?{f' {self._absent}' if self._absent else ''}"
        )

    def _refusal(self, asked: str, response: requests.Response) -> PacsError:
        status = response.status_code
        if status in (401, 403):
            said = f"{self.url} refused {asked}: {status}; {self._login.advice}"
            words = _words(next(response.iter_content(4096), b""), _kind(response))
            if "not valid yet" in words or "expired" in words:
                said += ": the token is expired or not valid yet, or this machine's clock is wrong"
        elif 300 <= status < 400:
            said = (
                f"{self.url} sends {asked} elsewhere ({status}), where credentials are not taken; "
                f"set {self.key}.url to where it answers itself"
            )
        else:
            words = _words(next(response.iter_content(4096), b""), _kind(response))
            said = f"{self.url} answered {asked} with {status}{f': {words}' if words else ''}"
            if hint := self._hints.get((asked, status)):
                said += f"; {hint}"
            if status == 429 or (status >= 500 and status != 501):
                return UnavailableError(said)
        return RefusedError(said, status)


def _authority(ca: str | None, key: str) -> str | bool:
    """Give what requests takes for `verify`."""
    if ca is None:
        paths = ssl.get_default_verify_paths()
        if paths.cafile:
            return paths.cafile
        return str(paths.capath) if paths.capath and any(Path(paths.capath).iterdir()) else True
    try:
        ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise PacsError(
            f"{key}.ca: expected a PEM certificate, met {ca!r} ({error.strerror or error})"
        ) from error
    return ca


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that it wraps, in whichever way its library does that."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None)]
            waiting += [cause.__cause__, cause.__context__]


def _shape(path: str) -> str:
    """Say what kind of resource it is, without identifiers: those have digits."""
    return re.sub(r"[^/]*[0-9][^/]*", "…", urlsplit(path).path) or "/"


def _kind(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _words(body: bytes, kind: str) -> str:
    """Give what a server said of its failure, less what may be an identifier."""
    if "html" in kind:
        return ""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        text = ". ".join(str(document[k]) for k in ("Message", "Details", "error") if k in document)
    words = (re.sub(r"\S*[0-9=@/^]\S*", "…", word) for word in text.split())
    return " ".join(words)[:_MAX_SAID]
