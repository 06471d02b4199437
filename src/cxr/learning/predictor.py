"""A run folder → probabilities: label names, preprocessing, weights and calibration in one.

Always float32, even where training used bfloat16, and without the shortcut of GPUs that rounds
it to ten bits (TF32): the same image then gives the same probability up to rounding, about 1e-5,
on every machine and in ONNX, and thresholds stay true. The AUROC logged in training may differ
from these in the third digit.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr import NOTE
from cxr.contract import labels
from cxr.contract.labels import LabelSet
from cxr.errors import LabelError, RunError
from cxr.learning import answering, exporting, predictions, weights
from cxr.learning.answering import Answer, Logits, Move
from cxr.learning.model import build_net

SCHEMA = "cxr-run/1"

RUN, CHECKPOINT, ONNX, MEMBERS = "run.json", "best.ckpt", "model.onnx", "members"
_RECORDED = ("cxr", "torch", "pytorch-lightning", "monai", "numpy", "pydicom", "mlflow")


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says of a run.

    Attributes:
        name: Of the run and its folder.
        run_id: MLflow's.
        label_names: L names, in column order.
        label_set: Its name.
        label_source: As in `examples.Cohort`.
        no_finding: The label that is reported but never averaged, or None.
        image_size: (H, W) in pixels.
        preset: As in `images.dicom.read`.
        net: Config of `model.build_net`, resolved.
        job: Labeling job the examples came from.
        manifest_sha256: Of its output manifest.
        examples_sha256: Of pictures and targets, see `Material.sha256`.
        seed: Of everything.
        counts: `train`, `val`, `test` → images.
        thresholds: Label → what `evaluation.operating.choose` chose on val.
        policy: What uncertain and not_mentioned became, see `targets.Policy`.
        settings: Key → value of all that a resume must not change.
        labels: The label set as a manifest line carries it (`labels.to_data_object`); empty in
            runs of before, whose answers are not made consistent.
        standardize: The net is shown images of mean 0 and deviation 1.
        tta: How each image is moved for the answers that are averaged; empty asks once.
        calibration: Label → `method`, `slope`, `intercept`, fitted on val.
        weights: What it began with (`weights.Taken.counts`); empty where the seed made it all.
        members: Names of the runs an ensemble averages, in its folder; empty for one run.
        machine: What it was trained on, see `learning.machine`.
        kept: Whose weights `best.ckpt` holds: `which` (best or last), `epoch`, the objective's
            `score` there, and the decay of the running mean they are (`ema`), or None.
        versions: Package → version.
        created: ISO 8601, UTC.
    """

    name: str
    run_id: str
    label_names: tuple[str, ...]
    label_set: str
    label_source: str
    no_finding: str | None
    image_size: tuple[int, int]
    preset: str
    net: Mapping[str, Any]
    job: str
    manifest_sha256: str
    seed: int
    counts: Mapping[str, int]
    examples_sha256: str = ""
    thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    standardize: bool = False
    tta: tuple[Move, ...] = ()
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def consistent(self) -> bool:
        """Whether its answers obey its label set; those of before, which do not say, do."""
        return bool(self.policy.get("consistent", True))


def versions() -> dict[str, str]:
    """Name what a result depends on, with versions."""
    found = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # cxr itself, run from a checkout
            continue
    return found


