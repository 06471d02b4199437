"""The gateway as what a container runs: nginx, told by environment variables and a shared secret.

    python -m cxr.infra.orthanc.container          serve until SIGTERM
    python -m cxr.infra.orthanc.container front    be Orthanc's neighbour instead; see front.py
    python -m cxr.infra.orthanc.container health   exit with 0 if either answers as it should

It has no PACS of its own beside it and no data root: Orthanc is another container, whose address
may change, and the keys that verify links are in Secrets Manager, where they change while this
runs. Both are asked for again every few seconds; where nobody answers, what was last known stays
in force. `templates/gateway/Dockerfile` makes the image, `docs/aws.md` says how it is used.
"""

import http.client
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from cxr.contract.signing import Keys
from cxr.errors import AwsError, ConfigError, CxrError, PacsError
from cxr.infra.aws import Account, secrets
from cxr.infra.orthanc import (
    environment,
    front,
    gateway,
    judging,
    processes,
    programs,
    selfsigned,
)
from cxr.infra.orthanc.environment import Front, Settings

_RETRY_S = 3.0  # at the start, while there is nothing to go on with
_END_S = 20.0  # for downloads under way; ECS kills what has not ended after 30
_PROBE_S = 5.0
_CERTIFICATE = "gateway.pem"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What is asked for again and again.

    Attributes:
        keys: Verify links.
        addresses: Of Orthanc, as `address:port`.
    """

    keys: Keys
    addresses: tuple[str, ...]


class _Ended(BaseException):
    """Raised by SIGTERM wherever the program is, so that no waiting call delays the end."""


def serve(settings: Settings) -> None:
    """Run nginx with the keys and the address of now, until SIGTERM.

    Raises:
        ConfigError: nginx, its module or openssl is missing.
        PacsError: nginx ended by itself.
    """
    with suppress(_Ended), _ending():
        account = Account(settings.region)
        pem = _prepared(settings)
        known = _first(settings, account)
        _write(settings, known, pem)
        nginx = subprocess.Popen(
            [programs.program("nginx"), "-c", _config(settings), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL, umask=0o077,
        )  # fmt: skip
        _log.info(
            "%d token keys open links; Orthanc is at %s", len(known.keys.by_id), known.addresses
        )
        try:
            _follow(settings, account, known, pem, nginx)
        finally:
            _stop(nginx)


def healthy(listen: str) -> bool:
    """Say whether who has neither token nor password is refused, as the judge and Orthanc do.

    Args:
        listen: Where nginx does, as `address:port`.
    """
    host, _, port = listen.rpartition(":")
    here = "127.0.0.1" if host == "0.0.0.0" else host
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it drew the certificate itself
    connection = http.client.HTTPSConnection(here, int(port), timeout=_PROBE_S, context=context)
    try:
        connection.request("GET", "/system")
        return connection.getresponse().status == 401
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(words: Sequence[str]) -> int:
    """Do what the arguments say, and give the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        match [*words]:
            case []:
                serve(Settings.read(os.environ))
            case ["front"]:
                front.serve(Front.read(os.environ))
            case ["health"]:
                return 0 if healthy(environment.listen(os.environ)) else 1
            case _:
                raise ConfigError(f"expected nothing, front or health, met {' '.join(words)!r}")
    except CxrError as error:
        _log.error("%s: %s", type(error).__name__, error)
        return 1
    return 0


def _follow(
    settings: Settings, account: Account, known: Known, pem: Path, nginx: "subprocess.Popen[bytes]"
) -> None:
    """Have nginx take what changes; returns never, but by an exception."""
    said = ""
    while True:
        with suppress(subprocess.TimeoutExpired):
            raise PacsError(f"nginx ended by itself, with {nginx.wait(settings.poll_s)}")
        now, said = _now(settings, account, known, said)
        if now != known:
            _write(settings, now, pem)
            nginx.send_signal(signal.SIGHUP)
            _log.info("%s", _difference(known, now))
            known = now


