"""Orthanc itself as one server: its private config, its start, and what it says of itself."""

import base64
import errno
import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr import pacs_schema
from cxr.errors import ConfigError, PacsError
from cxr.infra.orthanc import processes, programs, settings

CONFIG = "orthanc.json"
PLUGINS = ("libOrthancDicomWeb.so", "libOrthancGdcm.so")
POSTGRESQL_PLUGIN = "libOrthancPostgreSQLIndex.so"
_START_S = 90.0  # a large index is checked first


@dataclass(frozen=True)
class Connection:
    """How a command reaches an Orthanc on this machine; no proxy is ever asked.

    Attributes:
        host: A loopback address.
        port: Its HTTP port.
        user: Of the API.
        password: Of the user.
        limit_s: How long one answer may take.
    """

    host: str
    port: int
    user: str
    password: str
    limit_s: float

    def get(self, path: str) -> Any:
        """Give what Orthanc answers, parsed; None where it does not, or refuses."""
        try:
            status, body = self._asked(path)
            return json.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def status(self, path: str) -> int | None:
        """Give the HTTP status of Orthanc's answer; None where there is none."""
        try:
            return self._asked(path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def _asked(self, path: str) -> tuple[int, bytes]:
        basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.limit_s)
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {basic}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def connection(section: pacs_schema.OrthancPacs, password: str) -> Connection:
    """Say how the Orthanc that `section` describes is reached.

    Raises:
        ConfigError: Its URL is not one of this machine.
    """
    host, port = settings.endpoint(section.url)
    return Connection(host, port, section.user or settings.USER, password, section.timeout_s)


def daemon(folder: Path) -> processes.Daemon:
    """Give the process of the Orthanc in a folder."""
    return processes.Daemon("orthanc", folder)


def start(
    section: pacs_schema.OrthancPacs,
    folder: Path,
    *,
    password: str,
    postgresql: dict[str, Any] | None = None,
) -> bool:
    """Have Orthanc run with this config and answer; one that does already is left alone.

    Args:
        section: What the user chose.
        folder: Of this Orthanc, absolute; made with mode 0700.
        password: Of the API's only user.
        postgresql: How the index is reached; None keeps it in SQLite.

    Returns:
        Whether it was started, or started again.

    Raises:
        ConfigError: A program is missing, or a port is taken.
        PacsError: It ended at once or did not answer, with the reason from its log.
    """
    names = PLUGINS if postgresql is None else (*PLUGINS, POSTGRESQL_PLUGIN)
    program, plugins = programs.orthanc(), [programs.plugin(name) for name in names]
    text = settings.text(section, folder, password=password, plugins=plugins, postgresql=postgresql)
    wanted = processes.fingerprint(str(program), text)
    here, api = daemon(folder), connection(section, password)
    if here.runs_with(wanted) and api.get("/system") is not None:
        return False
    ports(section, folder)
    here.stop()
    free(api.port, key="pacs.url")
    if section.dimse:
        free(section.dimse_port, key="pacs.dimse_port")
    for name in ("storage", "index", "tmp"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    processes.write_private(folder / CONFIG, text)
    here.start([program, folder / CONFIG], fingerprint=wanted)
    try:
        here.wait(lambda: api.get("/system") is not None, _START_S)
        _with_plugins(api, here)
    except BaseException:
        here.stop()
        raise
    return True


def stop(folder: Path) -> bool:
    """End the Orthanc of a folder, and say whether it ran."""
    return daemon(folder).stop(limit_s=60)


def ports(section: pacs_schema.OrthancPacs, folder: Path) -> None:
    """Check, while the Orthanc of a folder may still run, that the ports of the next are free.

    Raises:
        ConfigError: Somebody else listens at one.
    """
    told = _told(folder) if daemon(folder).pid() is not None else {}
    own = {told.get("HttpPort"), told.get("DicomPort") if told.get("DicomServerEnabled") else None}
    wanted = {"pacs.url": settings.endpoint(section.url)[1]}
    if section.dimse:
        wanted["pacs.dimse_port"] = section.dimse_port
    for key, port in wanted.items():
        if port not in own:
            free(port, key=key)


def password_in_force(folder: Path) -> str | None:
    """Give the password that the Orthanc of a folder was last started with."""
    users = _told(folder).get("RegisteredUsers") or {}
    return next(iter(users.values()), None)


def _told(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return told


def free(port: int, *, key: str) -> None:
    """Check that nobody listens at a port.

    Raises:
        ConfigError: Somebody does, or only root may.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # as Orthanc will
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise ConfigError(
                f"{key}: expected a free port, met {port} ({error.strerror}); choose another one"
            ) from error


def _with_plugins(api: Connection, here: processes.Daemon) -> None:
    loaded = api.get("/plugins") or []
    for name in ("dicom-web", "gdcm"):
        if name not in loaded:
            raise PacsError(f"orthanc runs without its plugin {name}: {here.last_words()}")
