"""The files of a bundle: what its wheels say, checksums, instructions, the archive."""

import email
import gzip
import hashlib
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.utils import canonicalize_name

_CHUNK = 1 << 20
_OLDEST = 315_532_800  # 1980: what a zip file can say
_INSTALL = """\
#!/bin/sh
# Check every file, then install cxr into a new folder, from this folder alone: no network
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${{1:-cxr-venv}}
python=${{PYTHON:-python{python}}}
(cd "$here" && sha256sum --quiet -c SHA256SUMS)
"$python" -m venv "$into"
"$into/bin/python" -m pip install --no-index --find-links "$here/wheelhouse" '{cxr}'
echo "next: $into/bin/python -m cxr.label job=demo_by_hand"
"""
_README = """\
cxr, as a bundle for a machine without a network. Research use only. Not for clinical decisions.

    pip install --no-index --find-links wheelhouse {quoted}

in an environment of Python {python}; or `sh install.sh FOLDER`, which checks every file against
SHA256SUMS and makes the environment. Labelling and training need nothing else.
{left_out}
wheelhouse/       wheels of cxr, with the viewer built into it, and of everything it needs
requirements.txt  their versions and hashes; scripts/bundle.py --pins makes the same bundle again
sbom.cdx.json     what is in it: names, versions, licences, hashes (CycloneDX 1.6)
SHA256SUMS        sha256sum -c SHA256SUMS
"""


@dataclass(frozen=True)
class Wheel:
    """A wheel, by its own metadata.

    Attributes:
        name: Canonical (PEP 503).
        sha256: Of the file, in hex.
        metadata: The headers of its METADATA.
    """

    path: Path
    name: str
    version: str
    sha256: str
    metadata: Message

    @property
    def requires(self) -> list[str]:
        """Its requirements, with their markers."""
        return list(self.metadata.get_all("Requires-Dist", []))


def wheels(house: Path) -> list[Wheel]:
    """Read every wheel of a folder, by name."""
    found = []
    for path in sorted(house.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            inside = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            metadata = email.message_from_string(archive.read(inside).decode())
        name = canonicalize_name(metadata["Name"])
        found.append(Wheel(path, name, metadata["Version"], sha256(path), metadata))
    return sorted(found, key=lambda wheel: wheel.name)


def sha256(path: Path) -> str:
    """Digest a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def epoch(root: Path) -> int:
    """Give SOURCE_DATE_EPOCH, else the time of the checkout's commit, in seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return max(int(given), _OLDEST)
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return max(int(done.stdout), _OLDEST) if done.returncode == 0 else _OLDEST


def finish(
    out: Path,
    python: str,
    extras: Sequence[str],
    leave_out: Sequence[str],
    stamp: int,
    *,
    archive: bool,
) -> None:
    """Write instructions and checksums, then pack it all; everything says the same time."""
    cxr = f"cxr[{','.join(extras)}]" if extras else "cxr"
    left = f"Left out, since the target has it: {', '.join(leave_out)}.\n" if leave_out else ""
    (out / "install.sh").write_text(_INSTALL.format(python=python, cxr=cxr))
    (out / "install.sh").chmod(0o755)
    quoted = f"'{cxr}'" if extras else cxr
    (out / "README.txt").write_text(_README.format(python=python, quoted=quoted, left_out=left))
    files = sorted(path for path in out.rglob("*") if path.is_file())
    sums = [f"{sha256(path)}  {path.relative_to(out).as_posix()}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums))
    if archive:
        _pack(out, out.with_name(f"{out.name}.tar.gz"), stamp)


def _pack(out: Path, archive: Path, stamp: int) -> None:
    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = stamp
        entry.mode = 0o755 if entry.isdir() or entry.name.endswith(".sh") else 0o644
        return entry

    # wheels are compressed already: the lowest level packs as small, and fast
    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 1, file, mtime=stamp) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        tar.add(out, out.name, recursive=False, filter=plain)
        for path in sorted(out.rglob("*")):
            name = f"{out.name}/{path.relative_to(out).as_posix()}"
            tar.add(path, name, recursive=False, filter=plain)
