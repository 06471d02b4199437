"""Which images a job is about: a PACS query, or a manifest, becomes its input manifest."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import LabelSet
from cxr.errors import JobError, PacsError
from cxr.images.dicom import Instance
from cxr.labeling import companions
from cxr.pacs import Pacs
from cxr.pacs.folder import FolderPacs

ANSWERS = "answers.db"
"""File of a job that has begun."""


@dataclass(frozen=True)
class Selection:
    """What became of a query.

    Attributes:
        path: The input manifest.
        total: Data objects in it.
        passed_over: View → images left out because of it; listed in `passed_over.csv`.
    """

    path: Path
    total: int
    passed_over: Mapping[str, int]


def from_query(
    folder: Path,
    pacs: Pacs,
    *,
    query: Mapping[str, Any],
    views: Sequence[str],
    label_set: LabelSet,
    max_objects: int | None = None,
    shown: Sequence[str] = (),
    study_companions: Sequence[str] | None = None,
) -> Selection:
    """Write the input manifest of all instances that a query finds.

    Args:
        folder: The job's.
        pacs: Where to search.
        query: QIDO-RS matching keys, such as `{"Modality": ["CR", "DX"]}`.
        views: Of frontal, lateral, unknown: which to take; the others are listed.
        label_set: What is asked of each image.
        max_objects: Take at most so many.
        shown: Of age, sex, indication: what readers are told beside the image.
        study_companions: None makes a task of each image; else one of each study, with its other
            images of these kinds (lateral, frontal, prior) beside it.

    Raises:
        PacsError: The query has a key the PACS does not know.
        JobError: Nothing was found.
    """
    passed: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "passed_over.csv.part"

    def line(instance: Instance) -> dict[str, Any]:
        made = data_object(instance, label_set)
        if shown:
            made["shown"] = companions.shown(instance, pacs, shown)
        if study_companions is not None:
            made["unit"] = "study"
            made["companions"] = companions.of(instance, pacs, study_companions)
        return made

    def lines(listing: Any) -> Iterator[dict[str, Any]]:
        taken = 0
        for instance, stands in companions.studies(pacs.search(**query), views):
            if instance.view not in views or (study_companions is not None and not stands):
                why = instance.view if instance.view not in views else f"further {instance.view}"
                passed[why] += 1
                listing.writerow([instance.sop_instance_uid, instance.orthanc_id, why])
            elif max_objects is None or taken < max_objects:
                taken += 1
                yield line(instance)

    with part.open("w", newline="") as file:
        listing = csv.writer(file)
        listing.writerow(["sop_instance_uid", "source", "view"])
        path = folder / "input.manifest"
        found = list(lines(listing))
    part.replace(folder / "passed_over.csv")
    if not found:
        hint = f"; {sum(passed.values())} have another view ({dict(passed)})" if passed else ""
        raise JobError(
            f"expected instances that match {dict(query)} with view {' or '.join(views)}, "
            f"met none{hint}; bring some in with python -m cxr.ingest folder=…"
        )
    return Selection(path, manifest.write(path, found), dict(passed))


def from_manifest(folder: Path, existing: Path, label_set: LabelSet) -> Selection:
    """Copy an existing input manifest, checking each line; one without labels gets the set's.

    An output manifest is welcome too: its earlier labels pass through (chaining).

    Raises:
        ManifestError: A line is not a data object.
        LabelError: A line's own labels are not a label set.
        JobError: They differ from another line's, or there is no line.
    """
    if next(manifest.read(existing), None) is None:
        raise JobError(f"{existing}: expected data objects, met an empty manifest")

    def lines() -> Iterator[dict[str, Any]]:
        first: LabelSet | None = None
        for line in manifest.read(existing):
            if "labels" not in line:
                line |= labels.to_data_object(label_set)
            own = labels.from_data_object(line)
            first = first or own
            if own.names != first.names:
                raise JobError(
                    f"{existing}: expected the same labels on every line, met {own.names} "
                    f"after {first.names}"
                )
            yield line

    path = folder / "input.manifest"
    return Selection(path, manifest.write(path, lines()), {})


def begun(folder: Path, label_set: LabelSet) -> Selection | None:
    """Give the images of a job that has begun: they stay as they are, whatever matches now.

    Returns:
        None where the job has not begun.

    Raises:
        JobError: It began with other labels.
    """
    path = folder / "input.manifest"
    if not (folder / ANSWERS).exists() or not path.exists():
        return None
    total, first = 0, None
    for line in manifest.read(path):
        total, first = total + 1, first or labels.from_data_object(line)
    if first is not None and first.names != label_set.names:
        raise JobError(
            f"job {folder.name!r} began with label set {first.name!r} ({len(first.names)} labels), "
            f"met {label_set.name!r} ({len(label_set.names)} labels); choose another job.name"
        )
    return Selection(path, total, {})


def known(
    path: Path, pacs: FolderPacs, label_set: LabelSet, *, shown: Sequence[str] = (), unit: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Make tasks of images whose answer is known, that look like all others of a job.

    Args:
        path: An output manifest; lines without a label, or whose image the PACS does not hold,
            are passed over.
        pacs: Where the images are.
        label_set: What the job asks.
        shown: Of age, sex, indication: what its readers are told.
        unit: `image` or `study`.

    Yields:
        What is asked, and the whole line.

    Raises:
        ManifestError: A line that is none, or has several label attributes.
    """
    for line in manifest.read(path):
        if manifest.labelled(consolidate.completed(line)) is None or unknown_sources([line], pacs):
            continue
        (name,) = manifest.attributes(line)
        left = {name, name + manifest.METADATA, "shown", "unit"}
        left |= {"companions"} if unit == "image" else set()
        asked = {k: v for k, v in line.items() if k not in left} | labels.to_data_object(label_set)
        if unit == "study":
            asked = {"companions": []} | asked | {"unit": unit}
        if shown:
            instance = pacs.find(manifest.source(line))
            asked["shown"] = companions.shown(instance, pacs, shown)
        yield asked, line


def unknown_sources(lines: Iterable[Mapping[str, Any]], pacs: FolderPacs) -> list[str]:
    """Name the images of a manifest that the PACS does not hold."""
    unknown = []
    for line in lines:
        try:
            pacs.find(manifest.source(line))
        except PacsError:
            unknown.append(manifest.source(line))
    return unknown


def data_object(instance: Instance, label_set: LabelSet) -> dict[str, Any]:
    """Make the manifest line of one instance; it holds no patient ID."""
    return {
        "source": instance.orthanc_id,
        **labels.to_data_object(label_set),
        "sop-instance-uid": instance.sop_instance_uid,
        "study-instance-uid": instance.study_instance_uid,
        "series-instance-uid": instance.series_instance_uid,
    }
