"""A run folder → probabilities: label names, preprocessing and weights belong together.

Always float32, even where training used bfloat16, and without the shortcut of GPUs that rounds
it to ten bits (TF32): the same image then gives the same probability up to rounding, about 1e-5,
on every machine and in ONNX, and thresholds stay true. The AUROC logged in training may differ
from these in the third digit.
"""

import json
import logging
import pickle
import platform
import warnings
from collections.abc import Iterator, Mapping
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
from cxr.errors import RunError
from cxr.learning import predictions
from cxr.learning.model import build_net

SCHEMA = "cxr-run/1"

RUN, CHECKPOINT, ONNX = "run.json", "best.ckpt", "model.onnx"
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
        thresholds: Label → what `score.choose_thresholds` chose on val.
        policy: What uncertain and not_mentioned became, see `targets.Policy`.
        settings: Key → value of all that a resume must not change.
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
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


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
        return RunRecord(**{k: v for k, v in document.items() if k in known})
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: {error!r}") from error


class Predictor:
    """A trained net with what it needs to be asked.

    Attributes:
        record: What `run.json` says.
        net: (B, 1, H, W) float32 in [0, 1] → logits (B, L), in eval mode.
    """

    def __init__(self, record: RunRecord, net: nn.Module, device: str = "auto") -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.record = record
        self._device = torch.device(device)
        self.net = net.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @classmethod
    def load(cls, run_folder: Path, device: str = "auto") -> "Predictor":
        """Load `run.json` and `best.ckpt`; the checkpoint is read as tensors, never as code.

        Args:
            run_folder: Of one training run.
            device: `auto`, `cpu`, `cuda`.

        Raises:
            RunError: One of them is missing, or they do not belong together.
        """
        record = load_run(run_folder)
        path = run_folder / CHECKPOINT
        if not path.exists():
            raise RunError(f"{path}: expected a checkpoint, met none; the run did not finish")
        net = build_net(record.net, len(record.label_names))
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
            net.load_state_dict(
                {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
            )
        except pickle.UnpicklingError as error:
            raise RunError(f"{path}: expected tensors alone, met other objects") from error
        except (RuntimeError, KeyError, EOFError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise RunError(f"{path}: expected weights of the net in {RUN}: {reason}") from error
        return cls(record, net, device)

    def predict(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Give the probability of each label.

        Args:
            images: (N, H, W) from `decoding.decode` or `Cache.images`.
            batch_size: Images at once.

        Returns:
            (N, L) in [0, 1].

        Raises:
            RunError: The images are of another size than the net was trained on.
        """
        height, width = self.record.image_size
        if images.shape[1:] != (height, width) or images.dtype != np.uint8:
            raise RunError(
                f"expected uint8 images (N, {height}, {width}), met {images.dtype} {images.shape}"
            )
        parts = [np.empty((0, len(self.record.label_names)), np.float32)]
        with torch.inference_mode(), _exact():
            for start in range(0, len(images), batch_size):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
                image = batch.to(self._device).unsqueeze(1).float() / 255
                logits = self.net(image.contiguous(memory_format=torch.channels_last))
                parts.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(parts)

    def export_onnx(self, path: Path) -> Path:
        """Write the net with its sigmoid as ONNX: `image` (B, 1, H, W) → `probabilities` (B, L).

        B is free; label names, size and preset are in the file's metadata.

        Raises:
            RunError: ONNX cannot express this net.
        """
        import onnx

        # torch 2.13 tells of torchvision's absence, and calls what it deprecates itself; the
        # others tell of every node they simplify
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.*")
            try:
                program = torch.onnx.export(
                    _Probabilities(self.net).cpu().eval(),
                    (torch.zeros(2, 1, *self.record.image_size),),
                    dynamo=True,
                    input_names=["image"],
                    output_names=["probabilities"],
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    verbose=False,
                )
            except torch.onnx.OnnxExporterError as error:
                reason = str(error).strip().partition("\n")[0]
                raise RunError(f"{path}: this net cannot be written as ONNX: {reason}") from error
            finally:
                self.net.to(self._device)
        if program is None:
            raise RunError(f"{path}: this net cannot be written as ONNX")
        proto = program.model_proto
        onnx.helper.set_model_props(
            proto,
            {
                "labels": json.dumps(self.record.label_names),
                "image_size": json.dumps(self.record.image_size),
                "preset": self.record.preset,
                "run": self.record.name,
                "note": NOTE,
            },
        )
        predictions.replace_bytes(path, proto.SerializeToString())
        return path


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


class _Probabilities(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.net(image))
