"""AUROC of every finding as a dot with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr.learning import table
from cxr.learning.figures import drawing
from cxr.learning.figures.drawing import COLOURS, GRID, INK, QUIET


def draw(scored: Mapping[str, Any]) -> str:
    """Draw each label's AUROC as a dot with its 95 % interval, the macro average last.

    Hollow dots are not averaged in. The axis begins at 0.5, chance, or lower where needed.

    Args:
        scored: What metrics.json holds.
    """
    entries = [
        (name, figures["auroc"], figures["auroc_ci"], name in scored["averaged"])
        for name, figures in scored["labels"].items()
    ]
    if scored["auroc_macro"] is not None:
        entries.append(("Macro average", scored["auroc_macro"], scored["auroc_macro_ci"], True))
    left, width, row = 210, 400, 24
    lowest = min([0.5, *(v for _, a, ci, _ in entries if a is not None for v in (a, *(ci or ())))])
    start = np.floor(lowest * 10) / 10
    height = row * len(entries) + 16

    def across(value: float) -> float:
        return float(left + width * (value - start) / (1 - start))

    parts = []
    for tick in np.arange(start, 1.001, 0.1):
        x = across(tick)
        strong = abs(tick - 0.5) < 1e-6
        parts.append(
            f'<path d="M{x:.1f} 6V{height - 6}" stroke="{QUIET if strong else GRID}" '
            f'stroke-dasharray="{"4 3" if strong else ""}"/>'
        )
        parts.append(drawing.text(x, height + 10, f"{tick:.1f}", anchor="middle", colour=QUIET))
    parts.append(
        drawing.text(
            left + width / 2,
            height + 30,
            "AUROC (0.5 is chance)",
            anchor="middle",
            colour=QUIET,
        )
    )
    for place, (name, value, interval, averaged) in enumerate(entries):
        macro = place == len(scored["labels"])
        y = row * place + 24
        parts += _whisker(across, y, value, interval, "macro" if macro else averaged)
        weight = 600 if macro else 400
        parts.append(
            drawing.text(
                left - 14, y + 4, drawing.short(name, 24), anchor="end", weight=weight, title=name
            )
        )
        parts.append(drawing.text(left + width + 16, y + 4, table.number(value), weight=weight))
        ends = table.interval(interval)
        parts.append(drawing.text(left + width + 64, y + 4, ends, colour=QUIET))
    return drawing.document(
        left + width + 160, height + 40, "AUROC of each finding with its interval", parts
    )


def _whisker(
    across: Any, y: float, value: float | None, interval: Sequence[float] | None, kind: bool | str
) -> list[str]:
    """Draw one dot and its whisker; `kind` is averaged, not averaged, or "macro"."""
    if value is None:
        return [drawing.text(across(0.5) + 8, y + 4, "one class only", colour=QUIET)]
    colour = INK if kind == "macro" else COLOURS[0] if kind else QUIET
    parts = []
    if interval is not None:
        low, high = across(interval[0]), across(interval[1])
        parts.append(f'<path d="M{low:.1f} {y}H{high:.1f}" stroke="{colour}" stroke-width="2"/>')
    x = across(value)
    if kind == "macro":
        parts.append(f'<path d="M{x - 7:.1f} {y}l7 -6l7 6l-7 6z" fill="{colour}"/>')
    else:
        inside = colour if kind else "#fff"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{inside}" stroke="{colour}" '
            'stroke-width="1.5"/>'
        )
    return parts
