"""Files on their way into a folder PACS: written and flushed aside, not yet instances."""

import os
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.errors import DicomError, PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs.index import row_of

_STALE_S = 3600


@dataclass(frozen=True)
class Staged:
    """A file on disk that is not yet an instance; may travel to another process.

    Attributes:
        part: Where it waits; None if its like was here already.
        row: For the index.
    """

    instance: Instance
    part: Path | None
    row: dict[str, Any]


def write(folder: Path, data: bytes) -> Path:
    """Put bytes on disk below `incoming`.

    Raises:
        PacsError: The disk is full, or the folder otherwise not to be written.
    """
    part = folder / "incoming" / f"{uuid.uuid4().hex}.part"
    try:
        with open(part, "xb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PacsError(unwritable(folder, error)) from error
    return part


def unwritable(folder: Path, error: OSError) -> str:
    """Say that a folder PACS cannot be written, and what to do."""
    return f"{folder}: cannot write: {error.strerror}; free some space, or set pacs.folder"


def sweep(part: Path) -> None:
    """Delete what a killed writer left; a live one needs seconds."""
    try:
        if time.time() - part.stat().st_mtime > _STALE_S:
            part.unlink()
    except FileNotFoundError:
        pass  # its writer was alive, and has finished


def forget(folder: Path, patient_ids: Collection[str]) -> None:
    """Delete what waits, or was left, of a patient, and what is not said to be anybody's.

    Raises:
        PacsError: The folder cannot be written.
    """
    for part in (folder / "incoming").glob("*.part"):
        try:
            whose = dicom.identify(part).patient_id
        except (DicomError, OSError):
            whose = None
        try:
            if whose is None or whose in patient_ids:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise PacsError(unwritable(folder, error)) from error


def row(data: bytes, sha256: str, pixel_hash: str | None) -> dict[str, Any]:
    """Make the row of a file for the index.

    Args:
        data: Part 10 bytes.
        sha256: Of them.
        pixel_hash: Of its decoded pixels; None works it out, empty: they cannot be decoded.

    Raises:
        DicomError: It cannot be identified.
    """
    with dicom.explained(data):
        header = dicom.read_header(data)
        if pixel_hash is None:
            try:
                pixel_hash = dicom.pixel_hash(data)
            except DicomError:
                pixel_hash = ""  # stored all the same: whether it is any good is the doctor's call
        hashes = {"sha256": sha256, "pixel_hash": pixel_hash}
        return row_of(header, dicom.instance(header), size=len(data), **hashes)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
