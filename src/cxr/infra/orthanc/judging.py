"""The judge beside nginx, for machines without njs: `cxr.pacs.verifier` as a process of its own.

It listens at a socket in a folder that only nginx's workers can enter. It reads the keys as
whoever started it, then becomes the workers' user, so that what answers requests can open nothing
else. Keys change by a second judge: nginx turns to it, then the first one ends.
"""

import contextlib
import grp
import hashlib
import json
import os
import pwd
import secrets
import socket
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from cxr.contract.signing import Keys
from cxr.errors import PacsError
from cxr.infra.orthanc import processes

_NAMES = ("verifier-a", "verifier-b")
_COMMAND = (sys.executable, "-c", "from cxr.infra.orthanc.judging import main; main()")
_START_S = 30.0


def started(folder: Path, keys: Keys) -> Path:
    """Have a judge run with these keys, beside one with others, and give its socket.

    Raises:
        PacsError: It ended at once, or does not answer.
    """
    text = json.dumps({kid: key.hex() for kid, key in keys.by_id.items()})
    wanted = processes.fingerprint(text)
    place = _socket_folder(folder)
    for name in _NAMES:
        daemon = processes.Daemon(name, folder)
        noted = _noted(daemon)
        if daemon.runs_with(wanted) and noted is not None and _accepts(noted):
            return noted
    free = next((n for n in _NAMES if processes.Daemon(n, folder).pid() is None), _NAMES[0])
    daemon = processes.Daemon(free, folder)
    daemon.stop()
    if (left := _noted(daemon)) is not None:  # by one that was killed
        left.unlink(missing_ok=True)
    given, listening = folder / "run" / f"{free}.keys", place / f"{secrets.token_hex(4)}.sock"
    given.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    processes.write_private(given, text)
    processes.write_private(given.with_suffix(".socket"), str(listening))
    ids = _ids()
    words = [*_COMMAND, given, listening, *(map(str, ids) if ids else ())]
    daemon.start(words, fingerprint=wanted)
    try:
        daemon.wait(lambda: _accepts(listening), _START_S)
    except BaseException:
        daemon.stop()
        raise
    finally:
        given.unlink(missing_ok=True)
    return listening


def sockets(folder: Path) -> list[Path]:
    """List where the judges of a folder listen, or did."""
    noted = (_noted(processes.Daemon(name, folder)) for name in _NAMES)
    return [place for place in noted if place is not None]


def stop(folder: Path, *, but: Collection[Path] = ()) -> None:
    """End the judges of a folder, except those at some sockets."""
    for name in _NAMES:
        daemon = processes.Daemon(name, folder)
        noted = _noted(daemon)
        if noted is not None and noted not in but:
            daemon.stop(limit_s=10)
            noted.unlink(missing_ok=True)
            _note(daemon).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another judge's socket is in it
                noted.parent.rmdir()


def other_user() -> str | None:
    """Name user and group that nginx's workers run as; None: as ourselves, who are not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("www-data") or known["nobody"]
    return f"{entry.pw_name} {grp.getgrgid(entry.pw_gid).gr_name}"


def main() -> None:
    """Serve until SIGTERM: arguments are the keys' file, the socket, a user's IDs or nothing."""
    # here, for who only starts judges needs none of it: the gateway's container has no uvicorn
    import uvicorn

    from cxr.infra import http
    from cxr.pacs import verifier

    keys_file, place, *ids = sys.argv[1:]
    texts = json.loads(Path(keys_file).read_text())
    app = verifier.app(Keys({kid: bytes.fromhex(key) for kid, key in texts.items()}))
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(place)
    config = uvicorn.Config(app, lifespan="off")
    config.load()  # imports what it needs, while the code's folder is open to us
    config.get_loop_factory()
    if ids:
        user, group = map(int, ids)
        os.chown(place, user, group)
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    http.run(app, http.Listener("http://verifier", bound))


def _note(daemon: processes.Daemon) -> Path:
    return daemon.folder / "run" / f"{daemon.name}.socket"


def _noted(daemon: processes.Daemon) -> Path | None:
    try:
        return Path(_note(daemon).read_text())
    except OSError:
        return None


def _ids() -> tuple[int, int] | None:
    user = other_user()
    entry = pwd.getpwnam(user.split()[0]) if user else None
    return (entry.pw_uid, entry.pw_gid) if entry else None


def _accepts(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(place))
        except OSError:
            return False
        return True


def _socket_folder(folder: Path) -> Path:
    """Make a folder for sockets: short, for a path of 108 bytes ends them, and the workers' own.

    The data root will not do: nobody but its owner may enter it.
    """
    ids = _ids()
    base = Path("/run" if ids else os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    tag = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]
    place = base / f"cxr-{os.geteuid()}-{tag}"
    place.mkdir(mode=0o700, exist_ok=True)
    if ids:
        os.chown(place, *ids, follow_symlinks=False)
    owner = ids[0] if ids else os.geteuid()
    met = place.lstat()
    if place.is_symlink() or met.st_uid != owner or met.st_mode & 0o077:
        raise PacsError(f"{place}: expected a private folder for sockets, met somebody else's")
    return place
