"""What each reader said of each image, read from the job's output manifest.

The joint to labeling is that file alone. Readers are letters from here on: their names are in no
report.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import LabelSet, State
from cxr.errors import AnnotationError, LabelError

MISSING, ABSENT, UNCERTAIN, PRESENT = -1, 0, 1, 2
_CODES = {State.ABSENT: ABSENT, State.UNCERTAIN: UNCERTAIN, State.PRESENT: PRESENT}


@dataclass(frozen=True)
class Answers:
    """The answers of W readers on N images about L labels.

    Attributes:
        readers: (W,) A, B, C, ...; in an order that does not follow their names.
        values: (W, N, L) int8 of `MISSING`, `ABSENT`, `UNCERTAIN`, `PRESENT`.
    """

    readers: tuple[str, ...]
    values: NDArray[np.int8]


def read(
    path: Path, sources: Sequence[str], names: Sequence[str], attribute: str | None = None
) -> Answers:
    """Read who said what of some images.

    Args:
        path: Output manifest.
        sources: (N,) `source` of each image, as in the manifest.
        names: (L,) labels, or their aliases in the job's label set.
        attribute: Label attribute name, where lines have several.

    Returns:
        No reader at all where the manifest keeps no answers of single readers. An answer that
        cannot be understood, or a skip, is missing.

    Raises:
        ManifestError: The manifest cannot be read.
    """
    row_of = {source: row for row, source in enumerate(sources)}
    said: dict[str, NDArray[np.int8]] = {}
    for line in manifest.read(path):
        row = row_of.get(manifest.source(line))
        if row is None:
            continue
        for worker, states in _states(line, attribute):
            mine = said.setdefault(worker, np.full((len(sources), len(names)), MISSING, np.int8))
            mine[row] = [_code(states[0], states[1], name) for name in names]
    workers = sorted(said, key=lambda worker: hashlib.sha256(worker.encode()).digest())
    values = [said[worker] for worker in workers]
    none = np.empty((0, len(sources), len(names)), np.int8)
    return Answers(tuple(map(_letter, range(len(workers)))), np.stack(values) if values else none)


def _states(
    line: Mapping[str, Any], attribute: str | None
) -> list[tuple[str, tuple[Mapping[str, State], LabelSet]]]:
    found = manifest.attributes(line)
    name = attribute or (found[0] if len(found) == 1 else None)
    value = line.get(name) if name else None
    if not isinstance(value, dict) or not value.get(consolidate.FROM_ALL):
        return []
    given = value[consolidate.FROM_ALL]
    try:
        contents = {item["workerId"]: item["annotationData"]["content"] for item in given}
        label_set = (
            labels.from_data_object(line)
            if "labels" in line
            else consolidate.asked(contents.values())
        )
        if label_set is None:
            return []
        return [
            (str(worker), (consolidate.read_any(content, label_set).findings, label_set))
            for worker, content in contents.items()
        ]
    except (AnnotationError, LabelError, KeyError, TypeError):
        return []  # the examples were read from this line, so it is whole where it matters


def _code(states: Mapping[str, State], label_set: LabelSet, name: str) -> int:
    try:
        state = states.get(label_set.canonical(name))
    except LabelError:  # the job did not ask it
        return MISSING
    return MISSING if state is None else _CODES.get(state, MISSING)


def _letter(number: int) -> str:
    """Name a reader: A to Z, then AA, AB, and so on."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
