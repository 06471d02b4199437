"""The Lambdas' code as one zip, the same bytes wherever and whenever it is built.

A function's code is replaced where its bytes differ, and a change can be reviewed by a digest; so
there is no time, no owner and no compression in it, which differs between versions of zlib.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cxr
from cxr import places

HANDLERS = ("pre_annotation.handler", "post_annotation.handler", "rotate_keys.handler")
"""What the functions name as their handler."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100644 << 16
_UNIX = 3


def build(out: Path) -> str:
    """Write the zip and give its SHA-256 in hex.

    Args:
        out: The file to write; its folder is made.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(_files()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _FILE
            archive.writestr(entry, path.read_bytes())
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    part.replace(out)
    return digest


def _files() -> Iterator[tuple[str, Path]]:
    """Give name in the zip and file: the handlers, the contract, and what that stands on."""
    for path in places.shipped("lambdas").glob("*.py"):
        yield path.name, path
    package = Path(cxr.__file__).parent
    for path in (package / "contract").glob("*.py"):
        yield f"cxr/contract/{path.name}", path
    for name in ("__init__.py", "errors.py"):
        yield f"cxr/{name}", package / name
