"""What every figure of a report is drawn with: SVG elements as text, safe for any label.

Colours are told apart by colour-blind readers; lines are dashed too where colours repeat.
"""

from collections.abc import Sequence
from html import escape

from cxr.learning import table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444")
DASHES = ("", "7 3", "2 3")
INK, QUIET, GRID = "#1a1a1a", "#666666", "#d9d9d9"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def document(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Give one figure that says what it shows to who cannot see it.

    Args:
        width: In pixels.
        height: In pixels.
        title: What it shows, read out and shown on hovering.
        parts: SVG elements; only `text` and `escape` make text safe.
    """
    name = escape(table.printable(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="{_FONT}" font-size="13"><title>{name}</title>'
        + "".join(parts).replace(' stroke-dasharray=""', "")
        + "</svg>"
    )


def text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK, weight: int = 400,
    title: str = "", turn: bool = False,
) -> str:  # fmt: skip
    """Give one line of text at (x, y), its baseline; `title` is shown on hovering.

    Args:
        x: In pixels.
        y: In pixels.
        words: Any text.
        anchor: `start`, `middle` or `end`: where in the text x is.
        colour: Of the text.
        weight: 400 or 600.
        title: The whole, where `words` were shortened.
        turn: Upwards.
    """
    hint = f"<title>{escape(table.printable(title))}</title>" if title and title != words else ""
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}"{turned}>{hint}{escape(table.printable(words))}</text>'
    )


def short(name: str, most: int) -> str:
    """Shorten a name to at most so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def style(rank: int) -> tuple[str, str]:
    """Give the colour and dashes of the nth line of a figure."""
    return COLOURS[rank % len(COLOURS)], DASHES[rank // len(COLOURS) % len(DASHES)]
