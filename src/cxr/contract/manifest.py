"""Input and output manifests: JSON Lines in SageMaker Ground Truth's format, read as streams.

An output line is its input line with two more keys: the label attribute name, holding the
consolidated labels, and its twin ending in `-metadata`. The keys of the metadata are the ones
real jobs write (`job-name`); those of the documentation (`job_name`) are read too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr.contract.labels import State
from cxr.errors import ManifestError

MAX_LINE = 100_000
"""Bytes in one line (Ground Truth's limit)."""
SCHEMA = "cxr-consolidated/1"
JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""LabelingJobName of the API CreateLabelingJob."""
METADATA = "-metadata"
INSTANCE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
"""An Orthanc instance ID, which `source` is."""
COPY_OF = "cxr-source"
"""Key of a line whose image was copied to S3: its source in the PACS."""


@dataclass(frozen=True)
class Labelled:
    """One output line, as training reads it.

    Attributes:
        data_object: The input line's own keys.
        states: Label name → state, in the order of the label set.
        probabilities: Label name → probability of being present, where consolidation gives one.
        usable: False where readers called the image unfit.
        label_source: `readers`, `report-text-mined`, `model` or `scripted-readers`.
        label_set: Name of the label set.
        rois: Every worker's ROIs, as documents.
        document: The whole label attribute.
    """

    data_object: Mapping[str, Any]
    states: Mapping[str, State]
    probabilities: Mapping[str, float]
    usable: bool
    label_source: str
    label_set: str
    rois: tuple[Mapping[str, Any], ...]
    document: Mapping[str, Any]


def check_job_name(name: str) -> str:
    """Return `name` if it is both a LabelingJobName and a LabelAttributeName.

    Raises:
        ManifestError: It breaks one of the API's patterns.
    """
    if len(name) > 63 or not JOB_NAME.fullmatch(name) or name.endswith(("-metadata", "-ref")):
        raise ManifestError(
            "expected a job name of 1 to 63 letters, digits and inner hyphens, not ending in "
            f"-metadata or -ref, met {name!r}"
        )
    return name


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Read data objects one by one; blank lines are passed over.

    Raises:
        ManifestError: No such file, or a line that is not a JSON object or has neither `source`
            nor `source-ref`; the message names file and line.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ManifestError(f"{path}: expected a manifest, met {error.strerror}") from error
    with file:
        for number, raw in enumerate(file, 1):
            if raw.strip():
                yield _data_object(raw, f"{path}:{number}")


def _data_object(raw: bytes, place: str) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ManifestError(f"{place}: expected JSON, met {raw[:40]!r}") from error
    if not isinstance(line, dict):
        raise ManifestError(f"{place}: expected a JSON object, met {raw[:40]!r}")
    if not any(isinstance(line.get(key), str) and line[key] for key in ("source", "source-ref")):
        raise ManifestError(f'{place}: no "source" or "source-ref"')
    return line


def write(
    path: Path, lines: Iterable[Mapping[str, Any]], *, max_line: int | None = MAX_LINE
) -> int:
    """Write data objects, whole or not at all, and say how many.

    Args:
        path: Of the manifest; its folder is made.
        lines: Its data objects.
        max_line: Bytes in one line; None for an output manifest, which holds what readers drew.

    Raises:
        ManifestError: A line is longer than that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("wb") as file:
        for count, line in enumerate(lines, 1):
            raw = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
            if max_line is not None and len(raw) > max_line:
                raise ManifestError(
                    f"{path}:{count}: expected at most {max_line} bytes, met {len(raw)}"
                )
            file.write(raw + b"\n")
    part.replace(path)
    return count


def source(data_object: Mapping[str, Any]) -> str:
    """Give what identifies the image: an Orthanc instance ID, or an S3 URI."""
    return str(data_object.get("source") or data_object["source-ref"])


def metadata(
    job_name: str, *, human_annotated: bool, created: datetime, **extra: Any
) -> dict[str, Any]:
    """Make the `-metadata` twin of a label attribute."""
    return {
        "type": "groundtruth/custom",
        "job-name": job_name,
        "human-annotated": "yes" if human_annotated else "no",
        "creation-date": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        **extra,
    }


def attributes(line: Mapping[str, Any]) -> list[str]:
    """Name the label attributes of an output line: those with a `-metadata` twin."""
    return [
        key.removesuffix(METADATA)
        for key in line
        if key.endswith(METADATA) and key.removesuffix(METADATA) in line
    ]


def labelled(line: Mapping[str, Any], attribute: str | None = None) -> Labelled | None:
    """Read the consolidated labels of one output line.

    Args:
        line: From `read`.
        attribute: Which label attribute, where there are several; None takes the only one.

    Returns:
        None where the line has no label yet (its object failed, or awaits chaining).

    Raises:
        ManifestError: Several attributes and none named, or not consolidated by this project.
    """
    found = attributes(line)
    if attribute is None and len(found) > 1:
        raise ManifestError(f"{source(line)}: expected one label attribute, met {found}; name one")
    name = attribute or (found[0] if found else None)
    if name is None or name not in found:
        return None
    value, meta = line[name], line[name + METADATA]
    if not isinstance(meta, dict):
        raise ManifestError(
            f"{source(line)}: {name}{METADATA}: expected an object, met {meta!r}"[:200]
        )
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ManifestError(f'{source(line)}: {name}: expected "schema": "{SCHEMA}"')
    try:
        findings = value["findings"]
        states = {item["label"]: State(item["state"]) for item in findings}
        probabilities = {
            item["label"]: float(item["probability"])
            for item in findings
            if item.get("probability") is not None
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{source(line)}: {name}.findings: {error!r}") from error
    return Labelled(
        data_object={k: v for k, v in line.items() if k not in (name, name + METADATA)},
        states=states,
        probabilities=probabilities,
        usable=value.get("usable", True) is not False,
        label_source=str(meta.get("label-source", "readers")),
        label_set=str(line.get("label-set", "manifest")),
        rois=tuple(value.get("rois", ())),
        document=value,
    )
