"""The pointing game: how often the highest point of a map lies where readers saw the finding.

Zhang et al., Top-down Neural Attention by Excitation Backprop (2016): an image is a hit where the
map's maximum lies in the region or at most a tolerance from it; theirs was 15 pixels of about 500,
ours is the same share of the image's longer side. The letterbox around an image takes no part.
Beside every rate stands the one a point drawn at random in the image would have.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from cxr.errors import RunError
from cxr.learning import decoding, metrics, points, regions
from cxr.learning.decoding import Placement
from cxr.learning.evaluation import saliency
from cxr.learning.evaluation.scene import Scene
from cxr.learning.material import Material

TOLERANCE = 0.03
"""Share of the image's longer side."""
UNDRAWN = "no reader drew a region of a finding that is present"


def game(scene: Scene) -> Mapping[str, Any] | None:
    """Play it over all scored images with the finding and a region of it.

    Returns:
        `tolerance`, `labels`: finding → `n`, `hits`, `rate`, `ci`, `ci_reason`, `patients` and
        `chance`, the mean area share; `all` of them together; `reason` where there are none. None
        where nobody asked for saliency.
    """
    if not scene.settings.saliency:
        return None
    asked = _asked(scene)
    reason = None if asked else UNDRAWN
    try:
        played = _played(scene, asked)
    except RunError as error:  # a net of its own kind; its other figures hold
        played, reason = {}, str(error)
    return {
        "reason": reason,
        "tolerance": TOLERANCE,
        "labels": {scene.images.names[k]: _rate(plays) for k, plays in sorted(played.items())},
        "all": _rate(list(chain.from_iterable(played.values()))),
    }


def _played(scene: Scene, asked: Sequence[tuple[int, int]]) -> dict[int, list["_Play"]]:
    played: dict[int, list[_Play]] = {}
    pairs = [(int(scene.rows[n]), k) for n, k in asked]
    by = None if scene.by is None else scene.by[[n for n, _ in asked]]
    maps = saliency.maps(scene.predictor, scene.material, pairs, by)
    for (n, k), (row, _), found in zip(asked, pairs, maps, strict=True):
        at = placement(scene.material, row, found.shape)
        area = target(drawn(scene, n, k), at)
        play = _Play(is_hit(found, area, at), chance(area, at), str(scene.images.patients[n]))
        played.setdefault(k, []).append(play)
    return played


def placement(material: Material, row: int, size: Sequence[int]) -> Placement:
    """Say where in its letterbox an image lies; all over it where its size is not known.

    Args:
        material: Of the job.
        row: Of the image.
        size: (H, W) of the letterbox.
    """
    instances = material.cohort.instances
    shape = (instances[row].rows, instances[row].columns) if instances else (0, 0)
    return decoding.place(shape if min(shape) > 0 else (size[0], size[1]), size)


def peak(found: NDArray[np.floating[Any]], at: Placement) -> tuple[float, float] | None:
    """Give (x, y) of the map's maximum within the image, in pixels of the letterbox.

    A map enlarged from few cells is flat at the border: of equal maxima the one in their middle.

    Args:
        found: (H, W), 0 where nothing spoke for the finding.
        at: Where the image lies.

    Returns:
        None where nothing did anywhere.
    """
    inside = found[at.top : at.top + at.rows, at.left : at.left + at.columns]
    highest = float(inside.max())
    if highest <= 0:
        return None
    ties = np.argwhere(inside >= highest * (1 - 1e-6))
    middle = ties[np.square(ties - ties.mean(axis=0)).sum(axis=1).argmin()]
    return float(at.left + middle[1] + 0.5), float(at.top + middle[0] + 0.5)


def target(drawn: Sequence[regions.Region], at: Placement) -> BaseGeometry:
    """Give where a point counts as a hit: regions with the tolerance around, inside the image."""
    union = shapely.union_all([regions.shape(region, at) for region in drawn])
    return shapely.intersection(union.buffer(TOLERANCE * max(at.rows, at.columns)), _image(at))


def is_hit(found: NDArray[np.floating[Any]], area: BaseGeometry, at: Placement) -> bool:
    """Say whether a map's maximum lies in that area; a map of zeros has none and is a miss."""
    highest = peak(found, at)
    return highest is not None and bool(area.covers(shapely.Point(highest)))


def chance(area: BaseGeometry, at: Placement) -> float:
    """Give how often a point drawn at random in the image would hit."""
    return float(area.area / _image(at).area)


def _image(at: Placement) -> BaseGeometry:
    return shapely.box(at.left, at.top, at.left + at.columns, at.top + at.rows)


def _asked(scene: Scene) -> list[tuple[int, int]]:
    """Give image and label of every call to play on, label by label."""
    there = scene.images.mask & (scene.images.truth == 1)
    return [
        (int(n), k)
        for k in range(len(scene.images.names))
        for n in np.flatnonzero(there[:, k])
        if drawn(scene, int(n), k)
    ]


def drawn(scene: Scene, n: int, k: int) -> list[regions.Region]:
    """Give the regions of one label in one of the scored images; none where nobody drew.

    Args:
        scene: Of the evaluation.
        n: Place among the scored images.
        k: Column of the label.
    """
    cohort = scene.material.cohort
    here = cohort.instances[scene.rows[n]]
    if not (here.rows and here.columns):  # not known, so neither is where in the letterbox
        return []
    name = scene.images.names[k]
    # the job may name the finding otherwise than the run
    known = name if name in cohort.names else cohort.aliases.get(name, name)
    return [r for r in cohort.examples[scene.rows[n]].regions if r.label == known]


class _Play(NamedTuple):
    hit: bool
    chance: float
    patient: str


def _rate(plays: Sequence[_Play]) -> dict[str, Any]:
    hits = np.array([play.hit for play in plays], bool)
    whose = np.array([play.patient for play in plays], np.str_)
    patients = len(np.unique(whose))
    few = patients < metrics.FEWEST_PATIENTS
    reason = f"{patients} patient{'s' * (patients != 1)}, {metrics.FEWEST_PATIENTS} needed"
    return {
        "n": len(plays),
        "patients": patients,
        "hits": int(hits.sum()),
        "rate": float(hits.mean()) if plays else None,
        "ci": None if few else list(points.proportion_interval(hits, whose)),
        "ci_reason": f"no interval: {reason}" if few else None,
        "chance": float(np.mean([play.chance for play in plays])) if plays else None,
    }
