"""Connections that no server can hold for longer than their time-out, however it trickles.

A socket's own time-out starts anew with every byte, so a server that sends one a second is waited
for without end. Here all waiting for one answer counts together; only data at a fair rate buys
more of it, and what the reader of a stream does in between costs nothing.
"""

import http.client
import io
import logging
import socket
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as Waited

SLOWEST = 1 << 16
"""Bytes a second below which an answer runs out of time."""

# at each new attempt it would print the path, which names an image; how it ends we say ourselves
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
_BLOCK = 1 << 18
_AGAIN_ON = (429, 500, 502, 503, 504)


class _Reader(io.RawIOBase):
    """What a socket receives, as long as there is patience left."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket, self._raw = sock, sock.makefile("rb", buffering=0)
        self._most = self._left = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left is None or self._most is None:
            return self._raw.readinto(buffer)
        if self._left <= 0:
            raise TimeoutError("timed out")
        began = time.monotonic()
        self._socket.settimeout(self._left)
        count = self._raw.readinto(buffer)
        waited = time.monotonic() - began
        self._left = min(self._most, self._left - waited + (count or 0) / SLOWEST)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock), _BLOCK)


class _Plain(HTTPConnection):
    response_class = _Response


class _Secured(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecuredPool(HTTPSConnectionPool):
    ConnectionCls = _Secured


class Again(Retry):
    """Asks again, a little later each time, after what a moment may cure.

    That is a connection refused or broken off (a server restarts; Orthanc closes an idle one
    after a second) and the answers 429, 500, 502, 503, 504. Whatever is sent here may be sent
    twice: a search changes nothing, and neither does storing or deleting the same thing again.
    """

    limit_s = 30.0
    until: float | None = None

    @classmethod
    def within(cls, limit_s: float) -> "Again":
        """Stop asking `limit_s` seconds after the first answer."""
        made = cls(
            total=5,
            other=0,
            redirect=0,
            allowed_methods=None,
            status_forcelist=_AGAIN_ON,
            backoff_factor=0.1,
            backoff_max=min(5.0, limit_s),
            raise_on_status=False,
            raise_on_redirect=False,
        )
        made.limit_s = limit_s
        return made

    def new(self, **changes: Any) -> "Again":
        """Count one attempt more."""
        made = super().new(**changes)
        made.limit_s = self.limit_s
        made.until = self.until or time.monotonic() + self.limit_s
        if time.monotonic() > made.until:
            made.total = -1
        return made

    def increment(self, *args: Any, **options: Any) -> "Again":
        """Note an attempt; one that took all the time there is, is not repeated."""
        error = options.get("error")
        if error is not None and timed_out(error):
            raise error
        return super().increment(*args, **options)

    def get_retry_after(self, response: Any) -> float | None:
        """Wait for as long as the server asks, within reason."""
        asked = super().get_retry_after(response)
        left = max(0.0, self.until - time.monotonic()) if self.until else self.limit_s
        return None if asked is None else min(asked, left)


def timed_out(error: BaseException) -> bool:
    """Say whether urllib3 gave up waiting; a connection refused is one of its time-outs too."""
    return isinstance(error, Waited) and not isinstance(error, NewConnectionError)


class Adapter(HTTPAdapter):
    """Carries requests over such connections, and repeats what may be repeated.

    Args:
        limit_s: How long one answer may take.
        connections: Kept open between requests.
    """

    def __init__(self, limit_s: float, connections: int) -> None:
        super().__init__(pool_maxsize=connections, max_retries=Again.within(limit_s))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pool of connections."""
        super().init_poolmanager(*args, blocksize=_BLOCK, **options)
        _equip(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Make a pool of connections to a proxy."""
        return _equip(super().proxy_manager_for(*args, **options))


def _equip(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecuredPool}
    return manager
