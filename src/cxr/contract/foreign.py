"""Answers of the published sample's page: which findings a worker ticked, and a region drawn.

Its form is `{"disease": {"Edema": true, "Fracture": false}, "labels": "<JSON>"}`, and the JSON in
`labels` is `{"label": ["Edema"], "imageurl": "…", "ROI": {…}}`. A ticked box says present. A box
left alone says nothing: whoever ticks what "best suits the image" denies no other finding, so that
is not_mentioned, as where a text is silent. `No Finding` ticked alone denies what it excludes.

Such answers are read from finished manifests only; our own page never sends them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr.contract.annotation import POINTS, Annotation, Roi
from cxr.contract.labels import LabelSet, State
from cxr.errors import AnnotationError, LabelError

CHOSEN = "disease"
DRAWN = "labels"
NOTHING = "nothing ticked"
"""Why such an answer counts as a skip: the sample has a box for an image without findings."""
_TICKED = (True, 1, "true", "on", "1")
_MOST = 1_000_000.0
"""No radiograph has so many columns."""


def is_one(form: object) -> bool:
    """Say whether a form is of the sample's page.

    >>> is_one({"disease": {"Edema": True}, "labels": "{}"}), is_one({"annotation": "{}"})
    (True, False)
    """
    return isinstance(form, dict) and (
        CHOSEN in form or (isinstance(form.get(DRAWN), str) and "annotation" not in form)
    )


def names(form: Mapping[str, Any]) -> tuple[str, ...]:
    """Name what a form offers to tick, in its order; empty where it lists only what was ticked."""
    boxes = form.get(CHOSEN)
    return tuple(str(name).strip() for name in boxes) if isinstance(boxes, dict) else ()


def read(form: Mapping[str, Any], label_set: LabelSet) -> Annotation:
    """Read one worker's form.

    Args:
        form: Of the sample's page.
        label_set: What was asked.

    Returns:
        Its answer: ticked findings are present, others not_mentioned, or absent where `No Finding`
        alone excludes them; a region where one was drawn and belongs to one finding.

    Raises:
        AnnotationError: It is no such form, or ticks what was not asked; `field` says where.
    """
    drawn = _drawn(form)
    ticked = _ticked(form.get(CHOSEN), CHOSEN, label_set)
    ticked |= _ticked(drawn.get("label"), f"{DRAWN}.label", label_set)
    rois = tuple(_rois(drawn.get("ROI"), ticked, label_set))
    if not ticked:
        return Annotation({}, reason=NOTHING, skipped=True, document=dict(form))
    states = {
        name: State.PRESENT if name in ticked else State.NOT_MENTIONED for name in label_set.names
    }
    if label_set.no_finding in ticked and label_set.no_finding is not None:
        if ticked & set(label_set.excluded):
            states[label_set.no_finding] = State.ABSENT  # what was seen counts for more
        else:
            states |= dict.fromkeys(label_set.excluded, State.ABSENT)
    return Annotation(states, rois, document=dict(form))


def _drawn(form: Mapping[str, Any]) -> Mapping[str, Any]:
    text = form.get(DRAWN) or "{}"
    if isinstance(text, Mapping):
        return text
    try:
        drawn = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise AnnotationError("expected JSON as a string", DRAWN) from error
    if not isinstance(drawn, dict):
        raise AnnotationError("expected an object", DRAWN)
    return drawn


def _ticked(said: object, place: str, label_set: LabelSet) -> set[str]:
    """Name what is ticked: boxes by name, a list of names, or one name."""
    if isinstance(said, dict):
        chosen = [name for name, value in said.items() if _is_ticked(value)]
    elif isinstance(said, str):
        chosen = said.split(",")
    elif said is None or isinstance(said, list):
        chosen = said or []
    else:
        raise AnnotationError("expected names, or boxes by name", place)
    found = set()
    for name in chosen:
        if not isinstance(name, str):
            raise AnnotationError("expected a name", place)
        if name.strip():
            try:
                found.add(label_set.canonical(name.strip()))
            except LabelError as error:
                raise AnnotationError(str(error), place) from error
    return found


def _is_ticked(value: object) -> bool:
    if isinstance(value, dict):  # as a crowd-form tells of boxes that have values of their own
        return any(map(_is_ticked, value.values()))
    return isinstance(value, str | int) and value in _TICKED


def _rois(drawn: object, ticked: set[str], label_set: LabelSet) -> Iterator[Roi]:
    """Give regions that can be understood: whose points are known, of one finding for certain.

    The page keeps no more than the last shape, and of an ellipse no more than of a rectangle, so
    an ellipse is read as the rectangle around it.
    """
    findings = ticked - {label_set.no_finding}
    if len(findings) != 1:
        return
    (label,) = findings
    for number, one in enumerate(drawn if isinstance(drawn, list) else [drawn]):
        if isinstance(one, dict) and (shape := _shape(one)):
            yield Roi(f"roi-{number}", shape[0], label, shape[1])


def _shape(one: Mapping[str, Any]) -> tuple[str, tuple[tuple[float, float], ...]] | None:
    ring = one.get("vertices")
    if isinstance(ring, dict):
        ring = ring.get("points")
    kind = "rectangle" if ring is None else "polygon"
    points = _points([one.get("start"), one.get("end")] if ring is None else ring)
    if kind == "polygon" and len(points) > 1 and points[0] == points[-1]:
        points = points[:-1]  # a ring is open
    fewest, most = POINTS[kind]
    fits = fewest <= len(points) <= most and len(set(points)) == len(points)
    return (kind, points) if fits else None


def _points(given: object) -> tuple[tuple[float, float], ...]:
    found = []
    for point in given if isinstance(given, Sequence) and not isinstance(given, str) else ():
        ends = [_number(point.get(axis)) for axis in "xy"] if isinstance(point, dict) else []
        x, y = ends or (None, None)
        if x is None or y is None:
            return ()
        found.append((x, y))
    return tuple(found)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MOST < value < _MOST else None  # nor is a NaN
