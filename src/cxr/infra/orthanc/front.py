"""TLS in front of Orthanc, in a container beside it: nginx, and nothing that has to be followed.

    python -m cxr.infra.orthanc.container front

Orthanc then hears its neighbours on loopback alone, as on a single machine. Whoever comes in has
Orthanc's password still to give; what changes the server itself is closed to everybody.
"""

import os
import subprocess
from pathlib import Path

from cxr.infra.orthanc import gateway, judging, processes, programs, selfsigned
from cxr.infra.orthanc.environment import Front

_TEMPLATE = "front.conf"


def serve(settings: Front) -> None:
    """Become nginx; never returns.

    Raises:
        ConfigError: nginx or openssl is missing.
    """
    nginx = programs.program("nginx")
    place, logs = settings.folder / "front", settings.folder / "logs"
    for made in (place, place / "temp", logs):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = place / "front.pem"
    selfsigned.write(pem)
    to_stdout(logs / "front-access.log")
    text = gateway.rendered(
        _TEMPLATE,
        folder=gateway.plain(place, "CXR_FOLDER"),
        logs=str(logs),
        user=judging.other_user(),
        workers=min(4, os.cpu_count() or 1),
        listen=settings.listen,
        upstream=settings.upstream,
        proxies=settings.proxies,
        pem=str(pem),
    )
    config = place / "nginx.conf"
    processes.write_private(config, text)
    os.umask(0o077)
    os.execv(nginx, [str(nginx), "-c", str(config), "-g", "daemon off;"])


def to_stdout(log: Path) -> None:
    """Have what nginx writes to a log come out of this process, where ECS collects it.

    nginx opens the log by its name, which an ordinary user may not do with an output that root
    has made; so this process gets an output of its own, and another one copies it.
    """
    log.unlink(missing_ok=True)
    log.symlink_to("/dev/stdout")
    copying = subprocess.Popen([programs.program("cat")], stdin=subprocess.PIPE)
    if copying.stdin is None:
        raise RuntimeError("a process was started without the pipe that was asked for")
    os.dup2(copying.stdin.fileno(), 1)
    copying.stdin.close()
