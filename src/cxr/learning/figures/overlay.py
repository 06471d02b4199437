"""A radiograph, and beside it the same with what a net looked at and where readers drew.

The pixels are in the page once. Heat is a few cells, enlarged by the browser, over the image
alone: the letterbox around it is never coloured.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning.decoding import Placement
from cxr.learning.figures import drawing, png

_GAP = 0.03  # of the width, between the two
_CELLS = 64  # of the heat, at most, on a side; it is computed on fewer
_FAINT = 0.15  # of the highest: below, nothing is coloured
READERS = "#00e5ff"


def draw(
    key: str,
    title: str,
    image: NDArray[np.uint8],
    at: Placement,
    *,
    heat: NDArray[np.floating[Any]] | None,
    peak: tuple[float, float] | None,
    outlines: Sequence[Sequence[tuple[float, float]]],
) -> str:
    """Draw an image, and its twin if there is anything to draw on it.

    Args:
        key: An id that nothing else in the page has: letters and digits.
        title: Read out to who cannot see it.
        image: (H, W)
        at: Where in it the radiograph lies.
        heat: (H, W) in [0, 1], or None.
        peak: (x, y) of its maximum, or None.
        outlines: Rings of (x, y), or single points.
    """
    height, width = image.shape
    parts = [f'<image id="{key}" href="{png.uri(image)}" width="{width}" height="{height}"/>']
    if heat is None and not outlines:
        return drawing.document(width, height, title, parts)
    shift = round(width * (1 + _GAP))
    parts += [f'<g transform="translate({shift} 0)">', f'<use href="#{key}"/>']
    if heat is not None and heat.max() > 0:
        parts.append(
            f'<image href="{png.uri(_colours(heat, at))}" x="{at.left}" y="{at.top}" '
            f'width="{at.columns}" height="{at.rows}" preserveAspectRatio="none"/>'
        )
    line = max(1.0, width / 150)
    parts += [_outline(ring, line) for ring in outlines]
    if peak is not None:
        parts.append(_cross(*peak, line))
    return drawing.document(shift + width, height, title, [*parts, "</g>"])


def _colours(heat: NDArray[np.floating[Any]], at: Placement) -> NDArray[np.uint8]:
    """Give (h, w, 4): from clear over yellow to red."""
    inside = heat[at.top : at.top + at.rows, at.left : at.left + at.columns]
    rows, columns = (
        np.linspace(0, n - 1, min(n, _CELLS)).round().astype(int) for n in inside.shape
    )
    small = inside[np.ix_(rows, columns)].clip(0, 1)
    seen = ((small - _FAINT) / (1 - _FAINT)).clip(0, 1)
    made = np.zeros((*small.shape, 4), np.uint8)
    made[..., 0], made[..., 1] = 255, np.rint(225 * (1 - seen))
    made[..., 3] = np.rint(165 * seen)
    return made


def _outline(ring: Sequence[tuple[float, float]], line: float) -> str:
    style = f'fill="none" stroke="{READERS}" stroke-width="{line:.1f}"'
    if len(ring) == 1:
        (x, y) = ring[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 * line:.1f}" {style}/>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in ring)
    return f'<polygon points="{points}" {style}/>'


def _cross(x: float, y: float, line: float) -> str:
    arm = 4 * line
    way = f"M{x - arm:.1f} {y:.1f}h{2 * arm:.1f}M{x:.1f} {y - arm:.1f}v{2 * arm:.1f}"
    return (
        f'<path d="{way}" stroke="#000" stroke-width="{2.2 * line:.1f}"/>'
        f'<path d="{way}" stroke="#fff" stroke-width="{line:.1f}"/>'
    )
