"""Ingest as tests want it: a folder of files into a PACS, and what was said of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr.ingest_rules import DEFAULTS, Severity
from cxr.pacs import Pacs, sources
from cxr.pacs.folder import FolderPacs
from cxr.pacs.ingest import Ingest


@dataclass(frozen=True)
class Ingested:
    """Counts, and the reasons against each file by its path; in the order of the paths."""

    stored: int
    present: int
    refused: tuple[tuple[str, str], ...]
    warned: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def ingest(
    source: Path | sources.Source,
    pacs: Pacs | None,
    root: Path | None = None,
    *,
    rules: Mapping[str, Severity] = DEFAULTS,
    **how: Any,
) -> Ingested:
    """Ingest a source; the data root is beside a folder PACS where none is given."""
    own = [pacs.folder] if isinstance(pacs, FolderPacs) else []
    root = root or own[0].with_name(f"{own[0].name}-root")
    if isinstance(source, Path):
        source = sources.Folder(source, without=[*own, root])
    with Ingest(root, pacs, severities=rules, **how) as run:
        done = run.run(source)
        said: dict[str, dict[str, str]] = {"error": {}, "warning": {}}
        for row in run.rows():
            of = said[row.severity]
            of[row.file] = "; ".join(filter(None, [of.get(row.file, ""), row.met]))
    assert len(said["error"]) == done.refused
    return Ingested(
        done.stored, done.present, tuple(said["error"].items()), tuple(said["warning"].items())
    )
