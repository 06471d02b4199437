"""Fetch what a training job left: the run and its model into the run's folder, MLflow into ours."""

import json
import logging
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cxr.errors import RunError
from cxr.infra import tracking, tracking_copy
from cxr.infra.aws import Account, MissingError, objects
from cxr.infra.sagemaker.order import Order

MOST_FILES, MOST_BYTES = 100_000, 64 << 30
"""In a model's archive, unpacked."""
_log = logging.getLogger(__name__)
_TRACKED = ("run.json", "metrics.json", "model.onnx", "model-card.md", "model-card.json")
"""Of the run, what MLflow keeps as well; predictions and pictures of patients are not among it."""


def fetch(account: Account, order: Order, described: Mapping[str, Any]) -> None:
    """Fetch run and model into the run's folder; again does no harm.

    Args:
        account: Where the job ran.
        order: Its run.
        described: What DescribeTrainingJob says.

    Raises:
        RunError: The job left no run, or a model that cannot be unpacked.
        AwsError: What it left may not be read.
    """
    folder = order.folder
    base = _run(order, described)
    _checkpointed(account, base, folder)
    order.restore(folder)
    model = str(described.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""))
    archive = folder / ".model.tar.gz"
    try:
        objects.download(account, model, archive)
        _unpack(archive, folder, model)
    except MissingError:
        _log.warning("%s: the job left no model.tar.gz", model)
    finally:
        archive.unlink(missing_ok=True)
    if not (folder / "run.json").is_file() or not (folder / "best.ckpt").is_file():
        raise RunError(
            f"{described['TrainingJobName']}: expected run.json and best.ckpt below {base} or in "
            "model.tar.gz, met none; see the job's log"
        )


def partial(account: Account, order: Order, described: Mapping[str, Any]) -> bool:
    """Fetch what a job that did not complete left of its run, and say whether it is a model.

    Args:
        account: Where the job ran.
        order: Its run.
        described: What DescribeTrainingJob says.

    Raises:
        AwsError: What it left may not be read.
    """
    base = _run(order, described)
    left = {uri.removeprefix(base) for uri, _ in objects.below(account, base)}
    if not {"best.ckpt", "run.json"} <= left:
        return False
    _checkpointed(account, base, order.folder)
    order.restore(order.folder)
    return True


def imported(account: Account, order: Order, described: Mapping[str, Any]) -> str:
    """Copy the job's MLflow run into the tracking store of this machine, and give its ID here.

    Nothing is copied where the job tracked to a server itself.
    """
    record = json.loads((order.folder / "run.json").read_text())
    if not order.isolated:
        return str(record["run_id"])
    with tempfile.TemporaryDirectory(dir=order.root) as scratch:
        database = Path(scratch) / "mlflow.db"
        objects.download(account, f"{_checkpoints(described)}/runs/mlflow.db", database)
        run_id = tracking_copy.copy(
            f"sqlite:///{database}", record["run_id"], order.tracking_uri,
            experiment=order.experiment, artifacts=order.root / "mlartifacts",
            tags={"sagemaker.job": str(described["TrainingJobName"])},
        )  # fmt: skip
    run = tracking.resume(order.tracking_uri, run_id)
    record["run_id"] = run_id
    (order.folder / "run.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    for name in _TRACKED:
        if (order.folder / name).is_file():
            run.artifact(order.folder / name)
    shareable = order.folder / "report-without-pictures.html"
    report = shareable if shareable.is_file() else order.folder / "report.html"
    if report.is_file():
        run.artifact(report)
    for figure in sorted((order.folder / "figures").glob("*.svg")):
        run.artifact(figure, "figures")
    order.adopt(run, order.folder)
    run.finish("FINISHED")
    return run_id


def score(order: Order) -> float:
    """Give the objective of the epoch that the fetched run kept, which a sweep maximises."""
    kept = json.loads((order.folder / "run.json").read_text()).get("kept") or {}
    if not isinstance(kept.get("score"), float):
        raise RunError(f"{order.name}: its run.json does not say how good the epoch it kept is")
    return float(kept["score"])


def _checkpoints(described: Mapping[str, Any]) -> str:
    return str(described["CheckpointConfig"]["S3Uri"]).rstrip("/")


def _run(order: Order, described: Mapping[str, Any]) -> str:
    return f"{_checkpoints(described)}/runs/{order.name}/"


def _checkpointed(account: Account, base: str, folder: Path) -> None:
    """Fetch what SageMaker copied of the run while it trained."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for uri, _ in objects.below(account, base):
        name = uri.removeprefix(base)
        relative = PurePosixPath(name)
        hidden = any(part.startswith(".") for part in relative.parts)  # cut off; ..
        folders = not name or name.endswith("/")  # consoles store folders as empty objects
        if not hidden and not folders and not relative.is_absolute():
            objects.download(account, uri, folder / relative)


def _unpack(path: Path, folder: Path, uri: str) -> None:
    """Write the files of a tar archive; nothing outside the folder, no links (PEP 706).

    Raises:
        RunError: It is damaged, or too large to be a model.
    """
    count = size = 0
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            for member in archive:
                count, size = count + 1, size + member.size
                if count > MOST_FILES or size > MOST_BYTES:
                    raise RunError(
                        f"{uri}: expected at most {MOST_FILES} files of {MOST_BYTES >> 30} GiB "
                        f"together, met more; what was copied while it trained is in {folder}"
                    )
                if member.isfile() or member.isdir():
                    member.mode = 0o700 if member.isdir() else 0o600
                    archive.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise RunError(
            f"{uri}: expected an archive of the model, met one that cannot be unpacked ({error}); "
            f"what was copied while it trained is in {folder}"
        ) from error
