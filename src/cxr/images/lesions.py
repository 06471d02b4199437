"""What can be wrong in a drawn chest: one finding, one function.

Each draws itself into the picture and says where, as ellipses in pixels. They are drawn to be
told apart by their shape and place: a network must find them, and so should a reader.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cxr.images.anatomy import Body, Canvas, Picture, clouds, edge, ellipse, rib

Rng = np.random.Generator


@dataclass(frozen=True)
class Ellipse:
    """Where a finding was drawn: center and radii, in columns and rows of the image."""

    x: float
    y: float
    radius_x: float
    radius_y: float


def prepared(pose: Body, present: frozenset[str], rng: Rng) -> Body:
    """Change the body as far as findings do so: a larger heart, a higher diaphragm."""
    if "Cardiomegaly" in present:
        pose = replace(pose, heart=pose.heart * rng.uniform(1.38, 1.55))
    if "Enlarged Cardiomediastinum" in present:
        pose = replace(pose, mediastinum=pose.mediastinum * rng.uniform(1.75, 2.3))
    if "Atelectasis" in present:
        right, left = pose.diaphragm
        up = rng.uniform(0.05, 0.08)
        raised = (right - up, left) if rng.random() < 0.5 else (right, left - up)
        pose = replace(pose, diaphragm=raised)
    return pose


def add(canvas: Canvas, present: frozenset[str], rng: Rng) -> dict[str, list[Ellipse]]:
    """Draw every finding that is present, and say where."""
    return {name: draw(canvas, rng) for name, draw in DRAWN.items() if name in present}


def _side(rng: Rng) -> int:
    return -1 if rng.random() < 0.5 else 1


def _spot(canvas: Canvas, rng: Rng, top: float, bottom: float) -> tuple[float, float]:
    """Choose a place well inside a lung, between two heights."""
    y = rng.uniform(top, bottom)
    if canvas.frontal:
        return _side(rng) * rng.uniform(0.17, 0.25), y
    return rng.uniform(-0.10, 0.13), y


def _outline(canvas: Canvas, place: tuple[float, float], radii: tuple[float, float]) -> Ellipse:
    x, y = canvas.pixel(*place)
    right, down = canvas.pixel(place[0] + radii[0], place[1])[0], canvas.size[0] * radii[1]
    return Ellipse(round(x, 1), round(y, 1), round(right - x, 1), round(down, 1))


def _blob(
    canvas: Canvas,
    place: tuple[float, float],
    radii: tuple[float, float],
    *,
    amount: float,
    softness: float,
    tilt: float = 0.0,
    mottled: Rng | None = None,
) -> Ellipse:
    """Whiten an ellipse of lung."""
    box = canvas.box(*place, max(radii) + 3 * softness)
    inside = ellipse(canvas.x[box], canvas.y[box], place, radii, tilt) * np.float32(min(radii))
    white = edge(inside, softness) * np.float32(amount)
    if mottled is not None:
        white *= 0.85 + 0.3 * clouds(mottled, (white.shape[0], white.shape[1]), 7)
    room = np.clip(1.45 - canvas.brightness[box] * 1.5, 0, 1)  # no whiter than white
    canvas.brightness[box] += np.maximum(white, 0) * room * (0.12 + 0.88 * canvas.lungs[box])
    return _outline(canvas, place, radii)


def _consolidation(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    place = _spot(canvas, rng, 0.32, 0.66)
    radii = (rng.uniform(0.075, 0.10), rng.uniform(0.08, 0.115))
    return [_blob(canvas, place, radii, amount=0.36, softness=0.014, mottled=rng)]


def _pneumonia(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """A cluster of soft patches around one place, low in a lung."""
    x, y = _spot(canvas, rng, 0.50, 0.66)
    for _ in range(12):
        at = (x + rng.normal(0, 0.045), y + rng.normal(0, 0.05))
        size = rng.uniform(0.014, 0.026)
        _blob(canvas, at, (size, size), amount=0.22, softness=0.008)
    return [_blob(canvas, (x, y), (0.09, 0.10), amount=0.07, softness=0.04)]


def _lung_lesion(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    found = []
    for _ in range(rng.integers(1, 3)):
        radius = rng.uniform(0.030, 0.048)
        place = _spot(canvas, rng, 0.24, 0.66)
        found.append(_blob(canvas, place, (radius, radius), amount=0.36, softness=0.004))
    return found


def _lung_opacity(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Ground glass, where no other finding is the opacity."""
    place = _spot(canvas, rng, 0.35, 0.60)
    radii = (rng.uniform(0.10, 0.13), rng.uniform(0.13, 0.18))
    return [_blob(canvas, place, radii, amount=0.22, softness=0.035)]


