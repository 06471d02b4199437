"""Which images a report shows: a finding's surest true calls, surest false alarms, worst misses.

An image whose file says that text is burned into its pixels is never shown, neither as it is nor
under a map; one of which that is not known only where it was asked for, and once its file was
looked at: searches of a DICOMweb server may leave out what files say. What is here is patient data.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DicomError, PacsError, RunError, UnavailableError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.learning import regions
from cxr.learning.evaluation import pointing, saliency
from cxr.learning.evaluation.scene import Scene
from cxr.learning.report import Picture

_log = logging.getLogger(__name__)
PER_KIND = 2
"""Images of one finding that are called alike."""
MOST = 72
"""Images in one report, half a megabyte each at worst."""
MOST_ASKED = 10 * MOST
"""Files about that are looked at before one report; then silent images are no longer chosen."""
KINDS = FOUND, ALARM, MISSED = "found", "false alarm", "missed"


@dataclass(frozen=True)
class Case:
    """One image chosen for one finding.

    Attributes:
        n: Place among the scored images.
        k: Column of the label.
        kind: `FOUND`, `ALARM`, `MISSED`.
    """

    n: int
    k: int
    kind: str


class Choice(NamedTuple):
    """What a gallery shows, and what it keeps back.

    Attributes:
        cases: At most `MOST`.
        cut: Left out for want of room.
        flagged: Images scored of which it is known that text is burned in.
        silent: Images scored of which it is not known.
    """

    cases: list[Case]
    cut: int
    flagged: int
    silent: int


def choose(scene: Scene, file_of: Callable[[Instance], bytes] | None = None) -> Choice:
    """Choose images of which it is known that no text is burned in.

    Args:
        scene: As for `cases`.
        file_of: Gives an image's file. With it, silent ones are chosen too, if theirs are here and
            do not say that text is burned in.
    """
    cohort = scene.material.cohort
    said = [cohort.examples[row].burned_in for row in scene.rows]
    asked: set[int] = set()
    lost: set[int] = set()
    while True:
        more = file_of is not None and len(asked) < MOST_ASKED
        silent = [each is None and (more or n in asked) for n, each in enumerate(said)]
        may = [each is False or (silent[n] and n not in lost) for n, each in enumerate(said)]
        belong = cases(scene, np.array(may, bool))
        chosen = shared_out(belong)
        doubted = {case.n for case in chosen if silent[case.n]} - asked
        if not doubted or file_of is None:
            break
        asked |= doubted
        for n in sorted(doubted):
            try:
                said[n] = _says(file_of(cohort.instances[scene.rows[n]]))
            except UnavailableError as error:
                _log.warning("no image is shown whose file cannot be looked at: %s", error)
                return choose(scene)
            except (PacsError, DicomError):
                lost.add(n)
    return Choice(chosen, len(belong) - len(chosen), said.count(True), said.count(None))


def _says(file: bytes) -> bool | None:
    """Say what a file says; a word of its own is taken for a yes."""
    return {"": None, "NO": False}.get(dicom.burned_in(file), True)


def cases(scene: Scene, may: NDArray[np.bool_], *, per_kind: int = PER_KIND) -> list[Case]:
    """Choose images, finding by finding.

    With a threshold a call is what lies above it. Without one nothing is called, and the highest
    outputs of present and absent and the lowest of present are chosen, no image twice. Findings
    that are averaged come first.

    Args:
        scene: Whose single images are chosen from, whatever unit is scored.
        may: (N,) of the scored images, which may be shown.
        per_kind: Of one finding.
    """
    sample = scene.images
    names = sample.names
    order = [k for k, name in enumerate(names) if name in scene.scored["averaged"]]
    order += [k for k, name in enumerate(names) if k not in order and name != sample.no_finding]
    chosen: list[Case] = []
    for k in order:
        known = may & sample.mask[:, k]
        present = known & (sample.truth[:, k] == 1)
        threshold = scene.scored["labels"][names[k]]["threshold"]
        column = sample.probabilities[:, k]
        for kind, some in _of_one(column, present, known & ~present, threshold, per_kind):
            chosen += [Case(n, k, kind) for n in some]
    return chosen


def shared_out(chosen: Sequence[Case], most: int = MOST) -> list[Case]:
    """Keep the first `most` when every finding takes its turn: its surest of each kind first.

    Args:
        chosen: As `cases` gives them.
        most: In all.

    Returns:
        Those kept, in the order given.
    """
    met: Counter[tuple[int, str]] = Counter()
    turns = []
    for place, case in enumerate(chosen):
        turns.append((met[case.k, case.kind], KINDS.index(case.kind), place))
        met[case.k, case.kind] += 1
    return [chosen[place] for place in sorted(place for *_, place in sorted(turns)[:most])]


def _of_one(
    p: NDArray[np.float64],
    present: NDArray[np.bool_],
    absent: NDArray[np.bool_],
    threshold: float | None,
    per_kind: int,
) -> list[tuple[str, list[int]]]:
    called = np.ones(len(p), bool) if threshold is None else p > threshold
    highest, lowest = np.argsort(-p, kind="stable"), np.argsort(p, kind="stable")
    found = [int(n) for n in highest if present[n] and called[n]][:per_kind]
    alarms = [int(n) for n in highest if absent[n] and called[n]][:per_kind]
    below = present if threshold is None else present & ~called
    missed = [int(n) for n in lowest if below[n] and n not in found][:per_kind]
    return [(FOUND, found), (ALARM, alarms), (MISSED, missed)]


def pictures(scene: Scene, chosen: Sequence[Case]) -> list[Picture]:
    """Show the chosen images, with maps where saliency is asked for."""
    rows = [int(scene.rows[case.n]) for case in chosen]
    plain = [_picture(scene, case, row) for case, row in zip(chosen, rows, strict=True)]
    if not scene.settings.saliency:
        return plain
    pairs = [(row, case.k) for row, case in zip(rows, chosen, strict=True)]
    by = None if scene.by is None else scene.by[[case.n for case in chosen]]
    found = saliency.maps(scene.predictor, scene.material, pairs, by)
    try:
        return [
            _mapped(scene, picture, row, one)
            for picture, row, one in zip(plain, rows, found, strict=True)
        ]
    except RunError as error:
        _log.warning("%s", error)
        return plain


def _picture(scene: Scene, case: Case, row: int) -> Picture:
    sample, material = scene.images, scene.material
    image = material.gather(np.array([row], np.intp))[0]
    at = pointing.placement(material, row, image.shape)
    outlines = [
        [(x, y) for x, y in at.points(np.array(regions.corners(region))).tolist()]
        for region in pointing.drawn(scene, case.n, case.k)
    ]
    return Picture(
        image=image,
        at=at,
        finding=sample.names[case.k],
        kind=case.kind,
        view=str(sample.columns["view"][case.n]) if "view" in sample.columns else "",
        calls=_calls(scene, case.n),
        outlines=outlines,
    )


def _calls(scene: Scene, n: int) -> Mapping[str, tuple[float, bool | None]]:
    sample = scene.images
    return {
        name: (
            float(sample.probabilities[n, k]),
            bool(sample.truth[n, k]) if sample.mask[n, k] else None,
        )
        for k, name in enumerate(sample.names)
    }


def _mapped(scene: Scene, picture: Picture, row: int, found: NDArray[np.float32]) -> Picture:
    at = pointing.placement(scene.material, row, found.shape)
    inside = np.zeros_like(found)
    place = slice(at.top, at.top + at.rows), slice(at.left, at.left + at.columns)
    inside[place] = found[place]
    highest = float(inside.max())
    return replace(
        picture,
        heat=inside / highest if highest > 0 else inside,
        peak=pointing.peak(found, at),
    )
