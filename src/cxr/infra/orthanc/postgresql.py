"""A PostgreSQL of Orthanc's own for its index: one private cluster, no TCP port.

PostgreSQL refuses to run as root, and the data root is closed to everybody but its owner. Where
that is root, the server runs as `postgres` and reaches its folder through a file descriptor that
it inherits: /proc/self/fd/N needs no right to walk there, so nothing is opened to anybody. The
socket lies in the same folder; whoever connects does so from there, through /proc/self/cwd, since
a path of over 107 letters is none for a socket.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.errors import ConfigError, PacsError
from cxr.infra.orthanc import processes, programs

DATABASE = "orthanc"
_ADMIN = "cxr"
_USER = "postgres"
_START_S = 120.0  # a cluster that was killed replays its log first
_QUERY_S = 30
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_min_error_statement": "panic",  # statements and details hold patients' names
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True)
class Passwords:
    """Of the two roles that may connect.

    Attributes:
        admin: Who makes databases and roles.
        orthanc: Who owns the index, and nothing else.
    """

    admin: str
    orthanc: str


def daemon(folder: Path) -> processes.Daemon:
    """Give the process of the cluster in Orthanc's folder."""
    return processes.Daemon("postgresql", folder)


def data(folder: Path) -> Path:
    """Give where the cluster in Orthanc's folder keeps its files."""
    return _home(folder) / "data"


def options(passwords: Passwords) -> dict[str, Any]:
    """Give the section of Orthanc's config; Orthanc must run in the folder it belongs to."""
    return {
        "EnableIndex": True,
        "EnableStorage": False,
        "Host": "/proc/self/cwd/postgresql",
        "Port": 5432,
        "Database": DATABASE,
        "Username": DATABASE,
        "Password": passwords.orthanc,
        "EnableSsl": False,
        "Lock": True,
        "IndexConnectionsCount": 5,
        "MaximumConnectionRetries": 10,
        "ConnectionRetryInterval": 1,
    }


def runs(folder: Path, passwords: Passwords) -> bool:
    """Say whether it runs as this version of us starts it, and answers."""
    return daemon(folder).runs_with(_fingerprint(folder)) and answers(folder, passwords)


def answers(folder: Path, passwords: Passwords) -> bool:
    """Say whether the index can be connected to."""
    return _asked(folder, passwords, "select 1", database=DATABASE) == "1"


def version(folder: Path) -> str:
    """Give the version of the programs, such as 15.18; empty where there are none."""
    try:
        program = programs.postgresql(data(folder)) / "postgres"
    except ConfigError:
        return ""
    return programs.said_version(program, "--version")


def start(folder: Path, passwords: Passwords) -> bool:
    """Have the cluster run, with a database for Orthanc in it; makes it where there is none.

    Returns:
        Whether it was started, or started again; then Orthanc must be, too.

    Raises:
        ConfigError: PostgreSQL is not installed, or not in the version that made the cluster.
        PacsError: It ended at once or did not answer, with the reason from its log.
    """
    if runs(folder, passwords):
        return False
    here, programs_folder = daemon(folder), programs.postgresql(data(folder))
    here.stop(by=signal.SIGINT)
    _own(folder)
    with _reachable(folder) as (home, descriptor):
        if not data(folder).exists():
            _make(folder, programs_folder, home, descriptor, passwords)
        settings = _OPTIONS | {"unix_socket_directories": home}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        here.start(
            [programs_folder / "postgres", "-D", f"{home}/data", *words],
            fingerprint=_fingerprint(folder), user=_user(), cwd=Path("/"), inherited=[descriptor],
        )  # fmt: skip
    try:
        here.wait(lambda: _asked(folder, passwords, "select 1") == "1", _START_S)
        _prepare(folder, passwords)
    except BaseException:
        stop(folder)
        raise
    return True


def stop(folder: Path) -> bool:
    """End the cluster, whoever is connected, and say whether it ran; nothing is lost."""
    return daemon(folder).stop(by=signal.SIGINT, limit_s=60)


