"""Which images a job is about: a PACS query, or a manifest, becomes its input manifest."""

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import LabelSet
from cxr.errors import CxrError, JobError, ManifestError, UnavailableError
from cxr.images.dicom import Instance
from cxr.labeling import companions
from cxr.pacs import Pacs, finding

ANSWERS = "answers.db"
"""File of a job that has begun at the portal."""
GROUND_TRUTH = "groundtruth.json"
"""File of a job that has begun in Ground Truth."""

_UIDS = ("sop-instance-uid", "study-instance-uid", "series-instance-uid")
_log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Manner:
    """How a job asks about its images.

    Attributes:
        label_set: What it asks.
        uids: The keys of UIDs that its lines have.
        shown: Of age, sex, indication: what readers are told; None where its lines say nothing.
        unit: `image` or `study`.
        companions: The kinds of images shown beside the one to label.
    """

    label_set: LabelSet
    uids: tuple[str, ...] = _UIDS
    shown: tuple[str, ...] | None = None
    unit: str = "image"
    companions: tuple[str, ...] = ()


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
        made = lines(listing)
        first = next(made, None)
        total = 0 if first is None else manifest.write(path, chain([first], made))
    part.replace(folder / "passed_over.csv")
    if first is None:
        hint = f"; {sum(passed.values())} have another view ({dict(passed)})" if passed else ""
        raise JobError(
            f"expected instances that match {dict(query)} with view {' or '.join(views)}, "
            f"met none{hint}; bring some in with python -m cxr.ingest folder=…"
        )
    return Selection(path, total, dict(passed))


def from_manifest(folder: Path, existing: Path, label_set: LabelSet) -> Selection:
    """Copy an existing input manifest, checking each line; one without labels gets the set's.

    An output manifest is welcome too: its earlier labels pass through (chaining).

    Raises:
        ManifestError: A line is not a data object, or its source no Orthanc instance ID.
        LabelError: A line's own labels are not a label set.
        JobError: They differ from another line's, or there is no line.
    """
    if next(manifest.read(existing), None) is None:
        raise JobError(f"{existing}: expected data objects, met an empty manifest")

    def lines() -> Iterator[dict[str, Any]]:
        first: LabelSet | None = None
        for number, line in enumerate(manifest.read(existing), 1):
            source = line.get("source")
            if source and not manifest.INSTANCE_ID.fullmatch(str(source)):
                raise ManifestError(
                    f"{existing}: data object {number}: expected an Orthanc instance ID as "
                    f"source, met {str(source)[:80]!r}; use source-ref for an s3:// address"
                )
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
    return Selection(path, manifest.write(path, lines(), max_line=None), {})


def begun(folder: Path, label_set: LabelSet) -> Selection | None:
    """Give the images of a job that has begun: they stay as they are, whatever matches now.

    Returns:
        None where the job has not begun.

    Raises:
        JobError: It began with other labels.
    """
    path = folder / "input.manifest"
    started = any((folder / name).exists() for name in (ANSWERS, GROUND_TRUTH))
    if not started or not path.exists():
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


def manner(lines: Iterable[Mapping[str, Any]], label_set: LabelSet) -> Manner:
    """Say how a job asks about its own images, by its lines and not by what is configured now.

    Args:
        lines: Of its input manifest.
        label_set: What is asked where no line says it.
    """
    asked: LabelSet | None = None
    uids: set[str] = set()
    told: set[str] | None = None
    kinds: set[str] = set()
    unit = "image"
    for line in lines:
        if asked is None and "labels" in line:
            asked = labels.from_data_object(line)
        uids |= line.keys() & set(_UIDS)
        if isinstance(shown := line.get("shown"), Mapping):
            told = (told or set()) | set(shown)
        if line.get("unit") == "study":
            unit = "study"
        beside = line.get("companions")
        kinds |= {str(other["kind"]) for other in beside} if isinstance(beside, list) else set()
    return Manner(
        asked or label_set,
        tuple(key for key in _UIDS if key in uids),
        None if told is None else tuple(sorted(told)),
        unit,
        tuple(sorted(kinds)),
    )


def unheeded(kept: Manner, shown: Sequence[str], unit: str) -> str | None:
    """Say in a sentence where lines hold something else than what is configured; None is nowhere.

    Args:
        kept: Of the job's lines, which stay as they are.
        shown: The config's `job.show`.
        unit: The config's `job.unit`.
    """
    if set(kept.shown or ()) == set(shown) and kept.unit == unit:
        return None
    return (
        f"job.show=[{', '.join(shown)}] and job.unit={unit} change nothing here: the job's lines "
        f"keep what they have, show=[{', '.join(kept.shown or ())}] and unit={kept.unit}"
    )


def known(path: Path, pacs: Pacs, own: Manner) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Make tasks of images whose answer is known, that look like all others of a job.

    Args:
        path: An output manifest; lines without a label are passed over, and so are, with a
            warning, those whose image the PACS does not hold or that cannot be read.
        pacs: Where the images are.
        own: How the job asks about its own images.

    Yields:
        What is asked, and the whole line.

    Raises:
        ManifestError: A line that is none, or has several label attributes.
        UnavailableError: The PACS does not answer.
    """
    passed: list[str] = []
    for line in manifest.read(path):
        if manifest.labelled(consolidate.completed(line)) is None:
            continue
        try:
            asked = _asked(pacs.find(manifest.source(line)), pacs, own)
        except UnavailableError:
            raise  # a PACS that is away says nothing about an image
        except (CxrError, OSError) as error:
            passed.append(f"{manifest.source(line)}: {error}")
            continue
        yield asked, line
    if passed:
        _log.warning(
            "%s: %d known images cannot be asked about and are passed over, first %s",
            path, len(passed), passed[0],
        )  # fmt: skip


def _asked(instance: Instance, pacs: Pacs, own: Manner) -> dict[str, Any]:
    """Ask about an image as a job's own lines do, whatever another line says of it."""
    line = data_object(instance, own.label_set)
    asked = {key: value for key, value in line.items() if key not in _UIDS or key in own.uids}
    if own.shown is not None:
        asked["shown"] = companions.shown(instance, pacs, own.shown)
    if own.unit == "study":
        asked["unit"] = own.unit
        asked["companions"] = companions.of(instance, pacs, own.companions)
    return asked


def unknown_sources(lines: Iterable[Mapping[str, Any]], pacs: Pacs) -> list[str]:
    """Name the images of a manifest that the PACS does not hold."""
    wanted = [(manifest.source(line), str(line.get("sop-instance-uid", ""))) for line in lines]
    found = finding.several(pacs, wanted)
    return [source for (source, _), instance in zip(wanted, found, strict=True) if not instance]


def data_object(instance: Instance, label_set: LabelSet) -> dict[str, Any]:
    """Make the manifest line of one instance; it holds no patient ID."""
    return {
        "source": instance.orthanc_id,
        **labels.to_data_object(label_set),
        "sop-instance-uid": instance.sop_instance_uid,
        "study-instance-uid": instance.study_instance_uid,
        "series-instance-uid": instance.series_instance_uid,
    }
