"""What Orthanc is told: one private JSON file, written anew at every start.

Options that an Orthanc does not know are ignored by it, so those of newer versions stand here too.
"""

import ipaddress
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxr import pacs_schema, places
from cxr.errors import ConfigError

USER = "cxr"
"""Of Orthanc's API, where the config names none."""


def endpoint(url: str, *, key: str = "pacs.url") -> tuple[str, int]:
    """Give host and port of a URL that something here shall listen at.

    Raises:
        ConfigError: It is not plain HTTP at an IPv4 loopback address, or has a path.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or parts.path.strip("/") or not places.is_loopback(host):
        raise ConfigError(
            f"{key}: expected http://127.0.0.1:PORT, since this command runs Orthanc on this "
            f"machine and for this machine only, met {url!r}"
        )
    if ":" in host:  # versions before 2025 listen at IPv4 alone
        raise ConfigError(f"{key}: expected an IPv4 address such as 127.0.0.1, met {url!r}")
    return "127.0.0.1" if host == "localhost" else host, parts.port or 80


def text(
    section: pacs_schema.OrthancPacs,
    folder: Path,
    *,
    password: str,
    plugins: Sequence[Path],
    postgresql: Mapping[str, Any] | None = None,
) -> str:
    """Give Orthanc's config as JSON; it holds the password, so the file must be private.

    Args:
        section: What the user chose.
        folder: Where images, index and everything else of this Orthanc lie.
        password: Of `section.user`, and of nobody else.
        plugins: The .so files to load; a folder would load whatever was installed.
        postgresql: How the index is reached; None keeps it in SQLite.

    Raises:
        ConfigError: The URL is not one to listen at, or a peer's address cannot be resolved.
    """
    host, port = endpoint(section.url)
    given: dict[str, Any] = {
        "Name": "cxr",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "TemporaryDirectory": str(folder / "tmp"),
        "Plugins": [str(path) for path in plugins],
        "HttpPort": port,
        "HttpBindAddresses": [host],  # since 2025; older ones bind every address
        "RemoteAccessAllowed": False,  # and then drop those who are not on this machine
        "AuthenticationEnabled": True,
        "RegisteredUsers": {section.user or USER: password},
        "HttpThreadsCount": 50,
        "HttpRequestTimeout": 30,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "HttpCompressionEnabled": False,
        "WebDavEnabled": False,
        "ExecuteLuaEnabled": False,
        "RestApiWriteToFileSystemEnabled": False,
        "OverwriteInstances": False,
        "StorageCompression": False,
        "StoreMD5ForAttachments": True,
        "SaveJobs": False,
        "LimitFindResults": 0,
        "LimitFindInstances": 0,
        "DefaultEncoding": "Utf8",
        "DeidentifyLogs": True,
        "DatabaseServerIdentifier": "cxr",  # else made of MAC addresses, which containers change
        "OrthancPeersInDatabase": False,
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": True,
            "WadoRoot": "/wado",
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
            "QidoCaseSensitive": True,
        },
        "Gdcm": {"Enable": True, "Throttling": 4},
    }
    if postgresql is not None:
        given["PostgreSQL"] = dict(postgresql)
    return json.dumps(given | _dimse(section), indent=2, ensure_ascii=False) + "\n"


def _dimse(section: pacs_schema.OrthancPacs) -> dict[str, Any]:
    """Give the options of the DICOM protocol: storing from listed peers, or nothing at all."""
    return {
        "DicomServerEnabled": section.dimse,
        "DicomAet": section.aet,
        "DicomPort": section.dimse_port,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "StrictAetComparison": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowFindWorklist": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
        "UnknownSopClassAccepted": False,
        "DicomModalitiesInDatabase": False,
        "DicomModalities": _modalities(section.peers) if section.dimse else {},
    }


def _modalities(peers: Sequence[pacs_schema.Peer]) -> dict[str, Any]:
    allowed = {"AllowEcho": True, "AllowStore": True}
    refused = {
        f"Allow{what}": False
        for what in ("Find", "FindWorklist", "Get", "Move", "StorageCommitment", "Transcoding")
    }
    return {
        f"peer{number}": {"AET": peer.aet, "Host": _address(peer), "Port": peer.port}
        | allowed
        | refused
        for number, peer in enumerate(peers)
    }


def _address(peer: pacs_schema.Peer) -> str:
    """Give what a peer is called where its connection is accepted: its number, never its name."""
    try:
        return str(ipaddress.ip_address(peer.address))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(peer.address, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"pacs.peers: expected an address that can be resolved, met {peer.address!r} of "
            f"{peer.aet} ({error.strerror})"
        ) from error
    numbers = sorted({str(entry[4][0]) for entry in found})
    if len(numbers) > 1:
        raise ConfigError(
            f"pacs.peers: expected a single address of {peer.aet}, met {peer.address!r}, which "
            f"stands for {' and '.join(numbers)}; give the one that it sends from"
        )
    return numbers[0]
