"""Length and area of an ROI in millimetres, from what the file says of its pixels.

The viewer's own figures are not taken: it ignores spacing that differs between rows and columns,
or that only the detector knows. Standard library only: runs inside the post-annotation Lambda.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxr.contract.annotation import Roi

_SPACINGS = {"PixelSpacing": "pixelSpacing", "ImagerPixelSpacing": "imagerPixelSpacing"}
"""Standard keyword → key in the page's `image`, the better one first."""
MOST_MM = 10.0
"""Between two pixels; a spacing beyond is a mistake, as the page's geometry.ts has it too."""
MOST_ANISOTROPIC = 10.0
"""Of rows to columns, or of columns to rows; likewise."""
Spacing = tuple[float, float]
"""Millimetres between the centres of two rows, then of two columns (PS3.3 10.7.1.3)."""


def spacing(image: object) -> tuple[str, Spacing] | None:
    """Find how large the image's pixels are.

    Args:
        image: What the page submitted as `image`.

    Returns:
        `PixelSpacing`, or `ImagerPixelSpacing` where only the detector's is there, on which the
        body appears magnified (PS3.3 C.8.7.1.1); and its value. A `PixelSpacing` that repeats the
        detector's is the detector's (PS3.3 10.7.1.1). None where the file has neither, or none
        that can be one.
    """
    given = image if isinstance(image, Mapping) else {}
    found = {keyword: _pair(given.get(key)) for keyword, key in _SPACINGS.items()}
    pixel, imager = found.values()
    keyword = "PixelSpacing" if pixel and pixel != imager else "ImagerPixelSpacing"
    value = found[keyword]
    return None if value is None else (keyword, value)


def _pair(value: object) -> Spacing | None:
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(type(v) in (int, float) and 0 < v <= MOST_MM for v in value)  # a bool is an int
        and max(value) / min(value) <= MOST_ANISOTROPIC
    ):
        return float(value[0]), float(value[1])
    return None


def measure(roi: Roi, image: object) -> dict[str, Any] | None:
    """Give what the manifest holds as an ROI's `measure`.

    Args:
        roi: Any.
        image: What the page submitted as `image`.

    Returns:
        `lengthMm` of a length, `areaMm2` of a region, and which `spacing` it was computed from;
        None for a point, or where the file names no spacing.

    >>> tube = Roi("r1", "length", "Support Devices", ((0.0, 0.0), (30.0, 40.0)))
    >>> measure(tube, {"pixelSpacing": None, "imagerPixelSpacing": [0.2, 0.2]})
    {'lengthMm': 10.0, 'spacing': 'ImagerPixelSpacing'}
    """
    found = spacing(image)
    if found is None or roi.type == "point":
        return None
    keyword, (row, column) = found
    points = [(x * column, y * row) for x, y in roi.points]
    if roi.type == "length":
        return {"lengthMm": round(math.dist(*points), 3), "spacing": keyword}
    return {"areaMm2": round(_area(roi.type, points), 3), "spacing": keyword}


def _area(kind: str, points: Sequence[tuple[float, float]]) -> float:
    """Give the area of a region whose points are in millimetres."""
    if kind == "polygon":
        # a ring that crosses itself counts what it goes around the other way as negative
        turns = zip(points, [*points[1:], points[0]], strict=True)
        return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in turns)) / 2
    if kind == "ellipse":
        # two axes at right angles in pixels need not be so in mm; what they span still holds
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
        return math.pi / 4 * abs((bx - ax) * (dy - cy) - (by - ay) * (dx - cx))
    (x0, y0), (x1, y1) = points
    return abs((x1 - x0) * (y1 - y0))
