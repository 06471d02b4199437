"""What a training job elsewhere is sent of the images: decoded, these alone, and nobody's names."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cxr.learning import cache
from cxr.learning.material import Material
from cxr.pacs import shipped


def digest(ready: Material, pseudonym: Callable[[str], str], *, preset: str) -> str:
    """Name a parcel by what is in it, without making it: 32 hex digits."""
    made = hashlib.sha256(f"{cache.VERSION} {preset} {ready.images.shape[1:]}\n".encode())
    for line, pixels in zip(_lines(ready, pseudonym), ready.pixel_hashes, strict=True):
        made.update(f"{pixels} {line}".encode())
    return made.hexdigest()[:32]


def write(
    ready: Material,
    pseudonym: Callable[[str], str],
    cache_folder: Path,
    target: Path,
    *,
    preset: str,
) -> list[Path]:
    """Write a cache of a job's images, and who they are, and give the files.

    Args:
        ready: The job.
        pseudonym: Of a PatientID.
        cache_folder: Parent of this machine's caches.
        target: An empty folder.
        preset: Of the images.
    """
    size = (ready.images.shape[1], ready.images.shape[2])
    cache.extract(cache_folder, ready.sop_instance_uids, target, size, preset)
    (target / shipped.NAME).write_text("".join(_lines(ready, pseudonym)))
    return sorted(path for path in target.rglob("*") if path.is_file())


def _lines(ready: Material, pseudonym: Callable[[str], str]) -> list[str]:
    instances = ready.cohort.instances
    names = {i.patient_id: pseudonym(i.patient_id) for i in instances}
    return list(shipped.lines(instances, names))
