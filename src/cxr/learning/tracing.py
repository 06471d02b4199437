"""From an image, or a run, along everything that was made of it: the chain a reviewer asks for.

Pixels → answers → consolidated label → split → run → prediction, each by the file that says it.
Nothing is computed anew; where a hash can be compared with what it was, it is. All of it is
patient data and stays on the terminal of whoever has the data root.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cxr.contract import manifest
from cxr.errors import AbsentError, CxrError, DataError, RunError
from cxr.images.dicom import Instance
from cxr.learning import excerpt, predictions, predictor
from cxr.learning.predictor import RunRecord
from cxr.pacs import Pacs, finding

SCHEMA = "cxr-trace/1"
_OUTPUT = Path("manifests", "output", "output.manifest")


def of_image(root: Path, pacs: Pacs, name: str) -> dict[str, Any]:
    """Follow one image.

    Args:
        root: The data root.
        pacs: Where the image is; what files say of it is told even where it is no more.
        name: Its SOPInstanceUID, or Orthanc's ID of it.

    Returns:
        Plain JSON: `pixels`, `jobs` and `runs`.

    Raises:
        DataError: Nobody knows such an image.
    """
    instance = next(
        finding.several(pacs, [(name, "" if manifest.INSTANCE_ID.fullmatch(name) else name)]), None
    )
    names = {name} | ({instance.sop_instance_uid, instance.orthanc_id} if instance else set())
    jobs = list(_jobs(root, names))
    for job in jobs:
        names |= {job["source"], job["sop_instance_uid"]} - {""}
    runs = list(_runs(root, names))
    if instance is None and not jobs and not runs:
        raise DataError(
            f"sop_uid: expected an image of the PACS, a job or a run below {root}, met {name!r}"
        )
    uid = instance.sop_instance_uid if instance else _uid(names)
    return {
        "schema": SCHEMA,
        "sop_instance_uid": uid,
        "pixels": _pixels(root, pacs, instance, uid),
        "jobs": jobs,
        "runs": runs,
    }


def of_run(root: Path, name: str) -> dict[str, Any]:
    """Follow one run back to its data and forward to what was predicted with it.

    Args:
        root: The data root.
        name: Of its folder.

    Returns:
        Plain JSON: `data`, `run`, `evaluations`.

    Raises:
        RunError: There is no such run.
    """
    folder = root / "runs" / name
    if not (folder / predictor.RUN).is_file():
        there = ", ".join(sorted(p.parent.name for p in folder.parent.glob("*/run.json")))
        raise RunError(
            f"run: no run called {name!r} in {folder.parent}; there are {there or 'none yet'}"
        )
    record = predictor.load_run(folder)
    made = root / "jobs" / record.job / _OUTPUT
    return {
        "schema": SCHEMA,
        "name": record.name,
        "data": {
            "job": record.job,
            "label_set": record.label_set,
            "label_source": record.label_source,
            "manifest_sha256": record.manifest_sha256,
            "manifest_now": _compared(made, record.manifest_sha256),
            "examples_sha256": record.examples_sha256,
            "policy": dict(record.policy),
            "split": _split(folder),
        },
        "run": {
            "mlflow_run_id": record.run_id,
            "created": record.created,
            "seed": record.seed,
            "members": [_member(folder, one) for one in record.members],
            "versions": dict(record.versions),
            "checkpoint_sha256": _checkpoint(folder),
        },
        "evaluations": [_evaluated(path) for path in _evaluations(folder)],
    }


def _member(folder: Path, name: str) -> dict[str, Any]:
    """Tell of a member of an ensemble what its own folder in there says."""
    inner = folder / predictor.MEMBERS / name
    known = predictor.load_run(inner) if (inner / predictor.RUN).is_file() else None
    return {
        "name": name,
        "mlflow_run_id": known and known.run_id,
        "seed": known and known.seed,
        "checkpoint_sha256": _checkpoint(inner),
        "split": _split(inner),
    }


def _checkpoint(folder: Path) -> str | None:
    weights = folder / predictor.CHECKPOINT
    return _sha256(weights) if weights.exists() else None


def _split(folder: Path) -> dict[str, int]:
    splits = _column(folder / "split.csv", "split")
    return {part: splits.count(part) for part in sorted(set(splits))}


def _pixels(root: Path, pacs: Pacs, instance: Instance | None, uid: str) -> dict[str, Any]:
    now = None
    if instance is not None:
        try:
            now = hashlib.sha256(pacs.retrieve(instance)).hexdigest()
        except AbsentError:
            now = None
    return {
        "in_pacs": instance is not None,
        "orthanc_id": instance.orthanc_id if instance else None,
        "file_sha256": now,
        "decoded": [
            {
                "cache": recipe.folder,
                "image_size": list(recipe.image_size),
                "preset": recipe.preset,
                "pixels_sha256": entry.pixels_sha256,
                "of_this_file": None if now is None else entry.sha256 == now,
            }
            for recipe, entry in excerpt.holding(root / "cache", uid)
        ],
    }


def _jobs(root: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    """Find the image in every job, by its line of the input manifest."""
    for folder in sorted(path for path in (root / "jobs").glob("*") if path.is_dir()):
        for number, line in _lines(folder / "input.manifest", names):
            source = manifest.source(line)
            out = next((o for _, o in _lines(folder / _OUTPUT, {source})), None)
            yield {
                "job": folder.name,
                "source": source,
                "sop_instance_uid": str(line.get("sop-instance-uid", "")),
                "object": number,
                "answers": list(_answers(folder, number)),
                "label": None if out is None else _label(out, folder.name),
            }


def _lines(path: Path, names: set[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.exists():
        return
    for number, line in enumerate(manifest.read(path)):
        if manifest.source(line) in names or line.get("sop-instance-uid") in names:
            yield number, line


def _answers(folder: Path, number: int) -> Iterator[dict[str, Any]]:
    """Give who answered when; a correction is a later iteration of the same worker."""
    responses = folder / "annotations" / "worker-response"
    for path in sorted(responses.glob(f"iteration-*/{number}/*.json")):
        try:
            for answer in json.loads(path.read_text())["answers"]:
                yield {
                    "worker": answer.get("workerId"),
                    "submitted": answer.get("submissionTime"),
                    "present": _present(answer.get("answerContent")),
                    "file": str(path.relative_to(folder)),
                }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a worker's response: {error!r}") from error


def _present(content: Any) -> list[str] | None:
    """Name what an answer calls present; None where it is not of our own page."""
    try:
        said = json.loads(content["annotation"])
        return [f["label"] for f in said["findings"] if f["state"] == "present"]
    except (KeyError, TypeError, ValueError):
        return None


def _label(line: Mapping[str, Any], job: str) -> dict[str, Any] | None:
    names = manifest.attributes(line)
    attribute = job if job in names else names[0] if names else None
    try:
        read = manifest.labelled(line, attribute)
    except CxrError:
        return {"attribute": attribute, "states": None}
    if read is None:
        return None
    return {
        "attribute": attribute,
        "states": {label: str(state) for label, state in read.states.items()},
        "probabilities": dict(read.probabilities),
        "usable": read.usable,
        "label_source": read.label_source,
    }


def _runs(root: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    for folder in sorted(path.parent for path in (root / "runs").glob("*/run.json")):
        split = _role(folder, names)
        predicted = [_predicted(path, names) for path in _evaluations(folder)]
        predicted = [one for one in predicted if one]
        if split is None and not predicted:
            continue
        record = predictor.load_run(folder)
        yield {
            "run": record.name,
            "mlflow_run_id": record.run_id,
            "job": record.job,
            "split": split,
            "members": {
                name: _role(folder / predictor.MEMBERS / name, names) for name in record.members
            },
            "thresholds": _thresholds(record),
            "predictions": predicted,
        }


def _role(folder: Path, names: set[str]) -> str | None:
    return next(iter(_row(folder / "split.csv", names).values()), {}).get("split")


def _evaluations(folder: Path) -> list[Path]:
    found = [folder / "predictions.csv", *sorted(folder.glob("evaluations/*/predictions.csv"))]
    return [path for path in found if path.exists()]


def _predicted(path: Path, names: set[str]) -> dict[str, Any] | None:
    for uid, row in _row(path, names).items():
        values = {k: float(v) for k, v in row.items() if k != predictions.KEY}
        return {"of": _whose(path), "sop_instance_uid": uid, "probabilities": values}
    return None


def _whose(path: Path) -> str:
    """Say what was scored: the run's own split, or another job."""
    return "its own images" if path.parent.parent.name == "runs" else path.parent.name


