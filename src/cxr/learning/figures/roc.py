"""ROC curves: small ones to stand in a table, and all findings in one plot."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxr.learning import table
from cxr.learning.figures import drawing
from cxr.learning.figures.drawing import COLOURS, GRID, QUIET
from cxr.learning.points import Roc


def small(name: str, curve: Roc | None, figures: Mapping[str, Any], *, size: int = 60) -> str:
    """Draw one label's ROC curve to stand in a table row; empty where there is none.

    Args:
        name: The label.
        curve: Its ROC curve, or None.
        figures: Its entry in metrics.json; the operating point becomes a dot.
        size: Side in pixels.
    """
    if curve is None:
        return ""
    side = size - 8
    parts = [
        f'<rect x="4" y="4" width="{side}" height="{side}" fill="#fff" stroke="{GRID}"/>',
        f'<path d="M4 {4 + side}L{4 + side} 4" stroke="{GRID}" fill="none"/>',
        draw(curve, 4, 4, side, COLOURS[0], "", 1.5),
        _dot(figures, 4, 4, side, COLOURS[0], 2.6),
    ]
    return drawing.document(size, size, f"ROC curve of {name}", parts)


def panel(scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> str:
    """Draw the ROC curves of all averaged findings in one plot, best first in the legend.

    Args:
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.
    """
    left, top, side = 56, 12, 400
    names = [name for name in scored["averaged"] if curves.get(name) is not None]
    if not names:
        return ""
    names.sort(key=lambda name: -scored["labels"][name]["auroc"])
    parts = axes(left, top, side)
    for rank, name in reversed(list(enumerate(names))):
        colour, dash = drawing.style(rank)
        curve = curves[name]
        if curve is not None:
            parts.append(draw(curve, left, top, side, colour, dash, 1.8))
            parts.append(_dot(scored["labels"][name], left, top, side, colour, 4))
    x, y = left + side + 28, top + 14
    parts.append(drawing.text(x, y, "AUROC, highest first", weight=600))
    for rank, name in enumerate(names):
        colour, dash = drawing.style(rank)
        line = y + 24 + 22 * rank
        parts.append(
            f'<path d="M{x} {line - 4}h26" stroke="{colour}" stroke-width="2.4" '
            f'stroke-dasharray="{dash}"/>'
        )
        parts.append(drawing.text(x + 34, line, table.number(scored["labels"][name]["auroc"])))
        parts.append(drawing.text(x + 76, line, drawing.short(name, 30), title=name))
    if any(scored["labels"][name]["threshold"] is not None for name in names):
        line = y + 24 + 22 * len(names) + 10
        parts.append(f'<circle cx="{x + 13}" cy="{line - 4}" r="4" fill="{QUIET}"/>')
        parts.append(drawing.text(x + 34, line, "at the chosen threshold", colour=QUIET))
    height = max(top + side + 48, y + 24 + 22 * (len(names) + 1) + 10)
    return drawing.document(left + side + 330, height, "ROC curves of the averaged findings", parts)


def axes(left: float, top: float, side: float) -> list[str]:
    """Draw the frame, grid and names of one plot, its upper left corner at (left, top)."""
    bottom = top + side
    parts = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x, y = left + side * tick, bottom - side * tick
        parts.append(f'<path d="M{x:.1f} {top}V{bottom}M{left} {y:.1f}h{side}" stroke="{GRID}"/>')
        parts.append(drawing.text(x, bottom + 18, f"{tick:g}", anchor="middle", colour=QUIET))
        parts.append(drawing.text(left - 8, y + 4, f"{tick:g}", anchor="end", colour=QUIET))
    parts.append(
        f'<path d="M{left} {bottom}L{left + side} {top}" stroke="{QUIET}" stroke-dasharray="4 3"/>'
    )
    parts.append(drawing.text(left + side / 2, bottom + 40, "1 − specificity", anchor="middle"))
    parts.append(drawing.text(left - 40, top + side / 2, "sensitivity", anchor="middle", turn=True))
    return parts


def draw(
    curve: Roc, left: float, top: float, side: float, colour: str, dash: str, width: float
) -> str:
    """Draw one curve into a plot of that side."""
    x = np.round(left + side * curve.false_positive_rate, 1)
    y = np.round(top + side * (1 - curve.sensitivity), 1)
    # a corner is where the direction changes; what lies between two corners is not needed
    turns = np.diff(x)[1:] * np.diff(y)[:-1] != np.diff(x)[:-1] * np.diff(y)[1:]
    corner = np.concatenate([[True], turns, [True]])
    points = " ".join(f"{a:g},{b:g}" for a, b in zip(x[corner], y[corner], strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
        f'stroke-linejoin="round" stroke-dasharray="{dash}"/>'
    )


def _dot(
    figures: Mapping[str, Any], left: float, top: float, side: float, colour: str, radius: float
) -> str:
    found, spared = figures["sensitivity"], figures["specificity"]
    if found is None or spared is None:
        return ""
    return (
        f'<circle cx="{left + side * (1 - spared):.1f}" cy="{top + side * (1 - found):.1f}" '
        f'r="{radius}" fill="{colour}" stroke="#fff"/>'
    )
