"""Where readers saw a finding: what of a manifest's ROIs says so, and where it lies in a letterbox.

An adjudicator's regions count alone; else the shapes that readers share; else, where they share
none, all that any of them drew. Lengths measure and localise nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from cxr.contract.annotation import POINTS
from cxr.contract.labels import State
from cxr.contract.manifest import Labelled
from cxr.learning.decoding import Placement

KINDS = ("rectangle", "ellipse", "polygon", "point")
_CORNERS = 64


@dataclass(frozen=True)
class Region:
    """One region of one finding.

    Attributes:
        label: As the job names it.
        kind: One of `KINDS`.
        points: (x, y) as `cxr.contract.annotation.Roi` has them.
    """

    label: str
    kind: str
    points: tuple[tuple[float, float], ...]


def told(labelled: Labelled) -> tuple[Region, ...]:
    """Give the regions of every finding that is present by what was consolidated.

    What is no region, in a manifest that others wrote, is passed over.
    """
    found: list[Region] = []
    shared = labelled.document.get("consensus")
    for label, state in labelled.states.items():
        if state is not State.PRESENT:
            continue
        drawn = [roi for roi in labelled.rois if _says_present(roi, label)]
        decided = [roi for roi in drawn if roi.get("adjudicator") is True]
        common = [one for one in shared if _is_of(one, label)] if isinstance(shared, list) else []
        found += [_region(roi, label) for roi in decided or common or drawn]
    return tuple(found)


def shape(region: Region, at: Placement) -> BaseGeometry:
    """Give a region in pixels of the letterbox; a point has no area, and a ring is repaired.

    Args:
        region: In pixels of the image.
        at: Where the image lies.
    """
    points = at.points(np.array(corners(region)))
    if region.kind == "point":
        return shapely.Point(points[0])
    ring = shapely.make_valid(shapely.Polygon(points))
    # a scribble that encloses nothing still says where
    return ring if ring.area else shapely.MultiPoint(points).convex_hull


def corners(region: Region) -> list[tuple[float, float]]:
    """Give the outline of a region as an open ring in pixels of the image; of a point, itself."""
    points = region.points
    if region.kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if region.kind == "ellipse":
        return [(float(x), float(y)) for x, y in _ellipse(points)]
    return list(points)


def _ellipse(points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    ends = np.array(points, float)
    turn = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)[:, None]
    major, minor = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    return np.asarray(ends.mean(axis=0) + np.cos(turn) * major + np.sin(turn) * minor)


def _is_of(roi: Any, label: str) -> bool:
    if not isinstance(roi, dict) or roi.get("label") != label or roi.get("type") not in KINDS:
        return False
    points = roi.get("points")
    fewest, most = POINTS[roi["type"]]
    return (
        isinstance(points, list)
        and fewest <= len(points) <= most
        and all(_is_point(point) for point in points)
    )


def _is_point(value: object) -> bool:
    # as the page is held to; NaN is not below
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(v) in (int, float) and abs(v) < 1e6 for v in value)
    )


def _says_present(roi: Any, label: str) -> bool:
    return _is_of(roi, label) and roi.get("state", "present") == State.PRESENT


def _region(roi: Mapping[str, Any], label: str) -> Region:
    return Region(label, roi["type"], tuple((float(x), float(y)) for x, y in roi["points"]))
