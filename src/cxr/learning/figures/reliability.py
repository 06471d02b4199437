"""Reliability curves: of those called 30 % likely, how many have the finding."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cxr.learning import table
from cxr.learning.figures import drawing
from cxr.learning.figures.drawing import COLOURS, GRID, INK, QUIET

_ACROSS, _SIDE, _LEFT, _TOP = 4, 168, 40, 26
_WIDE, _HIGH = 240, 252
_ENDS = (0.05, 0.1, 0.2, 0.5, 1.0)


def panel(scored: Mapping[str, Any]) -> str:
    """Draw a small plot a finding; empty where nothing was measured.

    Those that are averaged, and No Finding: the others have too few positives for a curve.

    Args:
        scored: What metrics.json holds.
    """
    section = scored.get("calibration")
    if section is None:
        return ""
    shown = [
        name
        for name, label in section["labels"].items()
        if label["after"] is not None
        and scored["left_out"].get(name, "not a finding") == "not a finding"
    ]
    if not shown:
        return ""
    parts = []
    for place, name in enumerate(shown):
        x, y = _WIDE * (place % _ACROSS) + _LEFT, _HIGH * (place // _ACROSS) + _TOP
        parts += _small(x, y, name, section["labels"][name])
    rows = -(-len(shown) // _ACROSS)
    columns = min(len(shown), _ACROSS)
    # no narrower than the legend
    return drawing.document(
        max(_WIDE * columns, 600),
        _HIGH * rows + 30,
        "Reliability curves: share present against mean probability",
        [*parts, *_legend(_LEFT, _HIGH * rows + 18, section)],
    )


def _small(x: float, y: float, name: str, label: Mapping[str, Any]) -> list[str]:
    measured = [label[key] for key in ("before", "after") if label[key] is not None]
    most = max(b[key] for m in measured for b in m["bins"] for key in ("predicted", "observed"))
    end = next(end for end in _ENDS if most <= end)
    parts = [drawing.text(x, y - 10, drawing.short(name, 24), weight=600, title=name)]
    for share in (0, 0.5, 1):
        across, down = x + _SIDE * share, y + _SIDE * (1 - share)
        tick = f"{100 * end * share:g}"
        parts.append(
            f'<path d="M{across:.1f} {y}v{_SIDE}M{x} {down:.1f}h{_SIDE}" stroke="{GRID}"/>'
        )
        parts.append(drawing.text(across, y + _SIDE + 16, tick, anchor="middle", colour=QUIET))
        parts.append(drawing.text(x - 6, down + 4, tick, anchor="end", colour=QUIET))
    parts.append(
        f'<path d="M{x} {y + _SIDE}l{_SIDE} -{_SIDE}" stroke="{QUIET}" stroke-dasharray="4 3"/>'
    )
    if label["before"] is not None:
        parts += _points(x, y, end, label["before"]["bins"], after=False)
    parts += _points(x, y, end, label["after"]["bins"], after=True)
    counts = [b["n"] for b in label["after"]["bins"]]
    each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
    bins = f"{len(counts)} bin{'s' * (len(counts) != 1)} of {each}"
    parts.append(drawing.text(x, y + _SIDE + 36, bins, colour=QUIET))
    return parts


def _points(
    x: float, y: float, end: float, bins: Sequence[Mapping[str, Any]], *, after: bool
) -> list[str]:
    colour = COLOURS[0] if after else QUIET
    parts, line = [], []
    for b in bins:
        across, down = _place(x, y, end, b["predicted"], b["observed"])
        line.append(f"{across:.1f},{down:.1f}")
        if after and b["observed_ci"] is not None:
            low, high = (_place(x, y, end, 0, min(v, end))[1] for v in b["observed_ci"])
            parts.append(f'<path d="M{across:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
    dash = "" if after else "2 3"
    parts.append(
        f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" '
        f'stroke-width="1.3" stroke-dasharray="{dash}"/>'
    )
    for place, b in zip(line, bins, strict=True):
        right, down_to = place.split(",")
        said = (
            f"{b['positives']} of {b['n']} present, mean probability {table.number(b['predicted'])}"
        )
        inside = colour if after else "#fff"
        parts.append(
            f'<circle cx="{right}" cy="{down_to}" r="{3.5 if after else 2.8}" fill="{inside}" '
            f'stroke="{colour}"><title>{escape(said)}</title></circle>'
        )
    return parts


def _place(x: float, y: float, end: float, across: float, up: float) -> tuple[float, float]:
    return x + _SIDE * across / end, y + _SIDE * (1 - up / end)


def _legend(x: float, y: float, section: Mapping[str, Any]) -> list[str]:
    fitted = any(label["before"] is not None for label in section["labels"].values())
    parts = [drawing.text(x, y, "Across: mean probability, up: share present, in %.", colour=INK)]
    if fitted:
        x += 345
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="3.5" fill="{COLOURS[0]}"/>')
        parts.append(drawing.text(x + 10, y, "calibrated"))
        parts.append(f'<circle cx="{x + 96}" cy="{y - 4}" r="2.8" fill="#fff" stroke="{QUIET}"/>')
        parts.append(drawing.text(x + 106, y, "as the net said"))
    return parts
