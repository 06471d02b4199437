"""What `up` was told: `<folder>/run/up.json`, for the commands after it; no secrets are in it.

Whoever gave `up` other ports need not say them again to `status` and `rotate`.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from cxr import pacs_schema
from cxr.infra.orthanc import processes

_OF_THE_CALLER = {"password", "timeout_s", "threads"}


def write(section: pacs_schema.OrthancPacs, folder: Path) -> None:
    """Note what now runs in a folder."""
    told = section.model_dump(mode="json", by_alias=True, exclude=_OF_THE_CALLER)
    told["folder"] = str(folder)
    if section.ca:
        told["ca"] = str(Path(section.ca).absolute())
    if section.tls:
        told["tls"] = {
            name: str(Path(path).absolute()) for name, path in section.tls.model_dump().items()
        }
    processes.write_private(_path(folder), json.dumps(told, indent=2) + "\n")


def read(section: pacs_schema.OrthancPacs, folder: Path) -> pacs_schema.OrthancPacs | None:
    """Give what `up` was told, with the caller's password; None where nothing is known of it."""
    given = section.model_dump(include=_OF_THE_CALLER) | {"folder": str(folder)}
    try:
        return pacs_schema.OrthancPacs.model_validate(json.loads(_path(folder).read_text()) | given)
    except (OSError, ValueError, TypeError, ValidationError):
        return None


def forget(folder: Path) -> None:
    """Note that nothing runs there by intention."""
    _path(folder).unlink(missing_ok=True)


def _path(folder: Path) -> Path:
    return folder / "run" / "up.json"