def _home(folder: Path) -> Path:
    return folder / "postgresql"


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_USER).pw_name
    except KeyError as error:
        raise ConfigError(
            f"pacs.index: expected the system user {_USER}, since PostgreSQL does not run as root; "
            "run: apt-get install --no-install-recommends postgresql"
        ) from error


def _fingerprint(folder: Path) -> str:
    return processes.fingerprint(str(programs.postgresql(data(folder))), repr(_OPTIONS))


def _own(folder: Path) -> None:
    """Make the folder, as that of the user who runs the server."""
    home = _home(folder)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user := _user():
        shutil.chown(home, user)


@contextmanager
def _reachable(folder: Path) -> Iterator[tuple[str, int]]:
    descriptor = os.open(_home(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", descriptor
    finally:
        os.close(descriptor)


def _make(
    folder: Path, programs_folder: Path, home: str, descriptor: int, passwords: Passwords
) -> None:
    """Make the cluster beside its place, and move it there when it is whole."""
    user, part, password = _user(), _home(folder) / "data.part", _home(folder) / "password"
    shutil.rmtree(part, ignore_errors=True)
    processes.write_private(password, passwords.admin)
    try:
        if user:
            shutil.chown(password, user)
        made = subprocess.run(
            [
                programs_folder / "initdb", "-D", f"{home}/data.part", "-U", _ADMIN,
                "--auth=scram-sha-256", f"--pwfile={home}/password", "--encoding=UTF8",
                "--locale=C", "--data-checksums",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/",
            pass_fds=[descriptor], umask=0o077, user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
        )  # fmt: skip
    finally:
        password.unlink(missing_ok=True)
    if made.returncode:
        said = [line for line in made.stderr.splitlines() if "error" in line.casefold()]
        raise PacsError(f"initdb made no cluster in {part}: {(said or ['it said nothing'])[0]}")
    part.rename(data(folder))


def _prepare(folder: Path, passwords: Passwords) -> None:
    """Make what Orthanc needs in the cluster; what is there already stays."""
    exists = f"select 1 from pg_catalog.pg_{{}} where {{}}name = '{DATABASE}'"
    for there, make in (
        (exists.format("roles", "rol"), f"create role {DATABASE} login"),
        (exists.format("database", "dat"), f"create database {DATABASE} owner {DATABASE}"),
    ):
        if _asked(folder, passwords, there) != "1":
            _told(folder, passwords, make)
    quoted = passwords.orthanc.replace("'", "''")
    _told(folder, passwords, f"alter role {DATABASE} password '{quoted}'")
    # Orthanc's searches for a part of a name need it, and may not make it themselves
    _told(folder, passwords, "create extension if not exists pg_trgm", database=DATABASE)


def _told(folder: Path, passwords: Passwords, sql: str, *, database: str = "postgres") -> None:
    if _asked(folder, passwords, sql, database=database) is None:
        # the statement may hold a password, so it is not repeated
        raise PacsError(f"the index could not be prepared: {daemon(folder).last_words()}")


def _asked(
    folder: Path, passwords: Passwords, sql: str, *, database: str = "postgres"
) -> str | None:
    """Give what a statement answers; None where it is refused or nobody is there."""
    psql = programs.postgresql(data(folder)) / "psql"
    given = {
        "PATH": os.environ.get("PATH", os.defpath), "PGHOST": "/proc/self/cwd", "PGPORT": "5432",
        "PGUSER": _ADMIN, "PGPASSWORD": passwords.admin, "PGDATABASE": database,
        "PGCONNECT_TIMEOUT": "5",
    }  # fmt: skip
    try:
        said = subprocess.run(
            [psql, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password",
             "--set=ON_ERROR_STOP=1", "--file=-"],
            input=sql, capture_output=True, text=True, check=False, cwd=_home(folder), env=given,
            timeout=_QUERY_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None
