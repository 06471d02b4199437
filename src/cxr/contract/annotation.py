"""One worker's answer on one image: findings and ROIs, from and to the page's JSON.

The page sends it as a JSON string in the form field `annotation` (schema `cxr-annotation/1`),
so inside Ground Truth's `annotationData.content` our JSON is encoded twice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxr.contract.labels import ANSWERS, LabelSet, State
from cxr.errors import AnnotationError, LabelError

SCHEMA = "cxr-annotation/1"
FIELD = "annotation"
"""Name of the form field that holds the JSON."""
POINTS = {
    "rectangle": (2, 2),
    "ellipse": (4, 4),
    "polygon": (3, 10_000),
    "length": (2, 2),
    "point": (1, 1),
}
"""ROI type → fewest and most points."""
MOST_ROIS = 500
"""In one answer; nobody draws so many, and matching them all takes long."""
MEASURES = frozenset({"length", "point"})
"""ROI types that measure: drawn on any finding, they do not say that it is there."""


@dataclass(frozen=True)
class Roi:
    """A region drawn by one worker, tied to a finding.

    Attributes:
        id: Unique within the answer.
        type: A key of `POINTS`.
        label: A name of the label set.
        points: (x, y) in image pixels, x = column, y = row, (0, 0) the outer corner of the
            first pixel; rectangle: two opposite corners; ellipse: ends of the major, then of the
            minor axis (PS3.3 C.18.6.1.2); polygon: an open ring; length: two ends; point: one.
        state: Of its finding: present or uncertain, or absent too for one of `MEASURES`.
        comment: Free text, may be empty.
    """

    id: str
    type: str
    label: str
    points: tuple[tuple[float, float], ...]
    state: State = State.PRESENT
    comment: str = ""


@dataclass(frozen=True)
class Annotation:
    """What one worker submitted.

    Attributes:
        findings: Label name → present, absent or uncertain, for every label of the set; empty
            when skipped.
        rois: In the order drawn.
        usable: False if the worker called the image unfit to read.
        reason: Why it was skipped or unusable, or None.
        skipped: No answer was given.
        comment: On the image as a whole.
        comments: Label name → comment, where there is one.
        document: The whole JSON as submitted, with what this class does not name.
    """

    findings: Mapping[str, State]
    rois: tuple[Roi, ...] = ()
    usable: bool = True
    reason: str | None = None
    skipped: bool = False
    comment: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str, labels: LabelSet) -> Annotation:
    """Read the page's JSON, checking it against the label set.

    Args:
        text: The form field's value.
        labels: What the worker was asked.

    Raises:
        AnnotationError: Not JSON, another schema, a finding unanswered or unknown, an ROI that
            is not one, or one too many, or No Finding present beside a finding it excludes; `field`
            says where.
    """
    try:
        document = json.loads(text)
        # half a character (a lone surrogate) would stop the manifest from being written
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"expected JSON, met {text[:40]!r}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        met = document.get("schema") if isinstance(document, dict) else document
        raise AnnotationError(f'expected "{SCHEMA}", met {met!r}'[:200], "schema")
    quality = _typed(document, "quality", dict, {})
    usable = _typed(quality, "usable", bool, True, "quality.")
    reason = quality.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise AnnotationError(f"expected text or null, met {reason!r}", "quality.reason")
    if skipped := _typed(document, "skipped", bool, False):
        if not reason:
            raise AnnotationError("expected a reason for the skip, met none", "quality.reason")
        return Annotation(
            {}, usable=usable, reason=reason, skipped=True,
            comment=_typed(document, "comment", str, ""), document=document,
        )  # fmt: skip
    states, comments = _findings(document, labels)
    drawn = _typed(document, "rois", list, [])
    if len(drawn) > MOST_ROIS:
        raise AnnotationError(f"expected at most {MOST_ROIS} ROIs, met {len(drawn)}", "rois")
    rois = tuple(_roi(item, f"rois[{i}]", labels) for i, item in enumerate(drawn))
    return Annotation(
        states, rois, usable, reason, skipped,
        _typed(document, "comment", str, ""), comments, document,
    )  # fmt: skip


def to_document(annotation: Annotation) -> dict[str, Any]:
    """Give the JSON document of an answer that did not come from the page.

    `parse(json.dumps(to_document(a)), labels)` equals `a` up to its `document`.
    """
    return {
        "schema": SCHEMA,
        "findings": [
            {"label": label, "state": str(state), "comment": annotation.comments.get(label, "")}
            for label, state in annotation.findings.items()
        ],
        "rois": [roi_document(roi) for roi in annotation.rois],
        "quality": {"usable": annotation.usable, "reason": annotation.reason},
        "comment": annotation.comment,
        "skipped": annotation.skipped,
    }


def roi_document(roi: Roi) -> dict[str, Any]:
    """Give one ROI as the manifest and the page write it."""
    return {
        "id": roi.id,
        "type": roi.type,
        "label": roi.label,
        "points": [list(point) for point in roi.points],
        "state": str(roi.state),
        "comment": roi.comment,
    }


def _findings(
    document: Mapping[str, Any], labels: LabelSet
) -> tuple[dict[str, State], dict[str, str]]:
    said: dict[str, State] = {}
    comments: dict[str, str] = {}
    for i, item in enumerate(_typed(document, "findings", list, None)):
        place = f"findings[{i}]"
        if not isinstance(item, dict):
            raise AnnotationError(f"expected an object, met {item!r}", place)
        label = _label(item, place, labels)
        if label in said:
            raise AnnotationError(f"{label!r} is answered twice", place)
        state = item.get("state")
        if state not in ANSWERS:
            raise AnnotationError(
                f"expected present, absent or uncertain for {label!r}, met {state!r}",
                f"{place}.state",
            )
        said[label] = State(state)
        if comment := _typed(item, "comment", str, "", f"{place}."):
            comments[label] = comment
    missing = [name for name in labels.names if name not in said]
    if missing:
        raise AnnotationError(f"expected an answer for {missing[0]!r}, met none", "findings")
    if labels.no_finding and said[labels.no_finding] is State.PRESENT:
        for name in labels.excluded:
            if said[name] is State.PRESENT:
                raise AnnotationError(f"{labels.no_finding!r} excludes {name!r}", "findings")
    return {name: said[name] for name in labels.names}, comments


def _roi(item: object, place: str, labels: LabelSet) -> Roi:
    if not isinstance(item, dict):
        raise AnnotationError(f"expected an object, met {item!r}", place)
    kind = _typed(item, "type", str, None, f"{place}.")
    if kind not in POINTS:
        raise AnnotationError(f"expected one of {', '.join(POINTS)}, met {kind!r}", f"{place}.type")
    points = _typed(item, "points", list, None, f"{place}.")
    fewest, most = POINTS[kind]
    if not fewest <= len(points) <= most:
        raise AnnotationError(
            f"expected {fewest} to {most} points for a {kind}, met {len(points)}",
            f"{place}.points",
        )
    return Roi(
        id=_typed(item, "id", str, None, f"{place}."),
        type=kind,
        label=_label(item, place, labels),
        points=tuple(_point(point, f"{place}.points[{k}]") for k, point in enumerate(points)),
        state=_roi_state(item, kind, place),
        comment=_typed(item, "comment", str, "", f"{place}."),
    )


def _roi_state(item: Mapping[str, Any], kind: str, place: str) -> State:
    state = item.get("state", "present")
    if state in (State.PRESENT, State.UNCERTAIN) or (state == State.ABSENT and kind in MEASURES):
        return State(state)
    expected = "present, absent or uncertain" if kind in MEASURES else "present or uncertain"
    raise AnnotationError(f"expected {expected}, met {state!r}"[:200], f"{place}.state")


def _point(value: object, place: str) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value)
        or not all(abs(v) < 1e6 for v in value)  # not so of NaN either
    ):
        raise AnnotationError(f"expected [x, y] in image pixels, met {value!r}"[:200], place)
    return (float(value[0]), float(value[1]))


def _label(item: Mapping[str, Any], place: str, labels: LabelSet) -> str:
    try:
        return labels.canonical(_typed(item, "label", str, None, f"{place}."))
    except LabelError as error:
        raise AnnotationError(str(error), f"{place}.label") from error


def _typed(item: Mapping[str, Any], key: str, kind: type, default: Any, place: str = "") -> Any:
    value = item.get(key, default)
    if not isinstance(value, kind):
        raise AnnotationError(f"expected {kind.__name__}, met {value!r}"[:200], place + key)
    return value
