"""Small changes of position and exposure to a whole batch, on its device.

No flips: a mirrored chest has its heart on the right. What is black stays black where a row or
column holds nothing else (letterbox), so exposure cannot betray the shape of the image.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def apply(
    images: Tensor,
    generator: torch.Generator,
    *,
    rotation_deg: float = 0.0,
    scale: float = 0.0,
    shift: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
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

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    # always as many draws, so that one strength does not change what the others do
    draws = (torch.rand(6, len(images), generator=generator) * 2 - 1).to(images.device)
    if brightness or contrast:
        images = _expose(images, draws[4] * brightness, 1 + draws[5] * contrast)
    if rotation_deg or scale or shift:
        images = _move(
            images,
            draws[0] * math.radians(rotation_deg),
            1 + draws[1] * scale,
            draws[2:4] * shift,
        )
    return images


def _expose(images: Tensor, added: Tensor, stretch: Tensor) -> Tensor:
    """Change grey values by (B) amounts, leaving the letterbox black."""
    lit = images > 0
    content = lit.any(dim=-1, keepdim=True) & lit.any(dim=-2, keepdim=True)
    added, stretch = (v[:, None, None, None] for v in (added, stretch))
    mean = images.mean(dim=(-2, -1), keepdim=True)
    changed = (images - mean) * stretch + mean + added
    return changed.clamp(0, 1) * content


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