def save_run(run_folder: Path, record: RunRecord) -> Path:
    """Write `run.json`, whole or not at all; write it again once thresholds are chosen."""
    run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run_folder / RUN
    document = {"schema": SCHEMA, "note": NOTE, **asdict(record)}
    predictions.replace_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def load_run(run_folder: Path) -> RunRecord:
    """Read `run.json`.

    Raises:
        RunError: There is none, or it is not of this schema.
    """
    path = run_folder / RUN
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise RunError(f"{path}: expected the record of a training run, met none") from error
    except ValueError as error:
        raise RunError(f"{path}: expected JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise RunError(f'{path}: expected "schema": "{SCHEMA}"')
    known = {f.name for f in fields(RunRecord)}
    try:
        document["label_names"] = tuple(document["label_names"])
        height, width = document["image_size"]
        document["image_size"] = (int(height), int(width))
        document["members"] = tuple(document.get("members", ()))
        document["tta"] = tuple(
            (float(right), float(down), float(zoom), bool(mirrored))
            for right, down, zoom, mirrored in document.get("tta", ())
        )
        return RunRecord(**{k: v for k, v in document.items() if k in known})
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: {error!r}") from error


def there_are(runs: Path) -> str:
    """Name the runs that can be asked, for a message; what failed before its first epoch cannot."""
    found = (p.parent for p in runs.glob(f"*/{RUN}"))
    able = [p.name for p in found if (p / CHECKPOINT).is_file() or (p / MEMBERS).is_dir()]
    return f"there are {', '.join(sorted(able)) or 'none yet'}"


def label_set(record: RunRecord) -> LabelSet | None:
    """Read the run's label set; None in runs of before, which kept its names alone.

    Raises:
        RunError: It is not of the run's labels.
    """
    if not record.labels:
        return None
    try:
        found = labels.from_data_object(record.labels)
    except LabelError as error:
        raise RunError(f"{RUN} of {record.name!r}: labels: {error}") from error
    if found.names != record.label_names:
        raise RunError(f"{RUN} of {record.name!r}: labels: expected those of label_names")
    return found


class Predictor:
    """Trained nets with what they need to be asked.

    Attributes:
        record: What `run.json` says; set another one to answer by its calibration.
        members: (B, 1, H, W) float32, as `inputs` gives them → logits (B, L), in eval mode; more
            than one in an ensemble.
    """

    def __init__(
        self, record: RunRecord, net: nn.Module | Sequence[nn.Module], device: str = "auto"
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.record = record
        self._device = torch.device(device)
        nets = [net] if isinstance(net, nn.Module) else net
        self.members = tuple(
            member.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            for member in nets
        )

    @classmethod
    def load(cls, run_folder: Path, device: str = "auto") -> "Predictor":
        """Load `run.json` and the weights; a checkpoint is read as tensors, never as code.

        Args:
            run_folder: Of one training run, or of an ensemble.
            device: `auto`, `cpu`, `cuda`.

        Raises:
            RunError: One of them is missing, or they do not belong together.
        """
        record = load_run(run_folder)
        folders = [run_folder / MEMBERS / name for name in record.members] or [run_folder]
        nets = [_net(folder, load_run(folder)) for folder in folders]
        return cls(record, nets, device)

    @property
    def net(self) -> nn.Module:
        """The first member; of one run the only one."""
        net: nn.Module = self.members[0]
        return net

    def predict(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Give the probability of each label: calibrated, and consistent with the others.

        Args:
            images: (N, H, W) from `decoding.decode` or `Cache.images`.
            batch_size: Images at once.

        Returns:
            (N, L) in [0, 1].

        Raises:
            RunError: The images are of another size than the net was trained on.
        """
        return self.probabilities(self.logits(images, batch_size))

    def logits(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float64]:
        """Give the mean of what all members say of all views, before any calibration.

        Takes and raises as `predict`.

        Returns:
            (N, L)
        """
        asked = self._asked()
        batch_size = max(1, batch_size // max(1, len(self.record.tta)))  # of every view at once
        parts = [np.empty((0, len(self.record.label_names)))]
        with torch.inference_mode(), _exact():
            for image in self._batches(images, batch_size):
                parts.append(asked(image).double().cpu().numpy())
        return np.concatenate(parts)

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float32]:
        """Make of `logits` what `predict` gives, (N, L) each."""
        with torch.inference_mode():
            given: Tensor = self._answer()(torch.from_numpy(logits))
        made: NDArray[np.float32] = given.float().numpy()
        return made

    def embed(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Give what the first member's last linear layer is shown, of images as they are.

        Takes and raises as `predict`.

        Returns:
            (N, D)

        Raises:
            RunError: The net has no linear layer.
        """
        layers = [m for m in self.net.modules() if isinstance(m, nn.Linear)]
        if not layers:
            raise RunError(f"{type(self.net).__name__} has no linear layer, so no embedding")
        met: list[Tensor] = []
        hook = layers[-1].register_forward_pre_hook(lambda _, given: met.append(given[0]))
        parts = [np.empty((0, layers[-1].in_features), np.float32)]
        try:
            with torch.inference_mode(), _exact():
                for image in self._batches(images, batch_size):
                    self.net(self._prepared(image))
                    parts.append(met.pop().float().cpu().numpy())
        finally:
            hook.remove()
        return np.concatenate(parts)

    def inputs(self, images: NDArray[np.uint8]) -> Tensor:
        """Give what `net` is shown of these images as they are, (N, 1, H, W) on its device.

        Raises:
            RunError: As `predict`.
        """
        return self._prepared(torch.cat(list(self._batches(images, max(len(images), 1)))))

    def _prepared(self, image: Tensor) -> Tensor:
        shown = answering.standardize(image) if self.record.standardize else image
        return shown.contiguous(memory_format=torch.channels_last)

    def _batches(self, images: NDArray[np.uint8], batch_size: int) -> Iterator[Tensor]:
        height, width = self.record.image_size
        if images.shape[1:] != (height, width) or images.dtype != np.uint8:
            raise RunError(
                f"expected uint8 images (N, {height}, {width}), met {images.dtype} {images.shape}"
            )
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            yield batch.to(self._device).unsqueeze(1).float() / 255

    def _asked(self) -> Logits:
        return Logits(self.members, self.record.tta, standardized=self.record.standardize).eval()

    def _answer(self) -> Answer:
        record = self.record
        obeyed = label_set(record) if record.consistent else None
        return Answer(record.label_names, record.calibration, obeyed)

    def export_onnx(self, path: Path) -> Path:
        """Write all that `predict` does as ONNX: `image` (B, 1, H, W) → `probabilities` (B, L).

        B is free, images are in [0, 1]; label names, size and preset are in the file's metadata.

        Raises:
            RunError: ONNX cannot express this net.
        """
        whole = nn.Sequential(self._asked(), self._answer())
        told = {
            "labels": json.dumps(self.record.label_names),
            "image_size": json.dumps(self.record.image_size),
            "preset": self.record.preset,
            "run": self.record.name,
            "note": NOTE,
        }
        try:
            return exporting.onnx(path, whole.cpu().eval(), self.record.image_size, told)
        finally:
            whole.to(self._device)


def _net(folder: Path, record: RunRecord) -> nn.Module:
    net = build_net(record.net, len(record.label_names))
    weights.restore(net, folder / CHECKPOINT)
    return net


@contextmanager
def _exact() -> Iterator[None]:
    """Compute float32 as float32; outside, nothing changes."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
