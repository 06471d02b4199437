"""What the gateway's container is told: environment variables, since it has no config files.

Secrets among them come from Secrets Manager by way of the task definition, never in plain text.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cxr.errors import ConfigError

_PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10"
_LONGEST_POLL_S = 3600.0


@dataclass(frozen=True)
class Settings:
    """What the gateway's container is told.

    Attributes:
        upstream: Of Orthanc, as `host:port`.
        upstream_tls: Whether it is spoken to over TLS; its certificate is not verified.
        user: Of Orthanc.
        password: Of the user.
        token_secret: ARN or name of the secret of the keys that verify links.
        region: AWS's, of that secret.
        host: That links name.
        origins: Of the pages that may load images; "null" for sandboxed frames.
        listen: As `address:port`.
        proxies: Networks of load balancers, whose word for a client's address is believed.
        poll_s: How long a revoked key opens links at most, and a moved Orthanc is looked for.
        folder: Of everything that is written; private, and gone with the container.
    """

    upstream: str
    upstream_tls: bool
    user: str
    password: str
    token_secret: str
    region: str
    host: str
    origins: tuple[str, ...]
    listen: str
    proxies: tuple[str, ...]
    poll_s: float
    folder: Path

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Check and take the variables named in `docs/aws.md`.

        Raises:
            ConfigError: One is missing or wrong; the message holds no secret.
        """
        upstream_tls, upstream = _upstream(environ)
        user, password = _user(environ)
        return cls(
            upstream=upstream,
            upstream_tls=upstream_tls,
            user=user,
            password=password,
            token_secret=_given(environ, "CXR_TOKEN_SECRET", "the ARN of the keys' secret"),
            region=_given(environ, "AWS_REGION", "such as eu-central-1"),
            host=_matching(environ, "CXR_HOST", r"[A-Za-z0-9.-]+(:\d+)?", "the host of links"),
            origins=_origins(environ),
            listen=listen(environ),
            proxies=_networks(environ),
            poll_s=_poll(environ),
            folder=_folder(environ),
        )


@dataclass(frozen=True)
class Front:
    """What the container is told that brings TLS to an Orthanc beside it.

    Attributes:
        upstream: Of Orthanc, as `host:port`.
        listen: As `address:port`.
        proxies: As `Settings.proxies`.
        folder: As `Settings.folder`.
    """

    upstream: str
    listen: str
    proxies: tuple[str, ...]
    folder: Path

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Front":
        """Check and take the variables named in `docs/aws.md`.

        Raises:
            ConfigError: One is missing or wrong.
        """
        tls, upstream = _upstream(environ)
        if tls:
            raise ConfigError(f"CXR_UPSTREAM: expected http:// to a neighbour, met {upstream!r}")
        return cls(upstream, listen(environ), _networks(environ), _folder(environ))


def listen(environ: Mapping[str, str]) -> str:
    """Say where nginx shall listen.

    Raises:
        ConfigError: It is no IPv4 address with a port.
    """
    given = environ.get("CXR_LISTEN") or "0.0.0.0:8443"
    host, _, port = given.rpartition(":")
    try:
        ipaddress.IPv4Address(host)
        if 0 < int(port) < 65536:
            return given
    except ValueError:
        pass
    raise ConfigError(f"CXR_LISTEN: expected address:port such as 0.0.0.0:8443, met {given!r}")


def _given(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"{name}: expected {what}, met nothing")
    return value


def _matching(environ: Mapping[str, str], name: str, pattern: str, what: str) -> str:
    value = _given(environ, name, what)
    if not re.fullmatch(pattern, value):
        raise ConfigError(f"{name}: expected {what}, met {value!r}")
    return value


def _upstream(environ: Mapping[str, str]) -> tuple[bool, str]:
    form = r"https?://[A-Za-z0-9.-]+:\d{1,5}"
    parts = urlsplit(_matching(environ, "CXR_UPSTREAM", form, "https://host:port of Orthanc"))
    return parts.scheme == "https", parts.netloc


def _user(environ: Mapping[str, str]) -> tuple[str, str]:
    """Take one of Orthanc's users: the secret is just what its config has as RegisteredUsers."""
    what = '{"user": "password"} as Orthanc has it'
    try:
        users = json.loads(_given(environ, "CXR_ORTHANC_USERS", what))
    except ValueError:
        users = None
    if not isinstance(users, dict) or not users or not all(map(_is_text, users.values())):
        raise ConfigError(f"CXR_ORTHANC_USERS: expected {what}, met something else")
    user = environ.get("CXR_ORTHANC_USER") or next(iter(users))
    if user not in users or ":" in user:
        raise ConfigError(f"CXR_ORTHANC_USER: expected a user in CXR_ORTHANC_USERS, met {user!r}")
    return user, users[user]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    name = "CXR_ALLOWED_ORIGINS"
    found = tuple(filter(None, re.split(r"[,\s]+", environ.get(name, ""))))
    for origin in found:
        if origin != "null" and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d{1,5})?", origin):
            raise ConfigError(f'{name}: expected https://host or "null", met {origin!r}')
    return found


def _folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("CXR_FOLDER") or "/var/lib/cxr").absolute()


def _networks(environ: Mapping[str, str]) -> tuple[str, ...]:
    given = environ.get("CXR_PROXIES", _PRIVATE)
    found = tuple(filter(None, re.split(r"[,\s]+", given)))
    for network in found:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ConfigError(
                f"CXR_PROXIES: expected networks such as 10.0.0.0/8, met {network!r}"
            ) from error
    return found


def _poll(environ: Mapping[str, str]) -> float:
    given = environ.get("CXR_POLL_S") or "30"
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= _LONGEST_POLL_S:
        raise ConfigError(f"CXR_POLL_S: expected 0.1 to {_LONGEST_POLL_S:g} seconds, met {given!r}")
    return value
