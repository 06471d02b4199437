"""Small changes to a whole batch, on its device: position, exposure, what is hidden or blended.

Mirroring is off unless asked for: it puts the heart on the wrong side. What is black stays black
where a row or column holds nothing else (letterbox), so neither exposure nor a hidden rectangle
can betray the shape of the image.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_HIDDEN = (0.02, 0.2)  # of the image's area; more would hide findings whole
_LONGEST = 3.0  # sides of a hidden rectangle, to each other


def apply(
    images: Tensor,
    generator: torch.Generator,
    *,
    rotation_deg: float = 0.0,
    scale: float = 0.0,
    shift: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    gamma: float = 0.0,
    flip: float = 0.0,
    erase: float = 0.0,
) -> Tensor:
    """Change each image by its own random amounts; with every strength 0, give it back as it is.

    Args:
        images: (B, 1, H, W) in [0, 1].
        generator: On the CPU, so that every device draws the same.
        rotation_deg: Turns by up to this, either way.
        scale: Larger or smaller by up to this part, below 1.
        shift: Moves by up to this part of the side, along each axis.
        brightness: Adds up to this, either way.
        contrast: Stretches about the image's mean by up to this part.
        gamma: Raises to a power between 1 / (1 + this) and 1 + this.
        flip: Part of the images that are mirrored left to right.
        erase: Part of the images that lose a rectangle, which becomes the image's mean.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    # always as many draws, so that one strength does not change what the others do
    draws = (torch.rand(6, len(images), generator=generator) * 2 - 1).to(images.device)
    more = torch.rand(7, len(images), generator=generator).to(images.device)
    content = _content(images)
    if gamma:
        exponent = (draws.new_tensor(1 + gamma).log() * (2 * more[0] - 1)).exp()
        images = images ** exponent[:, None, None, None]
    if brightness or contrast:
        images = _expose(images, content, draws[4] * brightness, 1 + draws[5] * contrast)
    if erase:
        images = _erase(images, content, more[1] < erase, more[2:6])
    if rotation_deg or scale or shift:
        images = _move(
            images,
            draws[0] * math.radians(rotation_deg),
            1 + draws[1] * scale,
            draws[2:4] * shift,
        )
    if flip:
        images = torch.where((more[6] < flip)[:, None, None, None], images.flip(-1), images)
    return images


def mix(
    batch: Mapping[str, Tensor], generator: torch.Generator, *, alpha: float
) -> dict[str, Tensor]:
    """Blend each image of a batch with another one of it, and what is known of both (mixup).

    Targets and weights are blended such that the cross-entropy of the blend is that of both
    images, each by its part and its weights: an entry only one of them has a target for keeps
    that target, with less weight. See https://arxiv.org/abs/1710.09412.

    Args:
        batch: `image` (B, 1, H, W), `targets` (B, L), `weights` (B, L), and others, which stay.
        generator: On the CPU.
        alpha: Parts are drawn from Beta(alpha, alpha): the larger, the nearer to halves.
    """
    device, count = batch["image"].device, len(batch["image"])
    other = torch.randperm(count, generator=generator).to(device)
    # torch draws from a Beta by the global generator alone
    seed = int(torch.randint(2**62, (1,), generator=generator))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32)
    part = torch.from_numpy(drawn).to(device)[:, None]
    mine, theirs = part * batch["weights"], (1 - part) * batch["weights"][other]
    weights = mine + theirs
    known = mine * batch["targets"] + theirs * batch["targets"][other]
    pixels = part[..., None, None]
    return {
        **batch,
        "image": pixels * batch["image"] + (1 - pixels) * batch["image"][other],
        "targets": known / torch.where(weights > 0, weights, 1.0),
        "weights": weights,
    }


def _content(images: Tensor) -> Tensor:
    """Say where an image is more than its letterbox: (B, 1, H, W) bool."""
    lit = images > 0
    return lit.any(dim=-1, keepdim=True) & lit.any(dim=-2, keepdim=True)


def _expose(images: Tensor, content: Tensor, added: Tensor, stretch: Tensor) -> Tensor:
    """Change grey values by (B) amounts, leaving the letterbox black."""
    added, stretch = (v[:, None, None, None] for v in (added, stretch))
    mean = images.mean(dim=(-2, -1), keepdim=True)
    changed = (images - mean) * stretch + mean + added
    return changed.clamp(0, 1) * content


def _erase(images: Tensor, content: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Give a rectangle of the (B) chosen images their mean; (4, B) draws say size and place."""
    height, width = images.shape[-2:]
    area = _HIDDEN[0] + draws[0] * (_HIDDEN[1] - _HIDDEN[0])
    longer = _LONGEST ** (2 * draws[1] - 1)
    sides = [(area * longer).sqrt(), (area / longer).sqrt()]  # parts of height and width
    inside = chosen[:, None, None]
    for side, place, pixels, shape in (
        (sides[0], draws[2], height, (1, -1, 1)),
        (sides[1], draws[3], width, (1, 1, -1)),
    ):
        at = ((torch.arange(pixels, device=images.device) + 0.5) / pixels).view(shape)
        first = (place * (1 - side))[:, None, None]
        inside = inside & (at >= first) & (at < first + side[:, None, None])
    mean = images.sum(dim=(-2, -1), keepdim=True) / content.sum(dim=(-2, -1), keepdim=True).clamp(1)
    return torch.where(inside[:, None] & content, mean, images)


def _move(images: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Turn by (B) radians, enlarge by (B), move by (2, B) parts of the side; fill with black."""
    height, width = images.shape[-2:]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # grid coordinates run from -1 to 1 along both axes, so a turn needs the aspect
    aspect = height / width
    theta = torch.stack(
        [
            torch.stack([cos, -sin * aspect, 2 * shift[0]], dim=-1),
            torch.stack([sin / aspect, cos, 2 * shift[1]], dim=-1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
