"""Readers as points beside the model's ROC curve, a small plot a finding."""

from collections.abc import Mapping
from typing import Any

from cxr.learning import table
from cxr.learning.figures import drawing, roc
from cxr.learning.figures.drawing import COLOURS, INK, QUIET
from cxr.learning.points import Roc

SIDE, ACROSS, GAP, TOP = 240, 3, 96, 34


def draw(scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> str:
    """Draw the curves of the findings that two readers or more were measured on.

    Args:
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.
    """
    measured = {
        name: {letter: one for letter, one in found.items() if one["sensitivity"] is not None}
        for name, found in scored.get("readers", {}).get("labels", {}).items()
    }
    names = [name for name, found in measured.items() if found]
    if not names:
        return ""
    parts = []
    for place, name in enumerate(names):
        left = 60 + (place % ACROSS) * (SIDE + GAP)
        top = TOP + (place // ACROSS) * (SIDE + GAP)
        parts.append(drawing.text(left, top - 10, drawing.short(name, 30), weight=600, title=name))
        parts += roc.axes(left, top, SIDE)
        curve = curves.get(name)
        if curve is not None:
            parts.append(roc.draw(curve, left, top, SIDE, COLOURS[0], "", 1.8))
        points = [_point(letter, one, left, top) for letter, one in measured[name].items()]
        # letters last, so that no point hides another's
        parts += [part for each in zip(*points, strict=True) for part in each]
    rows = -(-len(names) // ACROSS)
    width = 60 + min(len(names), ACROSS) * (SIDE + GAP)
    return drawing.document(
        width, TOP + rows * (SIDE + GAP), "ROC curves with each reader as a point", parts
    )


def _point(letter: str, one: Mapping[str, Any], left: float, top: float) -> tuple[str, str, str]:
    x, y = left + SIDE * (1 - one["specificity"]), top + SIDE * (1 - one["sensitivity"])
    low, high = (left + SIDE * (1 - end) for end in one["specificity_ci"])
    bottom, upper = (top + SIDE * (1 - end) for end in one["sensitivity_ci"])
    cross = (
        f'<path d="M{low:.1f} {y:.1f}H{high:.1f}M{x:.1f} {bottom:.1f}V{upper:.1f}" '
        f'stroke="{QUIET}" stroke-width="1"/>'
    )
    said = (
        f"reader {letter}: sensitivity {table.number(one['sensitivity'])}, "
        f"specificity {table.number(one['specificity'])}"
    )
    dot = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{COLOURS[1]}" stroke="#fff">'
        f"<title>{said}</title></circle>"
    )
    return cross, dot, drawing.text(x + 7, y - 6, letter, colour=INK, weight=600)
