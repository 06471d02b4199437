"""Figures of one evaluation as SVG text, for the report and, as files, for MLflow.

Written by hand rather than drawn by a plotting library: they stay a few kilobytes, look the same
on every machine, print sharp, and need no script. Colours are told apart by colour-blind
readers; lines are dashed too where colours repeat. Labels are escaped, whatever they hold.
"""

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import predictions, table
from cxr.learning.metrics import Roc

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444")
DASHES = ("", "7 3", "2 3")
INK, QUIET, GRID = "#1a1a1a", "#666666", "#d9d9d9"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def roc_small(name: str, curve: Roc | None, figures: Mapping[str, Any], *, size: int = 60) -> str:
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
        _curve(curve, 4, 4, side, COLOURS[0], "", 1.5),
        _dot(figures, 4, 4, side, COLOURS[0], 2.6),
    ]
    return _svg(size, size, f"ROC curve of {name}", parts)


def roc_panel(scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> str:
    """Draw the ROC curves of all averaged findings in one plot, best first in the legend.

    Args:
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.
    """
    left, top, side = 56, 12, 400
    names = [name for name in scored["averaged"] if curves.get(name) is not None]
    names.sort(key=lambda name: -scored["labels"][name]["auroc"])
    parts = _roc_axes(left, top, side)
    for rank, name in reversed(list(enumerate(names))):
        colour, dash = _style(rank)
        curve = curves[name]
        if curve is not None:
            parts.append(_curve(curve, left, top, side, colour, dash, 1.8))
            parts.append(_dot(scored["labels"][name], left, top, side, colour, 4))
    x, y = left + side + 28, top + 14
    parts.append(_text(x, y, "AUROC, highest first", weight=600))
    for rank, name in enumerate(names):
        colour, dash = _style(rank)
        line = y + 24 + 22 * rank
        parts.append(
            f'<path d="M{x} {line - 4}h26" stroke="{colour}" stroke-width="2.4" '
            f'stroke-dasharray="{dash}"/>'
        )
        parts.append(_text(x + 34, line, table.number(scored["labels"][name]["auroc"])))
        parts.append(_text(x + 76, line, _short(name, 30), title=name))
    if any(scored["labels"][name]["threshold"] is not None for name in names):
        line = y + 24 + 22 * len(names) + 10
        parts.append(f'<circle cx="{x + 13}" cy="{line - 4}" r="4" fill="{QUIET}"/>')
        parts.append(_text(x + 34, line, "at the chosen threshold", colour=QUIET))
    height = max(top + side + 48, y + 24 + 22 * (len(names) + 1) + 10)
    return _svg(left + side + 330, height, "ROC curves of the averaged findings", parts)


def forest(scored: Mapping[str, Any]) -> str:
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
        parts.append(_text(x, height + 10, f"{tick:.1f}", anchor="middle", colour=QUIET))
    parts.append(
        _text(left + width / 2, height + 30, "AUROC (0.5 is chance)", anchor="middle", colour=QUIET)
    )
    for place, (name, value, interval, averaged) in enumerate(entries):
        macro = place == len(scored["labels"])
        y = row * place + 24
        parts += _whisker(across, y, value, interval, "macro" if macro else averaged)
        weight = 600 if macro else 400
        parts.append(
            _text(left - 14, y + 4, _short(name, 24), anchor="end", weight=weight, title=name)
        )
        parts.append(_text(left + width + 16, y + 4, table.number(value), weight=weight))
        ends = table.interval(interval)
        parts.append(_text(left + width + 64, y + 4, ends, colour=QUIET))
    return _svg(left + width + 160, height + 40, "AUROC of each finding with its interval", parts)


def write(folder: Path, scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> list[Path]:
    """Write the figures as files, for MLflow: `roc.svg` and `auroc.svg`.

    Args:
        folder: Where; made if it is not there.
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"roc.svg": roc_panel(scored, curves), "auroc.svg": forest(scored)}
    for name, svg in drawn.items():
        predictions.replace_text(folder / name, svg + "\n")
    return [folder / name for name in drawn]


def png_uri(image: NDArray[np.uint8]) -> str:
    """Encode a greyscale image as a PNG data URI, without loss.

    Args:
        image: (H, W)
    """
    rows, columns = image.shape
    # each line begins with its filter type: 0, none
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), image], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    name = escape(table.printable(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="{_FONT}" font-size="13"><title>{name}</title>'
        + "".join(parts).replace(' stroke-dasharray=""', "")
        + "</svg>"
    )


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK, weight: int = 400,
    title: str = "", turn: bool = False,
) -> str:  # fmt: skip
    hint = f"<title>{escape(table.printable(title))}</title>" if title and title != words else ""
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}"{turned}>{hint}{escape(table.printable(words))}</text>'
    )


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _style(rank: int) -> tuple[str, str]:
    return COLOURS[rank % len(COLOURS)], DASHES[rank // len(COLOURS) % len(DASHES)]


def _roc_axes(left: float, top: float, side: float) -> list[str]:
    bottom = top + side
    parts = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x, y = left + side * tick, bottom - side * tick
        parts.append(f'<path d="M{x:.1f} {top}V{bottom}M{left} {y:.1f}h{side}" stroke="{GRID}"/>')
        parts.append(_text(x, bottom + 18, f"{tick:g}", anchor="middle", colour=QUIET))
        parts.append(_text(left - 8, y + 4, f"{tick:g}", anchor="end", colour=QUIET))
    parts.append(
        f'<path d="M{left} {bottom}L{left + side} {top}" stroke="{QUIET}" stroke-dasharray="4 3"/>'
    )
    parts.append(_text(left + side / 2, bottom + 40, "1 − specificity", anchor="middle"))
    parts.append(_text(16, top + side / 2, "sensitivity", anchor="middle", turn=True))
    return parts


def _curve(
    curve: Roc, left: float, top: float, side: float, colour: str, dash: str, width: float
) -> str:
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


def _whisker(
    across: Any, y: float, value: float | None, interval: Sequence[float] | None, kind: bool | str
) -> list[str]:
    """Draw one dot and its whisker; `kind` is averaged, not averaged, or "macro"."""
    if value is None:
        return [_text(across(0.5) + 8, y + 4, "one class only", colour=QUIET)]
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
