"""Orthanc and what stands around it on this machine: started, watched and stopped together.

PostgreSQL, where the index is in one; Orthanc; the gateway that readers' browsers load images
from. Each is a process that outlives the command (`processes.py`); what is called running is
looked up every time, never remembered.
"""

import logging
import os
import secrets
import shutil
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from cxr import pacs_schema
from cxr import root as data_root
from cxr.errors import ConfigError
from cxr.infra.orthanc import (
    gateway,
    postgresql,
    processes,
    programs,
    recorded,
    server,
    settings,
)

PASSWORD = "orthanc.password"
_LITTLE_SPACE = 2 << 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One server of several.

    Attributes:
        name: What messages call it.
        pid: Its process; None where it does not run.
        healthy: Whether it runs and answers.
        version: Of the program, empty where unknown.
        url: Where it answers; empty for one that only others here use.
        refuses: Whether it runs and answers, but not to our password.
    """

    name: str
    pid: int | None
    healthy: bool
    version: str
    url: str = ""
    refuses: bool = False


@dataclass(frozen=True)
class State:
    """What runs, and what it holds.

    Attributes:
        parts: Of what the config asks for, in the order they are started.
        instances: How many are stored; None where Orthanc does not answer.
        stored_bytes: What they take.
        free_bytes: What is left on their disk.
        warnings: What to know, or to do.
    """

    parts: tuple[Part, ...]
    instances: int | None
    stored_bytes: int
    free_bytes: int
    warnings: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part runs and answers."""
        return all(part.healthy for part in self.parts)


def password(section: pacs_schema.OrthancPacs, root: Path) -> str:
    """Give the password of Orthanc's API; the one that is drawn where the config has none."""
    given = section.password
    return given or data_root.secret(root, PASSWORD, secrets.token_urlsafe(32))