def _evaluated(path: Path) -> dict[str, Any]:
    metrics = path.with_name("metrics.json")
    try:
        scored = json.loads(metrics.read_text()) if metrics.exists() else {}
    except ValueError as error:
        raise DataError(f"{metrics}: expected JSON: {error}") from error
    kept = ("split", "images", "patients", "auroc_macro", "auroc_macro_ci")
    return {
        "of": _whose(path),
        "predictions_sha256": _sha256(path),
        **{key: scored.get(key) for key in kept},
    }


def _thresholds(record: RunRecord) -> dict[str, float]:
    chosen = {label: one.get("threshold") for label, one in record.thresholds.items()}
    return {label: float(value) for label, value in chosen.items() if value is not None}


def _row(path: Path, names: set[str]) -> dict[str, dict[str, str]]:
    """Give the rows about these images, and no other: files may have a million."""
    return {row[predictions.KEY]: row for row in _table(path) if row.get(predictions.KEY) in names}


def _column(path: Path, name: str) -> list[str]:
    return [row.get(name, "") for row in _table(path)]


def _table(path: Path) -> Iterator[dict[str, str]]:
    if not path.exists():
        return
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV in UTF-8, met {error}") from error


def _compared(path: Path, before: str) -> str:
    if not path.exists():
        return "gone"
    return "the same" if _sha256(path) == before else "changed since"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _uid(names: set[str]) -> str:
    return next((n for n in sorted(names) if not manifest.INSTANCE_ID.fullmatch(n)), "")