def _now(settings: Settings, account: Account, known: Known, said: str) -> tuple[Known, str]:
    """Ask for everything again; what nobody tells stays, and is said once."""
    reasons = []
    try:
        known = replace(known, keys=secrets.keys(account, settings.token_secret))
    except (AwsError, ConfigError) as error:
        reasons.append(f"the token keys of before stay: {error}")
    try:
        known = replace(known, addresses=_resolved(settings))
    except OSError as error:
        reasons.append(f"Orthanc's addresses of before stay: {settings.upstream}: {error.strerror}")
    reason = "; ".join(reasons)
    if reason and reason != said:
        _log.warning("%s", reason)
    return known, reason


def _first(settings: Settings, account: Account) -> Known:
    """Wait until there are keys and an address: a stack makes everything at the same time."""
    said = ""
    while True:
        try:
            keys = secrets.keys(account, settings.token_secret)
            return Known(keys, _resolved(settings))
        except (AwsError, ConfigError) as error:
            reason = f"waiting for token keys: {error}"
        except OSError as error:
            reason = f"waiting for Orthanc: {settings.upstream}: {error.strerror}"
        if reason != said:
            _log.warning("%s", reason)
        said = reason
        time.sleep(min(_RETRY_S, settings.poll_s))


def _resolved(settings: Settings) -> tuple[str, ...]:
    """Give Orthanc's addresses of now; nginx itself would ask for them once."""
    host, _, port = settings.upstream.rpartition(":")
    found = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)
    return tuple(sorted({f"{address[4][0]}:{port}" for address in found}))


def _difference(before: Known, now: Known) -> str:
    """Say what changed, by counts: a key's ID may be a job's."""
    old, new = before.keys.by_id, now.keys.by_id
    changes = []
    if old != new:
        came, went = new.keys() - old.keys(), old.keys() - new.keys()
        changes.append(f"{len(new)} token keys open links: {len(came)} new, {len(went)} revoked")
    if before.addresses != now.addresses:
        changes.append(f"Orthanc is at {now.addresses}")
    return "; ".join(changes)


def _prepared(settings: Settings) -> Path:
    """Make the folders, a log that is standard output, and a certificate; gives the last."""
    place = settings.folder / "gateway"
    for made in (place, place / "temp", settings.folder / "logs"):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    front.to_stdout(settings.folder / "logs" / "gateway-access.log")
    selfsigned.write(place / _CERTIFICATE)
    return place / _CERTIFICATE


def _write(settings: Settings, known: Known, pem: Path) -> None:
    place = settings.folder / "gateway"
    texts = gateway.files(
        known.keys,
        (settings.user, settings.password),
        folder=gateway.plain(place, "CXR_FOLDER"),
        logs=str(settings.folder / "logs"),
        js_module=gateway.njs(),
        verifier=None,
        user=judging.other_user(),
        workers=min(4, os.cpu_count() or 1),
        addresses=[settings.listen],
        tls={"certificate": str(pem), "key": str(pem)},
        host=settings.host,
        origins=settings.origins,
        upstreams=known.addresses,
        upstream_tls=settings.upstream_tls,
        proxies=settings.proxies,
        methods=gateway.METHODS,
        rate=gateway.RATE,
    )
    for name, text in texts.items():
        processes.write_private(place / name, text)


def _config(settings: Settings) -> Path:
    return settings.folder / "gateway" / gateway.CONFIG


def _stop(nginx: "subprocess.Popen[bytes]") -> None:
    """Let downloads under way finish, within limits."""
    for number, limit_s in ((signal.SIGQUIT, _END_S), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        if nginx.poll() is not None:
            return
        nginx.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            nginx.wait(limit_s)


@contextmanager
def _ending() -> Iterator[None]:
    """Have SIGTERM and Ctrl-C raise `_Ended` inside the block, once."""

    def end(number: int, frame: FrameType | None) -> None:
        for other in (signal.SIGTERM, signal.SIGINT):
            signal.signal(other, signal.SIG_IGN)  # what ends must not be interrupted
        raise _Ended

    before = [signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
