"""Serve an ASGI app on loopback, in the foreground or from a thread.

uvicorn does the serving; this room binds the port first, so that a taken one is a one-line error
and port 0 is known before anybody is told an address.
"""

import errno
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import uvicorn

from cxr.errors import ConfigError

_START_S = 20


@dataclass(frozen=True)
class Listener:
    """A bound port.

    Attributes:
        url: Its address, without a trailing slash.
        socket: Bound, not yet listening.
    """

    url: str
    socket: socket.socket


def bind(host: str, port: int, *, key: str) -> Listener:
    """Bind a port, 0 for any free one.

    Args:
        host: A loopback address.
        port: From 0 to 65535.
        key: The config key that chose it, for the error.

    Raises:
        ConfigError: It is taken.
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
    return Listener(f"http://{name}:{bound.getsockname()[1]}", bound)


def run(app: Any, listener: Listener) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    _server(app).run(sockets=[listener.socket])


class Background:
    """An app that is being served from a thread of this process."""

    def __init__(self, app: Any, listener: Listener) -> None:
        """Start serving; returns once requests are answered.

        Raises:
            RuntimeError: The app stopped while starting.
        """
        self._server = _server(app)
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


def _server(app: Any) -> uvicorn.Server:
    # access logs would hold tokens
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="off"
    )
    return uvicorn.Server(config)
