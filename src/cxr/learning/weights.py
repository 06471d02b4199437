"""Weights from files: a run's own as they are, or as much of others' as fits a net.

Files are read as tensors alone, never as code. Nets of torchvision, of EfficientNet-PyTorch and of
MONAI compute the same and differ in names; names are translated into MONAI's.
"""

import pickle
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxr.errors import RunError

_NET = "net."  # what the net is called in a Classifier
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "weights")  # where others put it
_COUNTER = ".num_batches_tracked"
# what torch 2.13's reader of pickles raises on bytes that are none
_TORN = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, EOFError,
    OSError, OverflowError, struct.error,
)  # fmt: skip
_LAYER = re.compile(r"^(features\.denseblock\d+\.denselayer\d+)\.(norm|conv)\.?([12])\.")
_BLOCK = re.compile(r"^_blocks\.(\d+)\.(?=_)")


@dataclass(frozen=True)
class Taken:
    """Which tensors of a file went where; names are those of the file, where it has one.

    Attributes:
        source: Name of the file or run.
        sha256: Of the file.
        taken: Loaded as they are.
        adapted: Name → what was done to it.
        left: Name → why it was not taken.
        initial: Names in the net that the file has nothing for: as the seed made them.
    """

    source: str
    sha256: str
    taken: tuple[str, ...]
    adapted: Mapping[str, str]
    left: Mapping[str, str]
    initial: tuple[str, ...]

    @property
    def counts(self) -> dict[str, Any]:
        """What run.json says of it."""
        parts = {"taken": self.taken, "adapted": self.adapted, "left": self.left}
        return {
            "source": self.source,
            "sha256": self.sha256,
            **{name: len(part) for name, part in (*parts.items(), ("initial", self.initial))},
        }

    def __str__(self) -> str:
        """Say it in one line."""
        adapted = "".join(f" ({name}: {how})" for name, how in self.adapted.items())
        return (
            f"weights of {self.source}: {len(self.taken)} tensors taken, {len(self.adapted)} "
            f"adapted{adapted}, {len(self.left)} not taken, {len(self.initial)} begin from the seed"
        )


