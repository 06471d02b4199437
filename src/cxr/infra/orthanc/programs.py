"""Where the servers' programs and plugins lie, and which packages bring those that are missing."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cxr.errors import ConfigError

FOLDER_VARIABLE = "CXR_ORTHANC"
"""A folder with Orthanc and its plugins that comes first, for versions newer than Debian's."""
OLDEST_SAFE = (1, 12, 11)
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
_SBIN = ("/usr/sbin", "/usr/local/sbin")  # not on an ordinary user's PATH in Debian
_PACKAGES = {
    "Orthanc": "orthanc",
    "libOrthancDicomWeb.so": "orthanc-dicomweb",
    "libOrthancGdcm.so": "orthanc-gdcm",
    "libOrthancPostgreSQLIndex.so": "orthanc-postgresql",
    "initdb": "postgresql",
    "nginx": "nginx-light",
    "ngx_http_js_module.so": "libnginx-mod-http-js",
}
"""What is looked for by name → the Debian package that has it."""
_VERSION = re.compile(r"\d+(\.\d+)+")
_POSTGRESQL = Path("/usr/lib/postgresql")


def program(name: str, *, places: Iterable[str] = ()) -> Path:
    """Find an executable in `places`, on PATH, or where Debian keeps servers.

    Raises:
        ConfigError: It is not there, with the packages to install.
    """
    path = os.pathsep.join([*places, os.environ.get("PATH", os.defpath), *_SBIN])
    found = shutil.which(name, path=path)
    if found is None:
        raise missing(name)
    return Path(found)


def orthanc() -> Path:
    """Find Orthanc; where CXR_ORTHANC names a folder, there and nowhere else.

    Raises:
        ConfigError: It is not there.
    """
    own = os.environ.get(FOLDER_VARIABLE)
    if own is None:
        return program("Orthanc")
    found = Path(own) / "Orthanc"
    if not os.access(found, os.X_OK):
        raise ConfigError(f"{FOLDER_VARIABLE}: expected a folder with Orthanc, met {own!r}")
    return found


def plugin(name: str) -> Path:
    """Find one of Orthanc's plugins, such as `libOrthancDicomWeb.so`.

    Raises:
        ConfigError: It is not there, with the packages to install.
    """
    own = os.environ.get(FOLDER_VARIABLE)
    for folder in ([own] if own else []) + list(_PLUGINS):
        if (found := Path(folder) / name).is_file():
            return found
    raise missing(name)


def postgresql(data: Path) -> Path:
    """Find the folder of PostgreSQL's programs: of the version that made `data`, else the newest.

    Raises:
        ConfigError: None is installed, or not that version.
    """
    kept = data / "PG_VERSION"
    wanted = kept.read_text().strip() if kept.exists() else None
    found = {path.parent.parent.name: path.parent for path in _POSTGRESQL.glob("*/bin/initdb")}
    if wanted is not None and found and wanted not in found:
        raise ConfigError(
            f"{data}: expected PostgreSQL {wanted}, which made it, met {', '.join(sorted(found))}; "
            f"run: apt-get install --no-install-recommends postgresql-{wanted}"
        )
    if found:
        return found[wanted or max(found, key=int)]
    return program("initdb").parent


def said_version(path: Path, option: str) -> str:
    """Give the version that a program says it has, such as 15.18; empty where it says none.

    Args:
        path: Of the program.
        option: That makes it say so.
    """
    try:
        said = subprocess.run([path, option], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = _VERSION.search(said.stdout + said.stderr)  # nginx says it on stderr
    return found[0] if found else ""


def missing(name: str) -> ConfigError:
    """Say that something is not installed, and how it would be."""
    package = _PACKAGES.get(name, name)
    group = {
        "initdb": "orthanc-postgresql postgresql",
        "libOrthancPostgreSQLIndex.so": "orthanc-postgresql postgresql",
        "nginx": "nginx-light libnginx-mod-http-js",
        "ngx_http_js_module.so": "nginx-light libnginx-mod-http-js",
    }.get(name, "orthanc orthanc-dicomweb orthanc-gdcm")
    return ConfigError(
        f"expected {name} of Debian's {package} on this machine, met none; "
        f"run: apt-get install --no-install-recommends {group}"
    )


def version(text: str) -> tuple[int, ...]:
    """Read a version for comparing; development builds count as newer than any.

    >>> version("1.10.1") < OLDEST_SAFE <= version("1.12.11") < version("mainline")
    True
    """
    numbers = _VERSION.match(text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else (10**6,)