def _atelectasis(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Plates across the lung above the raised dome."""
    right, left = canvas.pose.diaphragm
    sign = -1 if right < left - 0.02 else 1
    dome, found = min(right, left), []
    for number in range(rng.integers(2, 4)):
        x = sign * rng.uniform(0.19, 0.23) if canvas.frontal else rng.uniform(-0.05, 0.08)
        place = (x, dome - 0.035 - 0.038 * number)
        radii = (rng.uniform(0.075, 0.10), rng.uniform(0.007, 0.010))
        tilt = rng.normal(0, 0.14)
        found.append(_blob(canvas, place, radii, amount=0.36, softness=0.003, tilt=tilt))
    return found


def _edema(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Haze around both hila like a bat's wings, and short lines at the bases."""
    side, y = np.abs(canvas.x), canvas.y
    wing = np.exp(-(((side - 0.12) / 0.11) ** 2) - ((y - 0.48) / 0.17) ** 2)
    streaks = 0.8 + 0.35 * clouds(rng, canvas.size, 20)
    canvas.brightness += canvas.lungs * wing * streaks * np.float32(rng.uniform(0.24, 0.32))
    for number in range(10):
        place = ((-1) ** number * rng.uniform(0.31, 0.34), rng.uniform(0.60, 0.74))
        _blob(canvas, place, (0.022, 0.0018), amount=0.22, softness=0.001)
    return [_outline(canvas, (sign * 0.14, 0.48), (0.12, 0.18)) for sign in (-1, 1)]


def _effusion(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Fluid in the angle, rising along the chest wall; on one side or on both."""
    found = []
    for sign in (-1, 1) if rng.random() < 0.3 else (_side(rng),):
        dome = canvas.pose.diaphragm[0 if sign < 0 else 1]
        level = dome - rng.uniform(0.03, 0.16)
        out = canvas.x * sign
        if canvas.frontal:
            meniscus = np.float32(level) - 0.9 * np.maximum(out - 0.12, 0) ** 2 * 2
        else:
            meniscus = np.float32(level) - 0.8 * canvas.x**2
            out = np.ones_like(out)
        fluid = edge(canvas.y - meniscus, 0.006) * canvas.lungs * edge(out, 0.004)
        lift = np.maximum(canvas.pose.fat + 0.08 - canvas.brightness, 0)
        canvas.brightness += fluid * lift * 0.92
        place = (sign * 0.22, (level + dome + 0.07) / 2)
        found.append(_outline(canvas, place, (0.15, (dome + 0.07 - level) / 2)))
    return found


def _rim(canvas: Canvas, sign: int) -> Picture:
    """Give the distance from a lung's outer border, inwards."""
    above = np.maximum(0.57 - canvas.y, 0) / 0.47
    out = canvas.x * sign / np.float32(canvas.pose.width) - 0.2
    across = np.hypot(np.maximum(out, -0.55 * out) / 0.168, above) * np.float32(0.168)
    return np.asarray(0.168 + 0.10 * np.maximum(canvas.y - 0.57, 0) - across)


def _pneumothorax(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Air around a lung that has fallen in: black without vessels, bounded by a fine line."""
    if not canvas.frontal:
        return [_air_in_front(canvas, rng)]
    sign, gap = _side(rng), rng.uniform(0.045, 0.075)
    own = canvas.lungs * edge(canvas.x * sign, 0.004)
    inwards = _rim(canvas, sign)
    # wider at the apex, where air rises to, and closed towards the base
    width = gap * (1.25 - np.clip((canvas.y - 0.30) / 0.42, 0, 1) * 1.1)
    air = edge(width - inwards, 0.003) * own
    line = np.exp(-(((inwards - width) / 0.0035) ** 2)) * own * edge(0.72 - canvas.y, 0.01)
    canvas.brightness += air * (0.07 - canvas.brightness) * 0.85
    canvas.brightness += 0.30 * line + 0.05 * own * (1 - air)
    return [_outline(canvas, (sign * 0.27, 0.28), (0.11, 0.20))]


def _air_in_front(canvas: Canvas, rng: Rng) -> Ellipse:
    place, radii = (-0.17, rng.uniform(0.32, 0.40)), (0.05, 0.15)
    box = canvas.box(*place, 0.18)
    inside = ellipse(canvas.x[box], canvas.y[box], place, radii)
    air = edge(inside * 0.05, 0.004) * canvas.lungs[box]
    canvas.brightness[box] += air * (0.07 - canvas.brightness[box]) * 0.85
    return _outline(canvas, place, radii)


def _fracture(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """Broken ribs in a row: a dark cleft in a bright cuff of callus."""
    sign, first = _side(rng), int(rng.integers(2, 4))
    found = []
    for number in range(first, first + int(rng.integers(3, 5))):
        side = rng.normal(0.285, 0.008)
        place = (sign * side if canvas.frontal else rng.normal(0.10, 0.01), 0.0)
        place = (place[0], float(rib(side, number, canvas.pose)))
        box = canvas.box(*place, 0.05)
        x, y = canvas.x[box], canvas.y[box]
        cuff = edge(ellipse(x, y, place, (0.034, 0.026)) * 0.028, 0.003)
        cleft = edge(0.0035 - np.abs(x - place[0] - 0.4 * (y - place[1])), 0.0012) * cuff
        canvas.brightness[box] += 0.40 * cuff - 0.42 * cleft
        found.append(_outline(canvas, place, (0.036, 0.029)))
    return found


def _pleural_other(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """A thick, chalky pleura along the wall, and over the apex."""
    sign = _side(rng)
    inwards = _rim(canvas, sign) if canvas.frontal else canvas.x + 0.23
    thick = 0.030 + 0.006 * clouds(rng, canvas.size, 18)
    own = canvas.lungs * edge(canvas.x * sign, 0.004) if canvas.frontal else canvas.lungs
    chalk = edge(thick - inwards, 0.003) * own * edge(0.70 - canvas.y, 0.01)
    grain = 0.9 + 0.25 * clouds(rng, canvas.size, 40)
    canvas.brightness += 0.42 * chalk * grain
    place = (sign * 0.33 if canvas.frontal else -0.21, 0.45)
    return [_outline(canvas, place, (0.05, 0.26))]


def _cardiomegaly(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    del rng  # the body was prepared with it
    return [_outline(canvas, (0.06, max(canvas.pose.diaphragm) - 0.09), (canvas.pose.heart, 0.13))]


def _wide_mediastinum(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    del rng
    return [_outline(canvas, (0.0, 0.34), (canvas.pose.mediastinum + 0.03, 0.18))]


def _devices(canvas: Canvas, rng: Rng) -> list[Ellipse]:
    """One to three of: pacemaker with leads, central line, tube in the windpipe, stomach tube."""
    kinds = (_pacemaker, _central_line, _windpipe_tube, _stomach_tube)
    chosen = rng.choice(len(kinds), size=int(rng.integers(1, 4)), replace=False)
    return [kinds[kind](canvas, rng) for kind in sorted(chosen)]


def _pacemaker(canvas: Canvas, rng: Rng) -> Ellipse:
    sign = _side(rng)
    place = (sign * rng.uniform(0.24, 0.28), rng.uniform(0.19, 0.24))
    box = canvas.box(*place, 0.08)
    x, y = (canvas.x[box] - place[0]) / 0.045, (canvas.y[box] - place[1]) / 0.040
    case = edge((1 - (x**4 + y**4) ** np.float32(0.25)) * 0.04, 0.002)
    canvas.brightness[box] += case * (0.97 - canvas.brightness[box])
    wire = [place, (sign * 0.12, 0.17), (-0.03, 0.30), (-0.045, 0.52), (0.05, 0.66), (0.14, 0.70)]
    _wire(canvas, wire, 0.0030, 0.34)
    return _outline(canvas, place, (0.05, 0.045))


def _central_line(canvas: Canvas, rng: Rng) -> Ellipse:
    sign = _side(rng)
    start = (sign * rng.uniform(0.10, 0.30), rng.uniform(0.0, 0.10))
    _wire(canvas, [start, (sign * 0.09, 0.15), (-0.03, 0.24), (-0.045, 0.46)], 0.0034, 0.32)
    return _outline(canvas, (-0.03, 0.28), (0.06, 0.20))


def _windpipe_tube(canvas: Canvas, rng: Rng) -> Ellipse:
    end = rng.uniform(0.25, 0.32)
    for aside in (-0.008, 0.008):
        _wire(canvas, [(aside, -0.05), (aside, 0.15), (aside, end)], 0.0028, 0.28)
    return _outline(canvas, (0.0, end / 2), (0.02, end / 2))


def _stomach_tube(canvas: Canvas, rng: Rng) -> Ellipse:
    low = max(canvas.pose.diaphragm) + 0.08
    path = [(0.0, -0.05), (0.012, 0.30), (0.022, 0.62), (0.05, low), (0.15, low + 0.04)]
    _wire(canvas, path, 0.0034, 0.30 + 0.05 * rng.random())
    return _outline(canvas, (0.03, 0.45), (0.06, 0.45))


def _wire(
    canvas: Canvas, points: list[tuple[float, float]], thickness: float, amount: float
) -> None:
    """Draw a smooth line through places; where it crosses itself it is no brighter."""
    at = np.linspace(0, len(points) - 1, 10 * len(points))
    path = np.stack([_smooth(at, np.array(points)[:, axis]) for axis in (0, 1)], axis=1)
    drawn = np.zeros(canvas.size, np.float32)
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        box = canvas.box(*middle, float(np.hypot(x1 - x0, y1 - y0)) / 2 + 4 * thickness)
        dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
        x, y = canvas.x[box] - np.float32(x0), canvas.y[box] - np.float32(y0)
        along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, np.float32(1e-9)), 0, 1)
        off = np.hypot(x - along * dx, y - along * dy)
        np.maximum(drawn[box], edge(thickness - off, 0.0010), out=drawn[box])
    canvas.brightness += np.float32(amount) * drawn


def _smooth(at: Picture, values: Picture) -> Picture:
    """Interpolate through points without overshooting corners by much (Catmull-Rom)."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    place = np.minimum(at.astype(int), len(values) - 2)
    t = at - place
    a, b, c, d = (padded[place + step] for step in range(4))
    smooth: Picture = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return smooth


DRAWN: Mapping[str, Callable[[Canvas, Rng], list[Ellipse]]] = {
    "Cardiomegaly": _cardiomegaly,
    "Enlarged Cardiomediastinum": _wide_mediastinum,
    "Pleural Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
    "Atelectasis": _atelectasis,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Lung Lesion": _lung_lesion,
    "Lung Opacity": _lung_opacity,
    "Pneumonia": _pneumonia,
    "Pleural Other": _pleural_other,
    "Fracture": _fracture,
    "Support Devices": _devices,
}
"""In the order in which they are drawn: what covers most first, so that all stay visible."""
