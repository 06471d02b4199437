"""A certificate that a container draws for itself, for the way from a load balancer to it.

It encrypts and proves nothing; a load balancer asks no more of its targets.
"""

import subprocess
from pathlib import Path

from cxr.errors import ConfigError
from cxr.infra.orthanc import processes, programs


def write(path: Path) -> None:
    """Write a new key and its certificate to one private file, as nginx reads both.

    Raises:
        ConfigError: openssl is missing, or the folder cannot be written.
    """
    parts = [path.with_name(f".{path.name}.{kind}") for kind in ("key", "certificate")]
    drawn = subprocess.run(
        [programs.program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-days", "3650", "-subj", f"/CN={path.stem}",
         "-keyout", parts[0], "-out", parts[1]],
        capture_output=True, text=True, check=False, umask=0o077,
    )  # fmt: skip
    if drawn.returncode:
        reason = (drawn.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"{path}: expected a certificate of openssl's, met {reason[:200]}")
    processes.write_private(path, "".join(part.read_text() for part in parts))
    for part in parts:
        part.unlink()
