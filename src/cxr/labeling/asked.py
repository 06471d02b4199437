"""From a command's config to a labeling job and its images."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.contract import labels, manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Checks, Existing, Job, Page, Reader, selection
from cxr.labeling.selection import Selection
from cxr.pacs import Pacs

if TYPE_CHECKING:
    from cxr import schema

_log = logging.getLogger(__name__)


def job(cfg: "schema.Label", folder: Path) -> Job:
    """Make the job that a config asks for.

    Args:
        cfg: Of the command.
        folder: The data root.
    """
    given = cfg.labels
    existing = cfg.job.answers and Existing(
        Path(cfg.job.answers), cfg.job.key, cfg.job.key_column, cfg.job.column,
        cfg.job.unlisted, cfg.job.label_source,
        Path(cfg.job.boxes) if cfg.job.boxes else None,
    )  # fmt: skip
    return Job(
        name=cfg.job.name,
        folder=folder / "jobs" / cfg.job.name,
        labels=LabelSet(
            given.name, tuple(given.names), given.no_finding, tuple(given.compatible),
            {parent: tuple(names) for parent, names in given.parents.items()}, given.aliases,
            given.not_mentioned,
        ),
        readers=tuple(
            Reader(
                r.id, r.script.model_dump() if r.script else None, r.name, r.email, tuple(r.roles)
            )
            for r in cfg.team.readers
        ),
        workers_per_object=cfg.job.workers_per_object,
        consolidation=cfg.job.consolidation,
        task_time_limit_s=cfg.job.task_time_limit_s,
        closes=cfg.job.closes,
        page=Page(
            cfg.job.instructions,
            tuple((Path(example.image), example.caption) for example in cfg.job.examples),
            None if cfg.job.tools is None else tuple(cfg.job.tools),
            tuple(cfg.job.ask_roi),
            {name: (center, width) for name, (center, width) in cfg.job.windows.items()},
            cfg.job.keys,
            {str(button): tool for button, tool in cfg.job.mouse.items()},
            cfg.job.comments,
        ),
        checks=Checks(
            Path(cfg.job.honeypots.manifest) if cfg.job.honeypots else None,
            cfg.job.honeypots.share if cfg.job.honeypots else 0.0,
            cfg.job.repeats,
        ),
        shown=tuple(cfg.job.show),
        unit=cfg.job.unit,
        truth=folder / "synthetic" / "truth.csv" if cfg.job.synthetic else None,
        existing=existing or None,
    )  # fmt: skip


def select(cfg: "schema.Label", job: Job, pacs: Pacs, folder: Path) -> tuple[Selection, Job]:
    """Write the input manifest; an existing one brings its own label set.

    Args:
        cfg: Of the command.
        job: Whose images they are.
        pacs: Where they are.
        folder: The data root.

    Returns:
        The selection, and the job with the label set that is asked.

    Raises:
        JobError: No image was found, or the job began otherwise.
        ManifestError: The manifest cannot be read.
    """
    if cfg.job.manifest:
        first = next(manifest.read(Path(cfg.job.manifest)), {})
        if "labels" in first:
            job = replace(job, labels=labels.from_data_object(first))
    selected = selection.begun(job.folder, job.labels)
    if selected:
        _log.info("job %s goes on with its images; a new job.name takes others", job.name)
    elif cfg.job.manifest:
        selected = selection.from_manifest(job.folder, Path(cfg.job.manifest), job.labels)
        # what is in S3 already is opened from there, by Ground Truth
        ours = (line for line in manifest.read(selected.path) if "source" in line)
        unknown = selection.unknown_sources(ours, pacs)
        if unknown:
            _log.warning(
                "%d of %d images are not in %s: readers can only skip them",
                len(unknown), selected.total, pacs.name,
            )  # fmt: skip
    else:
        return _query(cfg, job, pacs, folder), job
    asked = cfg.job.show or cfg.job.unit == "study"
    if asked or not cfg.job.manifest:  # a manifest's lines may well show what no config asks for
        own = selection.manner(manifest.read(selected.path), job.labels)
        if unheeded := selection.unheeded(own, cfg.job.show, cfg.job.unit):
            _log.warning("%s", unheeded)
    return selected, job


def _query(cfg: "schema.Label", job: Job, pacs: Pacs, folder: Path) -> Selection:
    if cfg.job.synthetic:
        from cxr.pacs import synthetic

        wanted = cfg.job.synthetic
        synthetic.draw_into(
            pacs, folder / "synthetic" / "truth.csv",
            images=wanted.images, seed=wanted.seed, size=(wanted.rows, wanted.columns),
        )  # fmt: skip
    return selection.from_query(
        job.folder, pacs, query=cfg.job.query, views=cfg.job.views, label_set=job.labels,
        max_objects=cfg.job.max_objects, shown=cfg.job.show,
        study_companions=cfg.job.companions if cfg.job.unit == "study" else None,
    )  # fmt: skip