def up(section: pacs_schema.OrthancPacs, root: Path) -> list[str]:
    """Have everything run that the config asks for; what does already is left alone.

    Args:
        section: What the user chose; its URLs are of this machine.
        root: The data root, where secrets lie, and the keys that the gateway checks links with.

    Returns:
        Names of what was started, or started again.

    Raises:
        ConfigError: The config cannot be had here: a program is missing, a port is taken, the
            folder is somebody else's or holds another index.
        PacsError: A part did not start, with the reason from its log. What this call had
            started before it is stopped again.
    """
    folder = _folder(section)
    settings.endpoint(section.url)
    _check(section, folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret, roles, started = password(section, root), _roles(section, root), []
    with processes.alone(folder), ExitStack() as undo:
        server.ports(section, folder)
        if roles and not postgresql.runs(folder, roles):
            server.stop(folder)  # which must not outlive the index it works on
            _log.info("starting postgresql")
            postgresql.start(folder, roles)
            undo.callback(postgresql.stop, folder)
            started.append("postgresql")
        index = postgresql.options(roles) if roles else None
        if server.start(section, folder, password=secret, postgresql=index):
            undo.callback(server.stop, folder)
            started.append("orthanc")
        keys = data_root.token_keys(root)  # not before: a rotation may have been at work
        if gateway.start(section, folder, keys, secret) and section.image_url:
            started.append("gateway")
        recorded.write(section, folder)
        undo.pop_all()
    return started


def down(section: pacs_schema.OrthancPacs) -> list[str]:
    """Stop everything that runs in the folder, and give the names of what was stopped.

    Raises:
        PacsError: A process is another user's, or does not end even when killed.
    """
    folder = _folder(section)
    if not folder.is_dir():
        return []
    stops = {"gateway": gateway.stop, "orthanc": server.stop, "postgresql": postgresql.stop}
    with processes.alone(folder):
        stopped = [name for name, stop in stops.items() if stop(folder)]
        recorded.forget(folder)
        return stopped


def status(section: pacs_schema.OrthancPacs, root: Path) -> State:
    """Look at every part that `up` was asked for, or else the config; changes nothing.

    Raises:
        ConfigError: The URL is not one of this machine.
    """
    folder = _folder(section)
    section = recorded.read(section, folder) or section
    roles = _roles(section, root)
    api = server.connection(section, password(section, root))
    parts = []
    if roles:
        well = postgresql.daemon(folder).pid() is not None and postgresql.answers(folder, roles)
        parts.append(_part(postgresql.daemon(folder), well, postgresql.version(folder)))
    system = api.get("/system") or {}
    held = (api.get("/statistics") or {}) if system else {}
    here = server.daemon(folder)
    version = str(system.get("Version", ""))
    part = _part(here, bool(held) and here.pid() is not None, version, section.url)
    refuses = part.pid is not None and not system and api.status("/system") == 401
    parts.append(replace(part, refuses=refuses))
    warnings = [*_refused(section, root)] if refuses else _warnings(section, version)
    if section.image_url:
        trouble = gateway.trouble(section, data_root.token_keys(root))
        parts.append(_part(_gateway(folder), not trouble, _nginx_version(), section.image_url))
        warnings += [trouble] if trouble and parts[-1].pid else []
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if free < _LITTLE_SPACE:
        warnings.append(f"{folder}: only {free / 2**20:.0f} MiB are free on its disk")
    return State(
        parts=tuple(parts),
        instances=held.get("CountInstances"),
        stored_bytes=int(held.get("TotalDiskSize", 0)),
        free_bytes=free,
        warnings=tuple(warnings),
    )


def rotate(section: pacs_schema.OrthancPacs, root: Path) -> tuple[list[str], bool]:
    """Draw a new key for signed links; those that are out stay good until they expire.

    Returns:
        The IDs of the keys that are in force now, the signing one first, and whether a gateway
        that runs was told.

    Raises:
        ConfigError: The keys come from the environment, so they cannot be changed here; or what a
            gateway that runs was started with is not known. Nothing was changed.
    """
    folder = _folder(section)
    with processes.alone(folder) if folder.is_dir() else nullcontext():
        runs = _gateway(folder).pid() is not None
        told = recorded.read(section, folder)
        if runs and told is None:
            raise ConfigError(
                "expected a gateway whose settings are known, met one of an `up` that did not end "
                "well; run python -m cxr.orthanc up with the pacs.url and pacs.image_url that it "
                "shall have, then rotate"
            )
        keys = data_root.rotate_token_keys(root)
        if told is None or not runs:
            return list(keys.by_id), False
        secret = server.password_in_force(folder) or password(section, root)
        return list(keys.by_id), gateway.reload(told, folder, keys, secret)


def _folder(section: pacs_schema.OrthancPacs) -> Path:
    return Path(section.folder).absolute()


def _gateway(folder: Path) -> processes.Daemon:
    return processes.Daemon("gateway", folder)


def _nginx_version() -> str:
    try:
        return programs.said_version(programs.program("nginx"), "-v")
    except ConfigError:
        return ""


def _roles(section: pacs_schema.OrthancPacs, root: Path) -> postgresql.Passwords | None:
    if section.index != "postgresql":
        return None
    drawn = [
        data_root.secret(root, f"postgresql.{role}", secrets.token_urlsafe(32))
        for role in ("admin", "orthanc")
    ]
    return postgresql.Passwords(*drawn)


def _check(section: pacs_schema.OrthancPacs, folder: Path) -> None:
    """Refuse a folder whose images would seem to be gone, or that we could not write."""
    if not folder.exists():
        return
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise ConfigError(
            f"pacs.folder: expected a folder of user {os.geteuid()}, who runs this, met {folder} "
            f"of user {owner}; run this as that user, or choose another folder"
        )
    held = {"sqlite": folder / "index" / "index", "postgresql": postgresql.data(folder)}
    for kind, path in held.items():
        if kind != section.index and path.exists():
            raise ConfigError(
                f"pacs.index: expected {kind}, which {path} is, met {section.index}: its images "
                "would seem to be gone; keep it, or choose another pacs.folder and copy them there"
            )


def _part(daemon: processes.Daemon, healthy: bool, version: str, url: str = "") -> Part:
    return Part(daemon.name, daemon.pid(), healthy, version, url)


def _refused(section: pacs_schema.OrthancPacs, root: Path) -> tuple[str, ...]:
    given = "CXR_PACS_PASSWORD" if section.password else str(root / "secrets" / PASSWORD)
    return (
        f"Orthanc at {section.url} answers 401 to user {section.user or settings.USER} with the "
        f"password of {given}: it was started with another one",
    )


def _warnings(section: pacs_schema.OrthancPacs, version: str) -> list[str]:
    """Say what an engineer must know of what runs; empty where nothing answers."""
    warnings = []
    if version and programs.version(version) < programs.OLDEST_SAFE:
        wanted = ".".join(map(str, programs.OLDEST_SAFE))
        guards = [
            "answers this machine alone", "asks for a password",
            "takes DICOM from listed peers alone" if section.dimse else "has DICOM switched off",
            *(["stands behind a gateway that rebuilds every request"] * bool(section.image_url)),
        ]  # fmt: skip
        warnings.append(
            f"Orthanc {version} is older than {wanted}, which fixes the advisories of 2026; here "
            f"it {', '.join(guards)}; close its ports to others by a firewall as well, or "
            "upgrade it (docs/pacs.md)"
        )
    if version and section.dimse:
        warnings.append(
            f"DICOM port {section.dimse_port} is open at every address of this machine, and DICOM "
            "is neither encrypted nor signed in to: close it by a firewall to all but the peers"
        )
    return warnings
