"""What a net is shown, and what becomes of what it says: one torch module from image to answer.

Training shows images through `standardize` as well, so a net is never asked about greys it was not
trained on. All of it is torch, so that an exported model holds all of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cxr.contract.labels import LabelSet
from cxr.learning import consistency
from cxr.learning.consistency import Rules

Move = tuple[float, float, float, bool]
"""Right and down in parts of the side, enlarged by this factor, mirrored left to right or not."""
STILL: Move = (0.0, 0.0, 1.0, False)

_STEP, _ZOOM = 0.03, 0.05  # well within what augmentation shows in training
_DIRECTIONS = (  # right, down, zoom: each pair cancels, so that an even number has no drift
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1),
    (1, 1, 0), (-1, -1, 0), (1, -1, 0), (-1, 1, 0),
)  # fmt: skip
_RINGS = (1.0, 0.5, 1.5, 0.75, 1.25, 0.25, 1.75)


def standardize(images: Tensor) -> Tensor:
    """Give each image a mean of 0 and a standard deviation of 1, over all its pixels.

    Args:
        images: (B, 1, H, W)

    Returns:
        (B, 1, H, W); an image of one grey becomes 0.
    """
    centred = images - images.mean(dim=(-2, -1), keepdim=True)
    spread = centred.square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return centred / spread.clamp(min=1e-3)


def moves(count: int, *, mirror: bool) -> tuple[Move, ...]:
    """List how an image is shown when several answers about it are averaged.

    Args:
        count: Small moves beside the image as it is, up to 64; 0 asks once.
        mirror: Each of them mirrored too, as where training mirrors.

    Returns:
        The image as it is, and the moves: shifts and scales, the same for every image; nothing
        where there are none.

    >>> moves(2, mirror=False)
    ((0.0, 0.0, 1.0, False), (0.03, 0.0, 1.0, False), (-0.03, 0.0, 1.0, False))
    """
    if not count:
        return ()
    amounts = [(ring, *direction) for ring in _RINGS for direction in _DIRECTIONS]
    made = [STILL]
    for ring, right, down, zoom in amounts[:count]:
        made.append((right * ring * _STEP, down * ring * _STEP, 1 + zoom * ring * _ZOOM, False))
    return tuple((*m[:3], side) for m in made for side in ((False, True) if mirror else (False,)))


class Logits(nn.Module):
    """The mean of what every net says of every view: (B, 1, H, W) in [0, 1] → (B, L)."""

    def __init__(
        self, nets: Sequence[nn.Module], views: Sequence[Move], *, standardized: bool
    ) -> None:
        """Take nets, what `moves` gives, and whether images are standardized."""
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self._views, self._standardized = tuple(views) or (STILL,), standardized

    def forward(self, image: Tensor) -> Tensor:
        """Give logits (B, L) float32."""
        # all views at once: an exported net would else be written once a view
        shown = torch.cat([_moved(image, view) for view in self._views])
        if self._standardized:  # last, as in training
            shown = standardize(shown)
        shown = shown.contiguous(memory_format=torch.channels_last)
        said = torch.stack([net(shown).float() for net in self.nets]).mean(dim=0)
        return said.reshape(len(self._views), image.shape[0], said.shape[1]).mean(dim=0)


def _moved(image: Tensor, view: Move) -> Tensor:
    """Shift, enlarge, mirror; what comes in from outside is black, as in augmentation."""
    right, down, zoom, mirrored = view
    if mirrored:
        image = image.flip(-1)
    if (right, down, zoom) == STILL[:3]:
        return image
    height, width = image.shape[-2:]
    x, y = (
        ((torch.arange(side, device=image.device) * 2 + 1) / side - 1 - 2 * shift) / zoom
        for side, shift in ((width, right), (height, down))
    )
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    return functional.grid_sample(
        image,
        grid.expand(image.shape[0], height, width, 2),
        padding_mode="zeros",
        align_corners=False,
    )


class Answer(nn.Module):
    """Logits → calibrated, consistent probabilities, both (B, L)."""

    slope: Tensor
    intercept: Tensor

    def __init__(
        self,
        names: Sequence[str],
        calibration: Mapping[str, Mapping[str, Any]],
        labels: LabelSet | None,
    ) -> None:
        """Take what was fitted and what is known of the labels.

        Args:
            names: L, in column order.
            calibration: Label → `slope` and `intercept`; a label may be missing.
            labels: Whose parents and No Finding the answers obey; None where that is not known.
        """
        super().__init__()
        fitted = [calibration.get(name, {}) for name in names]
        for key, plain in (("slope", 1.0), ("intercept", 0.0)):
            values = [float(each.get(key, plain)) for each in fitted]
            self.register_buffer(key, torch.tensor(values, dtype=torch.float64))
        self._rules = consistency.rules(labels) if labels else None

    def forward(self, logits: Tensor) -> Tensor:
        """Give probabilities, as exact as the logits given."""
        slope, intercept = self.slope.to(logits.dtype), self.intercept.to(logits.dtype)
        return _consistent(torch.sigmoid(logits * slope + intercept), self._rules)


def _consistent(probabilities: Tensor, rules: Rules | None) -> Tensor:
    """Do as `consistency.apply`, in what an exported model can hold."""
    if rules is None:
        return probabilities
    columns = list(probabilities.unbind(dim=1))
    raised = list(columns)
    for parent, children in rules.parents:
        raised[parent] = _highest([columns[k] for k in (parent, *children)])
    if rules.no_finding is not None and rules.excluded:
        left = 1 - _highest([raised[k] for k in rules.excluded])
        raised[rules.no_finding] = torch.minimum(raised[rules.no_finding], left)
    return torch.stack(raised, dim=1)


def _highest(columns: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(columns)).amax(dim=0)
