"""A drawn chest: body, lungs, ribs, heart, and the noise over them, as brightness.

Places are in units of the image's height, x from the midline and towards the reader's right (the
patient's left), y from the top. Nothing here claims to be physics: it is to look and behave like
a chest radiograph to a reader at a glance, and to a network at 64 to 96 pixels.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.floating[Any]]

HALF_WIDTH = 0.4375
"""Of a picture of 512 rows and 448 columns; other shapes are stretched to it."""


@dataclass(frozen=True)
class Body:
    """What differs from patient to patient, and a little from image to image.

    Attributes:
        width: Of the thorax, 1 on average.
        heart: Half of the heart's width.
        mediastinum: Half of its width above the heart.
        diaphragm: Height of its domes, reader's left and right.
        ribs: Distance from one to the next.
        fat: Brightness of soft tissue.
        shift: Of the whole, sideways and down.
        turn: Of the whole, as the slope of the midline.
    """

    width: float
    heart: float
    mediastinum: float
    diaphragm: tuple[float, float]
    ribs: float
    fat: float
    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0


def body(rng: np.random.Generator) -> Body:
    """Draw a patient."""
    dome = rng.normal(0.76, 0.015)
    return Body(
        width=rng.normal(1, 0.035),
        heart=rng.normal(0.150, 0.006),
        mediastinum=rng.normal(0.052, 0.003),
        diaphragm=(dome, dome + rng.normal(0.022, 0.006)),
        ribs=rng.normal(0.082, 0.003),
        fat=rng.normal(0.62, 0.03),
    )


def posed(patient: Body, rng: np.random.Generator) -> Body:
    """Draw how the patient stood this time: a little aside, turned, breathed in."""
    breath = rng.normal(0, 0.01)
    right, left = patient.diaphragm
    return replace(
        patient,
        diaphragm=(right + breath, left + breath),
        shift=(rng.normal(0, 0.008), rng.normal(0, 0.01)),
        turn=rng.normal(0, 0.02),
    )


class Canvas:
    """A picture in the making.

    Attributes:
        frontal: Seen from the front, or else from the side.
        x: (H, W), from the patient's midline.
        y: (H, W), from the top, moved with the patient.
        lungs: (H, W) how much lung is seen there, 0 to 1.
        brightness: (H, W), 0 black to 1 white.
    """

    def __init__(self, size: tuple[int, int], pose: Body, *, frontal: bool = True) -> None:
        self.pose = pose
        self.frontal = frontal
        self.size = size
        rows, columns = size
        across = np.linspace(-HALF_WIDTH, HALF_WIDTH, columns, dtype=np.float32)
        down = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
        self.y = np.broadcast_to(down - np.float32(pose.shift[1]), size)
        self.x = across - np.float32(pose.shift[0]) - np.float32(pose.turn) * (down - 0.5)
        self.lungs = np.zeros(size, np.float32)
        self.brightness = np.zeros(size, np.float32)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Give column and row of a place."""
        rows, columns = self.size
        down = y + self.pose.shift[1]
        across = x + self.pose.shift[0] + self.pose.turn * (down - 0.5)
        return (across / HALF_WIDTH + 1) / 2 * (columns - 1), down * (rows - 1)

    def box(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Give rows and columns around a place, for drawing small things cheaply."""
        rows, columns = self.size
        column, row = self.pixel(x, y)
        wide, high = reach * columns / (2 * HALF_WIDTH) + 2, reach * rows + 2
        top, left = max(0, int(row - high)), max(0, int(column - wide))
        return slice(top, max(0, int(row + high) + 1)), slice(left, max(0, int(column + wide) + 1))


def edge(distance: Picture, softness: float) -> Picture:
    """Go from 0 outside to 1 inside over about four times `softness`."""
    inside: Picture = 0.5 + 0.5 * np.tanh(distance * np.float32(0.5 / softness))
    return inside


def ellipse(
    x: Picture, y: Picture, center: tuple[float, float], radii: tuple[float, float], tilt: float = 0
) -> Picture:
    """Give the distance inwards from an ellipse's rim, in radii: 1 at its center."""
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    dx, dy = x - np.float32(center[0]), y - np.float32(center[1])
    along, across = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
    inwards: Picture = 1 - np.sqrt(along * along + across * across)
    return inwards


def clouds(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Picture:
    """Draw smooth noise, mean 0 and deviation about 1, of `cells` patches from top to bottom."""
    grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    rows, columns = (_interpolation(n, cells) for n in size)
    smooth: Picture = rows @ grid @ columns.T
    return smooth


def _interpolation(pixels: int, cells: int) -> Picture:
    at = np.linspace(0, cells, pixels, dtype=np.float32)
    distance = np.abs(at[:, None] - np.arange(cells + 1, dtype=np.float32))
    near = np.clip(1 - distance, 0, 1)
    smoothstep: Picture = near * near * (3 - 2 * near)  # no creases along the grid
    return smoothstep


def frontal(size: tuple[int, int], pose: Body, rng: np.random.Generator) -> Canvas:
    """Draw a healthy chest from the front."""
    canvas = Canvas(size, pose)
    x, y = canvas.x, canvas.y
    side = np.abs(x)
    torso = _torso(side, y, pose)
    canvas.lungs = _lungs(canvas)
    wall = edge(ellipse(x, y, (0, 0.56), (0.385 * pose.width, 0.52)), 0.015)
    wall *= 0.4 + 0.6 * canvas.lungs
    canvas.brightness += torso * np.float32(pose.fat)
    canvas.brightness += 0.05 * clouds(rng, size, 4) * torso
    canvas.brightness -= canvas.lungs * np.float32(pose.fat - 0.20)
    canvas.brightness += 0.10 * _ribs(side, y, pose) * wall
    canvas.brightness += 0.15 * _clavicles(side, y, pose) * torso
    canvas.brightness += _markings(canvas, rng)
    heart(canvas, pose.heart, pose.mediastinum)
    canvas.brightness -= 0.07 * edge(0.019 - np.abs(x), 0.004) * edge(0.37 - y, 0.02) * torso
    _stomach(canvas, rng)
    spine = edge(0.036 - side, 0.006) * (0.8 + 0.2 * np.cos(y * np.float32(2 * np.pi / 0.055)))
    canvas.brightness += 0.07 * spine * torso
    return canvas


def _stomach(canvas: Canvas, rng: np.random.Generator) -> None:
    """Air in the stomach, below the left dome, more or less of it."""
    place = (0.16, canvas.pose.diaphragm[1] + 0.055)
    box = canvas.box(*place, 0.09)
    bubble = edge(ellipse(canvas.x[box], canvas.y[box], place, (0.07, 0.032)) * 0.04, 0.006)
    canvas.brightness[box] -= np.float32(rng.uniform(0, 0.16)) * bubble


def _torso(side: Picture, y: Picture, pose: Body) -> Picture:
    """Neck, shoulders that reach the border, flanks."""
    neck = 0.085 + 0.42 * np.tanh(np.maximum(y - 0.03, 0) / 0.12)
    flank = np.float32(0.425 * pose.width) + 0.10 * np.exp(-(((y - 0.22) / 0.10) ** 2))
    return edge(np.minimum(neck, flank) - side, 0.006)


def _lungs(canvas: Canvas) -> Picture:
    pose, y = canvas.pose, canvas.y
    out = np.abs(canvas.x) / np.float32(pose.width)
    right, left = (np.float32(dome) for dome in pose.diaphragm)
    above = np.maximum(0.57 - y[:, :1], 0) / 0.47  # rounded apex
    bulge = 0.168 * np.sqrt(np.maximum(1 - above * above, 0))
    lateral = bulge + 0.10 * np.maximum(y[:, :1] - 0.57, 0) + 0.200 - out
    medial = out - (0.200 - bulge)
    floor = np.where(canvas.x < 0, right, left) + 2.6 * (out - 0.15) ** 2 - y
    return edge(np.minimum(np.minimum(np.minimum(lateral, medial), floor), y - 0.10), 0.005)


def _ribs(side: Picture, y: Picture, pose: Body) -> Picture:
    """Nine pairs behind, falling outwards; five in front, fainter, falling inwards."""
    behind = (y - rib(side, 0, pose)) / np.float32(pose.ribs)
    front = (y - 0.42 + 0.75 * side - 0.9 * side**2) / np.float32(1.15 * pose.ribs)
    return _bands(behind, 9) + 0.45 * _bands(front, 5) * edge(side - 0.13, 0.02)


def rib(side: Picture | float, number: int, pose: Body) -> Picture:
    """Give the height of a rib's back part, so far from the midline."""
    return np.asarray(0.135 + number * pose.ribs + 0.04 * side + 0.62 * side * side)


def _bands(phase: Picture, number: int) -> Picture:
    """Draw bands around whole numbers of `phase`, brighter at their rims."""
    off = np.abs(phase - np.rint(phase))
    band = edge(0.20 - off, 0.025) * (0.7 + 1.5 * off)
    return band * ((phase > -0.4) & (phase < number - 0.5))


def _clavicles(side: Picture, y: Picture, pose: Body) -> Picture:
    middle = 0.178 - 0.34 * side + 0.62 * side * side
    off = np.abs(y - middle)
    return (
        edge(0.014 - off, 0.003) * edge(side - 0.03, 0.006) * edge(0.33 * pose.width - side, 0.01)
    )


def _markings(canvas: Canvas, rng: np.random.Generator) -> Picture:
    """Hila, and vessels that thin out towards the rim."""
    side = np.abs(canvas.x)
    root = np.exp(-(((side - 0.085) / 0.035) ** 2) - ((canvas.y - 0.45) / 0.07) ** 2)
    reach = np.exp(-(((side - 0.07) / 0.16) ** 2) - ((canvas.y - 0.50) / 0.24) ** 2)
    vessels = sum(
        weight * np.maximum(1 - 2.2 * np.abs(clouds(rng, canvas.size, cells)), 0)
        for cells, weight in ((14, 0.07), (28, 0.06))
    )
    return canvas.lungs * (0.16 * root + vessels * reach).astype(np.float32)


def heart(canvas: Canvas, half_width: float, mediastinum: float) -> None:
    """Draw heart, great vessels and the aortic knob over the lungs."""
    x, y = canvas.x, canvas.y
    tall = 0.115 + 0.25 * (half_width - 0.150)
    size = (half_width, tall)
    base = max(canvas.pose.diaphragm) - tall * 0.78
    band = np.float32(mediastinum) - np.abs(x) + 0.05 * np.maximum(y - 0.35, 0)
    union = edge(band, 0.006) * edge(max(canvas.pose.diaphragm) + 0.07 - y[:, :1], 0.02)
    for place, radii, tilt in (
        ((0.062, base), size, 0.45),
        ((mediastinum + 0.005, 0.30), (0.032, 0.040), 0.0),
        ((-0.035, base), (0.065, 0.11), 0.0),
    ):
        box = canvas.box(*place, max(radii) + 0.03)
        inside = ellipse(x[box], y[box], place, radii, tilt) * np.float32(min(radii))
        union[box] = np.maximum(union[box], edge(inside, 0.006))
    lift = np.float32(canvas.pose.fat + 0.10) - canvas.brightness
    canvas.brightness += union * (np.maximum(lift, 0) * np.float32(0.88))


def lateral(size: tuple[int, int], pose: Body, rng: np.random.Generator) -> Canvas:
    """Draw a chest from the patient's left: face to the reader's left, both lungs in one."""
    canvas = Canvas(size, pose, frontal=False)
    x, y = canvas.x, canvas.y
    front = -0.25 + 0.30 * (y - 0.55) ** 2
    back = 0.31 - 0.35 * (y - 0.45) ** 2
    neck = 0.16 + 0.5 * np.maximum(y - 0.02, 0)
    torso = edge(np.minimum(np.minimum(x - front + 0.06, back - x + 0.07), neck - np.abs(x)), 0.006)
    dome = 0.80 + 0.9 * (x + 0.02) ** 2 + 0.12 * x
    above = np.maximum(0.42 - y, 0) / 0.31
    apex = 0.25 * np.sqrt(np.maximum(1 - above * above, 0)) - np.abs(x - 0.03 - 0.06 * above)
    inside = np.minimum(np.minimum(x - front, back - 0.03 - x), np.minimum(dome - y, apex))
    canvas.lungs = edge(np.minimum(inside, y - 0.11), 0.006)
    canvas.brightness += torso * np.float32(pose.fat + 0.03)
    canvas.brightness -= canvas.lungs * np.float32(pose.fat - 0.26)
    slanted = (y - 0.16 + 0.55 * (x - 0.2) ** 2 - 0.5 * x) / np.float32(pose.ribs)
    canvas.brightness += 0.06 * _bands(slanted, 9) * canvas.lungs
    spine = edge(0.040 - np.abs(x - back + 0.06), 0.006)
    bodies = edge(0.40 - np.abs(y / 0.062 - np.rint(y / 0.062)), 0.04)
    canvas.brightness += (0.10 + 0.08 * bodies) * spine * torso
    base = edge(ellipse(x, y, (-0.11, 0.63), (pose.heart * 1.05, 0.115), 0.5) * 0.1, 0.007)
    arch = edge(ellipse(x, y, (-0.03, 0.36), (0.075, 0.12)) * 0.07, 0.012)
    lift = np.maximum(pose.fat + 0.08 - canvas.brightness, 0)
    canvas.brightness += 0.75 * lift * np.maximum(base, 0.6 * arch)
    canvas.brightness += 0.03 * clouds(rng, size, 24) * canvas.lungs
    return canvas


def exposed(canvas: Canvas, rng: np.random.Generator) -> Picture:
    """Expose the film: scatter, dose, noise; (H, W) in [0, 1]."""
    dose, gamma = rng.normal(0, 0.03), rng.normal(1.0, 0.07)
    picture = np.clip(canvas.brightness + np.float32(dose), 0, 1) ** np.float32(gamma)
    noise = rng.standard_normal(canvas.size, dtype=np.float32)
    picture += (0.012 + 0.012 * picture) * noise
    return np.asarray(np.clip(picture, 0, 1))
