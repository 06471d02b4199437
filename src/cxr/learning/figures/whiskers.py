"""Dots with their intervals, a row each, under headings: groups beside a line to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr.learning import table
from cxr.learning.figures import drawing
from cxr.learning.figures.drawing import COLOURS, GRID, INK, QUIET

LEFT, WIDTH, ROW = 250, 400, 24


@dataclass(frozen=True)
class Row:
    """One row of such a figure.

    Attributes:
        label: What it is.
        beside: In grey after it, such as how many.
        value: None where there is none.
        ci: Its interval, or None.
        instead: What is said where there is no value.
        hollow: Not to be compared with the others as it is.
        heading: A row of text alone, that the rows below belong to.
        strong: The row that sums up.
    """

    label: str
    beside: str = ""
    value: float | None = None
    ci: Sequence[float] | None = None
    instead: str = ""
    hollow: bool = False
    heading: bool = False
    strong: bool = False


def draw(
    rows: Sequence[Row],
    *,
    title: str,
    axis: str,
    line: float,
    low: float,
    high: float,
    signed: bool,
) -> str:
    """Draw rows over a common axis.

    Args:
        rows: From above down.
        title: Read out.
        axis: What it measures.
        line: To compare with; drawn dashed.
        low: Where the axis begins at the latest; lower where a row needs it.
        high: Where it ends at the earliest; higher where a row needs it.
        signed: Values are differences: with a sign.
    """
    ends = [v for r in rows if r.value is not None for v in (r.value, *(r.ci or ()))]
    start, stop, step = _scale(min([low, *ends]), max([high, *ends]))
    height = ROW * len(rows) + 16

    def across(value: float) -> float:
        return float(LEFT + WIDTH * (value - start) / (stop - start))

    parts = []
    for tick in np.arange(start, stop + step / 2, step):
        x = across(tick)
        parts.append(f'<path d="M{x:.1f} 6V{height - 6}" stroke="{GRID}"/>')
        words = table.signed(tick, 2) if signed else f"{tick:.2f}".removesuffix("0")
        parts.append(drawing.text(x, height + 10, words, anchor="middle", colour=QUIET))
    parts.append(
        f'<path d="M{across(line):.1f} 6V{height - 6}" stroke="{QUIET}" stroke-dasharray="4 3"/>'
    )
    parts.append(drawing.text(LEFT + WIDTH / 2, height + 30, axis, anchor="middle", colour=QUIET))
    for place, row in enumerate(rows):
        y = ROW * place + 24
        weight = 600 if row.heading or row.strong else 400
        if row.heading:
            parts.append(drawing.text(4, y + 4, drawing.short(row.label, 60), weight=weight))
            continue
        label = drawing.short(row.label, 22 if row.beside else 34)
        parts.append(drawing.text(16, y + 4, label, weight=weight, title=row.label))
        parts.append(drawing.text(LEFT - 14, y + 4, row.beside, anchor="end", colour=QUIET))
        if row.value is None:
            parts.append(drawing.text(LEFT + 8, y + 4, row.instead, colour=QUIET))
            continue
        colour = INK if row.strong else COLOURS[0]
        if row.ci is not None:
            begin, end = across(row.ci[0]), across(row.ci[1])
            parts.append(
                f'<path d="M{begin:.1f} {y}H{end:.1f}" stroke="{colour}" stroke-width="2"/>'
            )
        parts.append(
            f'<circle cx="{across(row.value):.1f}" cy="{y}" r="4.5" '
            f'fill="{"#fff" if row.hollow else colour}" stroke="{colour}" stroke-width="1.5"/>'
        )
        words = table.signed(row.value) if signed else table.number(row.value)
        parts.append(drawing.text(LEFT + WIDTH + 16, y + 4, words, weight=weight))
        words = table.signed_interval(row.ci) if signed else table.interval(row.ci)
        parts.append(
            drawing.text(LEFT + WIDTH + (78 if signed else 68), y + 4, words, colour=QUIET)
        )
    return drawing.document(LEFT + WIDTH + 220, height + 40, title, parts)


def _scale(low: float, high: float) -> tuple[float, float, float]:
    step = next(s for s in (0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / s <= 9)
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step), step
