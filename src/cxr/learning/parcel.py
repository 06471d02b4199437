"""What a training job elsewhere is sent of a labelled job, and how it is read there.

Two folders. `cache` has the images decoded, these alone, and who they are; it is the same for
every run on them. `manifest` has their labels and who is tested on. Both are patient data, and
name nobody: PatientIDs, StudyInstanceUIDs and SOPInstanceUIDs go under the root's own pseudonyms;
dates, sex, age, series, hashes of files and Orthanc IDs (a hash of the PatientID beside the UIDs it
was made with) stay at home, as do answers, comments, regions and whoever gave them. split.csv and
predictions.csv come back under the pseudonyms, and `restore` puts the SOPInstanceUIDs back.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.contract import manifest
from cxr.contract.labels import ANSWERS, to_data_object
from cxr.errors import DataError
from cxr.learning import cache, excerpt, folds, predictions
from cxr.learning.material import Material
from cxr.pacs import shipped

MANIFEST, SPLIT, SAID, AGREEMENT = "output.manifest", "split.csv", "parcel.json", "agreement.json"
SCHEMA = "cxr-parcel/1"


@dataclass(frozen=True)
class Said:
    """What is known of a job at home alone.

    Attributes:
        manifest_sha256: Of its output manifest.
        left_out: As in `Cohort`.
        drawn: All its images are synthetic.
    """

    manifest_sha256: str
    left_out: Mapping[str, int]
    drawn: bool


def digest(ready: Material, pseudonym: Callable[[str], str], *, preset: str) -> str:
    """Name a parcel's images by what is in it, without making it: 32 hex digits."""
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
        pseudonym: Of a PatientID, a StudyInstanceUID or a SOPInstanceUID, in hex digits.
        cache_folder: Parent of this machine's caches.
        target: An empty folder.
        preset: Of the images.
    """
    size = (ready.images.shape[1], ready.images.shape[2])
    excerpt.extract(
        cache_folder, ready.sop_instance_uids, target, size, preset,
        lambda uid: shipped.uid(uid, pseudonym),
    )  # fmt: skip
    (target / shipped.NAME).write_text("".join(_lines(ready, pseudonym)))
    return sorted(path for path in target.rglob("*") if path.is_file() and path.name != "lock")


def _lines(ready: Material, pseudonym: Callable[[str], str]) -> list[str]:
    return list(shipped.lines(ready.cohort.instances, pseudonym))


def write_labels(
    ready: Material,
    splits: NDArray[np.str_],
    pseudonym: Callable[[str], str],
    target: Path,
    *,
    attribute: str,
    drawn: bool,
    agreement: Path | None = None,
) -> list[Path]:
    """Write the labels of a job and who is tested on, and give the files.

    Args:
        ready: The job.
        splits: (N) of `train`, `val`, `test`: pseudonyms would be divided otherwise.
        pseudonym: As for `write`.
        target: An empty folder.
        attribute: The label attribute that the config names, or any other name.
        drawn: All images are synthetic.
        agreement: The job's agreement.json, if there is one; how far any two readers agree stays
            at home, for it names them.
    """
    uids = [shipped.uid(uid, pseudonym) for uid in ready.sop_instance_uids]
    manifest.write(target / MANIFEST, _labelled(ready, uids, attribute))
    folds.save(target / SPLIT, uids, splits)
    said = {
        "schema": SCHEMA,
        "manifest_sha256": ready.manifest_sha256,
        "left_out": dict(ready.cohort.left_out),
        "drawn": drawn,
    }
    predictions.replace_text(target / SAID, json.dumps(said, indent=1) + "\n")
    files = [target / MANIFEST, target / SPLIT, target / SAID]
    if agreement is not None and agreement.exists():
        document = json.loads(agreement.read_text())
        for row in document.get("labels", {}).values():
            row.pop("pairs", None)
        predictions.replace_text(target / AGREEMENT, json.dumps(document, indent=1) + "\n")
        files.append(target / AGREEMENT)
    return files


def _labelled(ready: Material, uids: Sequence[str], attribute: str) -> Iterator[dict[str, Any]]:
    cohort = ready.cohort
    meta = manifest.metadata(
        attribute, human_annotated=cohort.human_annotated, created=datetime.fromtimestamp(0, UTC)
    )
    meta["label-source"] = cohort.label_source
    if cohort.consolidation:
        meta["consolidation"] = " + ".join(cohort.consolidation)
    for uid, example in zip(uids, cohort.examples, strict=True):
        findings: list[dict[str, Any]] = [
            {"label": name, "state": str(state)}
            for name, state in zip(cohort.names, example.states, strict=True)
        ]
        for item, p in zip(findings, example.probabilities, strict=False):
            item["probability"] = p
        for item, votes in zip(findings, example.votes, strict=False):
            item["votes"] = dict(zip(map(str, ANSWERS), votes, strict=True))
        yield {
            "source": uid,
            "sop-instance-uid": uid,
            **to_data_object(cohort.labels),
            attribute: {"schema": manifest.SCHEMA, "findings": findings, "usable": True},
            attribute + manifest.METADATA: meta,
        }


def restore(folder: Path, cache_folder: Path, pseudonym: Callable[[str], str]) -> None:
    """Put SOPInstanceUIDs back into the tables of a run that was trained elsewhere.

    Again does no harm. An image that no cache here has any more keeps its pseudonym.

    Args:
        folder: The run's.
        cache_folder: Parent of this machine's caches.
        pseudonym: As it was sent with.
    """
    known = {shipped.uid(uid, pseudonym): uid for uid in excerpt.known_uids(cache_folder)}
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        if rows and rows[0][:1] == [predictions.KEY]:
            made = io.StringIO(newline="")
            named = ([known.get(cell, cell) for cell in row[:1]] + row[1:] for row in rows)
            csv.writer(made, lineterminator="\n").writerows(named)
            predictions.replace_text(path, made.getvalue())


def said(folder: Path) -> Said | None:
    """Read, beside an output manifest, what a parcel says of the job; None where it is none.

    Raises:
        DataError: It cannot be read.
    """
    path = folder / SAID
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text())
        return Said(
            str(document["manifest_sha256"]), dict(document["left_out"]), document["drawn"] is True
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected what a training job is told of its labels: {error!r}"
        ) from error


def told(ready: Material, folder: Path) -> Material:
    """Put what a parcel says, if the manifest in `folder` is of one, where it was at home."""
    known = said(folder)
    if known is None:
        return ready
    cohort = replace(ready.cohort, left_out=known.left_out)
    return replace(ready, cohort=cohort, manifest_sha256=known.manifest_sha256)