def restore(net: nn.Module, checkpoint: Path) -> None:
    """Put the weights of a run's checkpoint into the net it was made with, all of them.

    Raises:
        RunError: It is missing, torn, of another net, or holds more than tensors.
    """
    if not checkpoint.exists():
        raise RunError(f"{checkpoint}: expected a checkpoint, met none; the run did not finish")
    document = _opened(checkpoint, "weights of the net in run.json")
    try:
        state = document["state_dict"]
        net.load_state_dict(
            {k.removeprefix(_NET): v for k, v in state.items() if k.startswith(_NET)}
        )
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{checkpoint}: expected weights of the net in run.json: {reason}"
        ) from error


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file: .pth, .pt, .ckpt, or .safetensors where that library is.

    Raises:
        RunError: It is none of these, holds more than tensors, or no state dict.
    """
    if path.suffix == ".safetensors":
        document = _safetensors(path)
    else:
        document = _opened(path, "a state dict")
    for key in _INSIDE:
        if isinstance(document, dict) and isinstance(document.get(key), dict):
            document = document[key]
    tensors = document if isinstance(document, dict) else {}
    if not tensors or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()
    ):
        raise RunError(
            f"{path}: expected a state dict, so names of tensors, met {_described(document)}"
        )
    return tensors


def _opened(path: Path, expected: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path}: expected tensors alone, met other objects or another kind of file"
        ) from error
    except _TORN as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"{path}: expected {expected}: {reason}") from error


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise RunError(
            f"{path}: expected the library safetensors for this file, which is not installed; "
            "save it as .pth"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: expected a state dict: {error}") from error


def _described(document: object) -> str:
    if isinstance(document, dict):
        odd = next((k for k, v in document.items() if not isinstance(v, Tensor)), None)
        return f'"{odd}" among its keys' if odd is not None else "nothing"
    return f"one {type(document).__name__}"


def fill(
    net: nn.Module, tensors: Mapping[str, Tensor], *, path: Path, source: str, head: bool
) -> Taken:
    """Load what fits, change the net in place, and say what became of every tensor.

    The three channels of a first convolution on colours are added up, not averaged: a grey image
    shown three times over then gives what the sum gives on it once. An average would make every
    first activation a third of what the layers behind it have learnt to expect.

    Args:
        net: As `model.build_net` makes it.
        tensors: From `read`.
        path: Of the file, for messages and its hash.
        source: What to call it.
        head: Whether the last linear layer is about the same labels, and so taken too.

    Raises:
        RunError: Nothing of it fits, or not all of it is finite.
    """
    own = net.state_dict()
    names = _translated(tensors, own)
    last = _head(net)
    taken: dict[str, Tensor] = {}
    said: list[str] = []
    adapted: dict[str, str] = {}
    left: dict[str, str] = {}
    for name, tensor in tensors.items():
        target = names[name]
        fitted, how = _fitted(tensor, own.get(target))
        if target.startswith(last) and not head:
            left[name] = "the classifier is about other labels"
        elif fitted is None or target in taken:
            left[name] = how or "stands there twice"
        else:
            taken[target] = fitted
            if how:
                adapted[name] = how
            else:
                said.append(name)
    _check(net, taken, path, tensors)
    net.load_state_dict({**own, **taken})
    initial = tuple(name for name in own if name not in taken and not name.endswith(_COUNTER))
    digest = sha256(path.read_bytes()).hexdigest()
    return Taken(source, digest, tuple(said), adapted, left, initial)


def _fitted(tensor: Tensor, own: Tensor | None) -> tuple[Tensor | None, str]:
    """Give what the net takes of a tensor, and what was done to it or why it is nothing."""
    if own is None:
        return None, "the net has none of this name"
    if tensor.shape == own.shape:
        return tensor, ""
    colours = (own.shape[0], 3, *own.shape[2:])
    if own.ndim == 4 and own.shape[1] == 1 and tuple(tensor.shape) == colours:
        return tensor.sum(dim=1, keepdim=True), "three colours summed to one channel"
    return None, f"expected the shape {tuple(own.shape)}, met {tuple(tensor.shape)}"


def _check(
    net: nn.Module, taken: Mapping[str, Tensor], path: Path, tensors: Mapping[str, Tensor]
) -> None:
    learnt = {name for name, _ in net.named_parameters()}
    if not learnt & taken.keys():
        first = next(iter(tensors))
        raise RunError(
            f"{path}: expected weights that fit {type(net).__name__}, met {len(tensors)} tensors "
            f'none of which does; the first is "{first}" {tuple(tensors[first].shape)}'
        )
    for name, tensor in taken.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f'{path}: expected finite numbers, met others in "{name}"')


def _head(net: nn.Module) -> str:
    """Give the name of the last linear layer, with a dot."""
    layers = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    return f"{layers[-1]}." if layers else "\0"


def _translated(tensors: Collection[str], own: Collection[str]) -> dict[str, str]:
    """Give each name as MONAI would say it, less the prefix under which the most are known."""
    blocks = {
        n: f"_blocks.{s}.{n}." for s, n in re.findall(r"_blocks\.(\d+)\.(\d+)\.", " ".join(own))
    }
    head = next((n for n in ("class_layers.out.", "_fc.", "fc.") if f"{n}weight" in own), "")

    def translate(name: str, prefix: str) -> str:
        name = name.removeprefix(prefix)
        name = _LAYER.sub(r"\1.layers.\2\3.", name)
        name = _BLOCK.sub(lambda met: blocks.get(met[1], met[0]), name)
        return re.sub(r"^(classifier|fc)\.(?=weight$|bias$)", head or r"\1.", name)

    def known(prefix: str) -> int:
        return sum(translate(name, prefix) in own for name in tensors)

    prefixes = {""}
    for name in tensors:
        parts = name.split(".")
        prefixes |= {".".join(parts[:k]) + "." for k in (1, 2, 3) if k < len(parts)}
    best = max(sorted(prefixes, key=len), key=known)
    return {name: translate(name, best) for name in tensors}
