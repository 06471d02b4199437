"""Serve an ASGI app, in the foreground or from a thread, in the clear or over TLS.

uvicorn does the serving; this room binds the port first, so that a taken one is a one-line error
and port 0 is known before anybody is told an address. Whether a port may be open to others is for
the caller to say: nothing here looks at who asks, and no X-Forwarded-* header is believed.
"""

import errno
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

_START_S = 20


@dataclass(frozen=True)
class Listener:
    """A bound port.

    Attributes:
        url: Its address, without a trailing slash.
        socket: Bound, not yet listening.
        tls: What it encrypts with; None speaks plain HTTP.
    """

    url: str
    socket: socket.socket
    tls: ssl.SSLContext | None = None


def tls(certificate: Path, key: Path, *, section: str) -> ssl.SSLContext:
    """Read a certificate to serve with, from TLS 1.2 on.

    Args:
        certificate: PEM, the server's own first, then those that lead to a known authority.
        key: PEM, its private key, not encrypted: nobody is there to type a passphrase.
        section: The config section that names both, for the error.

    Raises:
        ConfigError: One cannot be read, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in (("certificate", certificate), ("key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"{section}.{name}: {path}: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{section}: expected a PEM certificate and its key without a passphrase, met "
            f"{str(certificate)!r} and {str(key)!r} ({getattr(error, 'reason', None) or error})"
        ) from error
    return context


def bind(host: str, port: int, *, key: str, secured: ssl.SSLContext | None = None) -> Listener:
    """Bind a port, 0 for any free one.

    Args:
        host: An address of this machine.
        port: From 0 to 65535.
        key: The config key that chose it, for the error.
        secured: What `tls` gave; None speaks plain HTTP.

    Raises:
        ConfigError: It is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: 40 ms a reply
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise ConfigError(f"{key}: port {port} {why}; choose another, or 0 for any") from error
    name = f"[{host}]" if ":" in host else host
    scheme = "https" if secured else "http"
    return Listener(f"{scheme}://{name}:{bound.getsockname()[1]}", bound, secured)


def run(app: Any, listener: Listener) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    _server(app, listener).run(sockets=[listener.socket])


class Background:
    """An app that is being served from a thread of this process."""

    def __init__(self, app: Any, listener: Listener) -> None:
        """Start serving; returns once requests are answered.

        Raises:
            RuntimeError: The app stopped while starting.
        """
        self._server = _server(app, listener)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener.socket]}, daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the server at {listener.url} did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Finish the requests under way, then stop."""
        self._server.should_exit = True
        self._thread.join(timeout=_START_S)


def _server(app: Any, listener: Listener) -> "uvicorn.Server":
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would hold tokens
        timeout_graceful_shutdown=5,
        lifespan="off",
        # uvicorn believes any local process what it says of the client's address
        proxy_headers=False,
        server_header=False,
    )
    config.load()
    config.ssl = (
        listener.tls
    )  # made by us: uvicorn 0.32 takes paths alone, and asks for passphrases
    return uvicorn.Server(config)
