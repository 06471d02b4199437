"""Which row of a table of existing labels is about which image.

Published tables name images in their own ways: by SOPInstanceUID, by study (MIMIC-CXR's numbers
are folders called `s<number>`), or by the path of a file that has since become a `.dcm`.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from cxr.contract import manifest
from cxr.errors import JobError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import Pacs, finding, studies
from cxr.pacs.folder import FolderPacs, Origin

_THREADS = 4


def match(
    table: Mapping[str, object],
    kind: str,
    lines: Iterable[Mapping[str, Any]],
    pacs: Pacs,
    came: Iterable[Origin] | None = None,
) -> dict[str, str]:
    """Find the row about each image.

    Args:
        table: What a row is about → what it says.
        kind: `sop_instance_uid`, `study` or `path`.
        lines: Manifest lines.
        pacs: Where the images are; asked for the studies' numbers.
        came: From which files images came; None: as the PACS knows, if it is a folder. Of any
            other image the file says to which study it belongs.

    Returns:
        Source → key, for images that have a row.

    Raises:
        JobError: Two rows about one image differ, a path fits several images, or nobody knows
            from which files they came.
    """
    if kind == "sop_instance_uid":
        named = {manifest.source(line): str(line.get("sop-instance-uid", "")) for line in lines}
        return {source: key for source, key in named.items() if key in table}
    if came is None:
        came = pacs.origins() if isinstance(pacs, FolderPacs) else ()
    origins: dict[str, list[Origin]] = defaultdict(list)
    for origin in came:
        origins[origin.orthanc_id].append(origin)
    if kind == "study":
        every = list(lines)
        found = _by_study(set(table), every, origins)
        left: dict[str, list[str]] = defaultdict(list)
        for line in every:
            source = manifest.source(line)
            if source not in found and source not in origins:
                left[str(line.get("study-instance-uid", source))].append(source)
        return found | _by_id(table, left, pacs)
    if not origins and not isinstance(pacs, FolderPacs):
        raise JobError(
            "job.key: expected sop_instance_uid or study, met path, and nobody knows from which "
            f"files the images in {pacs.name} came; python -m cxr.ingest folder=… notes it"
        )
    return _by_path(table, lines, origins)


def _by_study(
    keys: set[str], lines: Iterable[Mapping[str, Any]], origins: Mapping[str, Sequence[Origin]]
) -> dict[str, str]:
    found = {}
    for line in lines:
        source = manifest.source(line)
        met = origins.get(source, ())
        names = studies.names(
            str(line.get("study-instance-uid", "")),
            next((origin.study_id for origin in met), ""),
            [origin.path for origin in met],
        )
        key = next((name for name in names if name in keys), None)
        if key is not None:
            found[source] = key
    return found


def _by_id(
    keys: Container[str], sources: Mapping[str, Sequence[str]], pacs: Pacs
) -> dict[str, str]:
    """Match the hospital's numbers of studies, which stand in the files alone.

    Args:
        keys: What rows are about.
        sources: StudyInstanceUID → images of which nobody knows from which file they came.
        pacs: That holds them.
    """

    def number(instance: Instance | None) -> str:
        return "" if instance is None else dicom.text(finding.header(pacs, instance), "StudyID")

    instances = finding.several(pacs, ((images[0], "") for images in sources.values()))
    with ThreadPoolExecutor(_THREADS) as threads:
        numbers = zip(sources.values(), threads.map(number, instances), strict=True)
        return {image: key for images, key in numbers for image in images if key in keys}


def _by_path(
    table: Mapping[str, object],
    lines: Iterable[Mapping[str, Any]],
    origins: Mapping[str, Sequence[Origin]],
) -> dict[str, str]:
    """Match paths by their ends, without extensions: one must be the end of the other."""
    rows = {_parts(key): key for key in table}
    ends: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for parts, key in rows.items():
        for length in range(1, len(parts) + 1):
            ends[parts[:length]].append(key)
    found: dict[str, str] = {}
    image_of: dict[str, str] = {}
    for line in lines:
        source = manifest.source(line)
        fits = set()
        for origin in origins.get(source, ()):
            parts = _parts(origin.path)
            fits |= {rows[parts[:n]] for n in range(1, len(parts) + 1) if parts[:n] in rows}
            fits |= set(ends.get(parts, ()))
        for key in sorted(fits, key=len):
            if table[key] != table[found.get(source, key)]:
                raise JobError(
                    f"expected the same labels for {found[source]!r} and {key!r}, which are one "
                    "image"
                )
            if image_of.setdefault(key, source) != source:
                raise JobError(
                    f"{key!r} fits several images; give paths as they lie below the ingested folder"
                )
            found[source] = key
    return found


def _parts(path: str) -> tuple[str, ...]:
    """Give a path's parts from its end, the file name without extension.

    >>> _parts("train/patient1/view1.jpg")
    ('view1', 'patient1', 'train')
    """
    pure = PurePosixPath(path.replace("\\\\", "/"))
    return (pure.stem, *reversed(pure.parts[:-1]))
