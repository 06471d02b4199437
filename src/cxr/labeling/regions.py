"""What several readers outlined together: their regions matched, and one shape of each match.

Lengths and points are left alone. Everything is in image pixels, so on pixels that are not square
the shape is that of the image as stored, as are the ROIs.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, median
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

REGIONS = ("rectangle", "ellipse", "polygon")
SAME = 0.3
"""IoU from which on two readers are taken to mean the same thing; outlines of opacities differ."""
_CORNERS = 128
"""Of an ellipse as a polygon, whose area is then 0.04 % too small."""
_SIMPLER_PX = 0.1
_MOST_POINTS = 300
"""Of a polygon before it is matched; areas of many thousands of points take minutes to overlay."""
_MOST_CROSSINGS = 50
"""Of a ring with itself; a scribble of a few hundred points takes seconds to repair."""
_FEWEST_POINTS = 24
_ALL_POINTS = 30_000
"""Of one finding's regions together: where they are hundreds, each is thinned out further."""
_MOST_WORK = 300_000
"""Points of all pairs to overlay, about a second; beyond, regions are compared by their boxes."""
Region = Mapping[str, Any]
"""An ROI as the label attribute holds it."""
_Overlaps = Mapping[tuple[int, int], float]


def consensus(
    rois: Sequence[Region], readers: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Match regions of different readers on the same finding, and draw what they share.

    Pairs are taken from the most alike down, and their groups joined, if no reader has a region
    in both and the mean IoU between the groups is at least `SAME`. A shape of rectangles only is
    the rectangle of median sides; any other is the largest part, without its holes, of what more
    than half of the group outlined. Where there are many hundreds of regions of one finding, more
    than anybody draws, they are matched by the boxes around them, and so is their IoU.

    Args:
        rois: Of one data object, in any order.
        readers: How many answered it; where only one did, there is nothing to match.

    Returns:
        Consensus shapes: `label`, `type`, `points`, `workers`, `ids` of their ROIs in the same
        order, and `iou`, the mean over pairs. Then regions that only one of several readers
        drew: `label`, `workerId`, `id`.
    """
    if readers < 2:
        return [], []
    shared, alone = [], []
    regions = sorted((roi for roi in rois if roi["type"] in REGIONS), key=_order)
    for label in sorted({roi["label"] for roi in regions}):
        drawn = [roi for roi in regions if roi["label"] == label]
        most = min(_MOST_POINTS, max(_FEWEST_POINTS, _ALL_POINTS // len(drawn)))
        shapes = [outline(roi["type"], roi["points"], most) for roi in drawn]
        overlaps = _overlaps(drawn, shapes)
        for group in _groups([roi["workerId"] for roi in drawn], overlaps):
            points = _points([drawn[i] for i in group], [shapes[i] for i in group])
            if len(group) == 1 or not points:
                alone += [_named(drawn[i]) for i in group]
                continue
            plain = all(drawn[i]["type"] == "rectangle" for i in group)
            pairs = [overlaps.get(pair, 0.0) for pair in combinations(group, 2)]
            shared.append(
                {
                    "label": label,
                    "type": "rectangle" if plain else "polygon",
                    "points": [[round(x, 2), round(y, 2)] for x, y in points],
                    "workers": [drawn[i]["workerId"] for i in group],
                    "ids": [drawn[i]["id"] for i in group],
                    "iou": round(fmean(pairs), 4),
                }
            )
    return shared, alone


def outline(kind: str, points: Sequence[Sequence[float]], most: int = _MOST_POINTS) -> BaseGeometry:
    """Give a region as an area; a freehand ring that crosses itself is repaired.

    A scribble, which crosses itself all over, is the convex hull of its points.

    Args:
        kind: One of `REGIONS`.
        points: As `cxr.contract.annotation.Roi` has them.
        most: Points to keep of a ring.
    """
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return _areas(shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    if kind == "ellipse":
        ends = np.asarray(points, float)
        turn = np.linspace(0, 2 * math.pi, min(_CORNERS, most), endpoint=False)[:, None]
        major, minor = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
        round_it = ends.mean(axis=0) + np.cos(turn) * major + np.sin(turn) * minor
        points = round_it.tolist()
    ring = _simpler(points, most)
    if len(ring) < 3 or _crossings(ring) > _MOST_CROSSINGS:
        return _areas(shapely.convex_hull(shapely.MultiPoint(points)))
    return _areas(shapely.make_valid(shapely.Polygon(ring)))


def _simpler(points: Sequence[Sequence[float]], most: int) -> NDArray[np.float64]:
    """Thin out a ring: what readers share is no matter of thousands of points."""
    # as a line, since of a polygon each step would be repaired, which takes long
    line, px = shapely.LineString([*points, points[0]]), _SIMPLER_PX
    while shapely.get_num_coordinates(line) > most + 1:
        line, px = shapely.simplify(line, px, preserve_topology=False), 2 * px
    return np.asarray(shapely.get_coordinates(line)[:-1], float)


def _crossings(ring: NDArray[np.float64]) -> int:
    """Count how often an open ring (N, 2) crosses itself; to touch is not to cross."""
    ahead = np.roll(ring, -1, axis=0)
    way = ahead - ring

    def side(points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, N) above 0 where point j lies to the one side of edge i, 0 where it is an end."""
        x, y = (points[None, :, k] - ring[:, None, k] for k in (0, 1))
        return np.asarray(way[:, None, 0] * y - way[:, None, 1] * x)

    apart = side(ring) * side(ahead) < 0  # the ends of edge j lie on both sides of edge i
    return int((apart & apart.T).sum()) // 2


def _areas(shape: BaseGeometry) -> BaseGeometry:
    """Leave out the lines and points that repairing or intersecting may give."""
    if not shape.area:
        return shapely.Polygon()
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = [part for part in shapely.get_parts(shape) if part.area > 0]
    if shape.geom_type == "GeometryCollection":
        parts = [piece for part in parts for piece in shapely.get_parts(part)]
    return shapely.union_all(parts)


def _order(roi: Region) -> tuple[str, str, str]:
    return (roi["workerId"], roi["id"], str(roi["points"]))


def _named(roi: Region) -> dict[str, Any]:
    return {"label": roi["label"], "workerId": roi["workerId"], "id": roi["id"]}


def _overlaps(drawn: Sequence[Region], shapes: Sequence[BaseGeometry]) -> _Overlaps:
    """Give the IoU of those pairs of different readers' regions that may touch at all."""
    if len(shapes) < 2:
        return {}
    pairs = shapely.STRtree(shapes).query(shapes)
    _, who = np.unique([roi["workerId"] for roi in drawn], return_inverse=True)
    i, j = pairs[:, (pairs[0] < pairs[1]) & (who[pairs[0]] != who[pairs[1]])]
    every, sizes = np.array(shapes), shapely.area(shapes)
    count = shapely.get_num_coordinates(every)
    if (count[i] + count[j]).sum() > _MOST_WORK:
        boxes = shapely.bounds(every)
        sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        low, high = np.maximum(boxes[i, :2], boxes[j, :2]), np.minimum(boxes[i, 2:], boxes[j, 2:])
        both = (high - low).clip(0).prod(axis=1)
    else:
        both = shapely.area(shapely.intersection(every[i], every[j]))
    overlaps = both / (sizes[i] + sizes[j] - both)  # what has no area touches nothing
    return dict(zip(zip(i.tolist(), j.tolist(), strict=True), overlaps.tolist(), strict=True))


def _groups(workers: Sequence[str], overlaps: _Overlaps) -> list[list[int]]:
    """Join regions as `consensus` says; every region is in one group, maybe alone."""
    group = {i: [i] for i in range(len(workers))}
    for (i, j), overlap in sorted(overlaps.items(), key=lambda item: (-item[1], item[0])):
        one, other = group[i], group[j]
        if overlap < SAME or one is other:
            continue
        if {workers[k] for k in one} & {workers[k] for k in other}:
            continue
        if fmean(overlaps.get((min(p, q), max(p, q)), 0.0) for p in one for q in other) >= SAME:
            joined = sorted(one + other)
            group |= dict.fromkeys(joined, joined)
    return [members for i, members in group.items() if members[0] == i]


def _points(rois: Sequence[Region], shapes: Sequence[BaseGeometry]) -> list[tuple[float, float]]:
    if all(roi["type"] == "rectangle" for roi in rois):
        sides = [shape.bounds for shape in shapes]
        x0, y0, x1, y1 = (median(side[k] for side in sides) for k in range(4))
        return [(x0, y0), (x1, y1)]
    parts = shapely.get_parts(_majority(shapes))
    if not parts.size:
        return []
    largest = max(parts, key=lambda part: part.area)
    ring = shapely.simplify(largest, _SIMPLER_PX).exterior
    return [(x, y) for x, y in ring.coords][:-1]


def _majority(shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    """Give the area that lies in more than half of the shapes."""
    need = len(shapes) // 2 + 1
    # covered[k]: what lies in at least k of the shapes so far; of none lies everything
    covered: list[BaseGeometry] = [shapely.Polygon() for _ in range(need + 1)]
    for shape in shapes:
        for k in range(need, 1, -1):
            covered[k] = _areas(covered[k].union(_areas(covered[k - 1].intersection(shape))))
        covered[1] = covered[1].union(shape)
    return covered[need]
