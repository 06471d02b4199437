"""Searching an Orthanc in the order of UIDs, with memory for its list of studies alone.

First the studies that can hold what is wanted, by their UIDs; then, some studies at a time, the
header of every instance. Orthanc's index keeps few attributes (no Rows, no ViewPosition), so
headers are read, about a thousand a second, and every instance is compared here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from cxr.errors import PacsError
from cxr.images.dicom import Instance
from cxr.pacs import described, matching
from cxr.pacs.described import Described
from cxr.pacs.matching import Condition
from cxr.pacs.web import RefusedError, Web

_PAGE = 1000
_MOST = 1000
"""Values of a list that Orthanc is asked to match; longer ones are matched here."""
_STUDIES = 50
"""At a time: so much is read before the first instance is given."""

# Identical in all files of a study or series, so what Orthanc's index has is what each file says
_NARROWING = {
    "PatientID": "Study",
    "StudyInstanceUID": "Study",
    "StudyDate": "Study",
    "AccessionNumber": "Study",
    "SeriesInstanceUID": "Series",
    "Modality": "Series",
    "SOPInstanceUID": "Instance",
}
_LEVELS = ("Study", "Series", "Instance")
_PLAIN = re.compile(r"[A-Za-z0-9._-]([A-Za-z0-9 ._-]*[A-Za-z0-9._-])?")


def search(web: Web, keys: Mapping[str, object], threads: int) -> Iterator[Instance]:
    """Find instances; what `FolderPacs.search` takes and refuses, this does.

    Raises:
        PacsError: As there, or Orthanc does not answer.
    """
    rest = dict(keys)
    limit = matching.bound("limit", rest.pop("limit", None))
    offset = matching.bound("offset", rest.pop("offset", None)) or 0
    wanted = matching.conditions(rest)
    found = (item.instance for item in _found(web, wanted, threads))
    return islice(found, offset, None if limit is None else offset + limit)


def headers(web: Web, ids: Sequence[str], threads: int) -> list[Described]:
    """Read the headers of instances by their Orthanc IDs, leaving out those that are gone."""
    syntaxes = {
        row["ID"]: row.get("Metadata", {}).get("TransferSyntax", "")
        for row in content(web, "Instance", ids)
    }
    if threads > 1 and len(syntaxes) > 1:
        with ThreadPoolExecutor(threads) as pool:
            read = list(pool.map(lambda name: _tags(web, name), syntaxes))
    else:
        read = [_tags(web, name) for name in syntaxes]
    return [
        described.described(tags, syntax)
        for tags, syntax in zip(read, syntaxes.values(), strict=True)
        if tags is not None
    ]


def content(web: Web, level: str, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Say what the index has of resources, leaving out those that are gone."""
    rest = iter(ids)
    while page := list(islice(rest, _PAGE)):
        asked = {"Resources": page, "Level": level, "Metadata": level == "Instance"}
        yield from web.json("POST", "/tools/bulk-content", json=asked) or []


def _found(web: Web, wanted: list[Condition], threads: int) -> Iterator[Described]:
    narrow = _narrowed(wanted)
    studies = iter(_studies(web, narrow))
    while some := list(islice(studies, _STUDIES)):
        query = narrow | {"StudyInstanceUID": "\\".join(some)}
        read = headers(web, _ids(web, "Instance", query), threads)
        yield from sorted(
            (item for item in read if matching.matches(item.values, wanted)),
            key=lambda item: item.order,
        )


def _narrowed(wanted: list[Condition]) -> dict[str, str]:
    """Say to Orthanc what it understands as we do; the rest is compared here."""
    query: dict[str, str] = {}
    for condition in wanted:
        column, terms = condition.column, condition.terms
        if column not in _NARROWING or column in query:
            continue
        if exact := condition.exact:
            values = [str(value) for value in exact]
        elif len(terms) > 1:
            continue  # of a list, Orthanc takes no member as a pattern or a range
        elif terms[0].pattern is not None:
            values = [terms[0].pattern]
        else:
            values = [f"{terms[0].low}-{terms[0].high}"]
        if len(values) <= _MOST and all(
            _PLAIN.fullmatch(re.sub(r"[*?]", "x", value)) for value in values
        ):
            query[column] = "\\".join(values)
    return query


def _studies(web: Web, narrow: dict[str, str]) -> list[str]:
    """List the UIDs of the studies that may hold something, in their order."""
    at = max((_LEVELS.index(_NARROWING[name]) for name in narrow), default=0)
    ids = _ids(web, _LEVELS[at], narrow)
    while at:
        rows = content(web, _LEVELS[at], ids)
        at -= 1
        ids = list(dict.fromkeys(row[f"Parent{_LEVELS[at]}"] for row in rows))
    rows = content(web, "Study", ids)
    # one UID under two patients is two studies to Orthanc, and one to the order
    return sorted({str(row["MainDicomTags"].get("StudyInstanceUID", "")) for row in rows} - {""})


def _ids(web: Web, level: str, query: Mapping[str, str]) -> list[str]:
    asked = {"Level": level, "Query": query, "Expand": False, "CaseSensitive": True}
    found = web.json("POST", "/tools/find", json=asked)
    if not isinstance(found, list):
        raise PacsError(f"{web.url} is no Orthanc; check {web.key}.url")
    return found


def _tags(web: Web, orthanc_id: str) -> dict[str, Any] | None:
    try:
        tags = web.json("GET", f"/instances/{orthanc_id}/tags?simplify")
    except RefusedError as error:
        if error.status == 404:
            return None
        raise
    return {name: value for name, value in tags.items() if value is not None}
