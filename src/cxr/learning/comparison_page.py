"""A comparison as people look at it: a printed table, one HTML page with a figure, and JSON."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxr.learning import predictions, report, table
from cxr.learning.figures import whiskers
from cxr.learning.figures.whiskers import Row

JSON, HTML = "comparison.json", "comparison.html"


def write(folder: Path, said: Mapping[str, Any]) -> Path:
    """Write comparison.json and comparison.html, each whole or not at all; the page.

    Args:
        folder: Made if there is none.
        said: As `comparisons.document` gives it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    predictions.replace_text(folder / JSON, text)
    predictions.replace_text(folder / HTML, render(said))
    return folder / HTML


def render(said: Mapping[str, Any]) -> str:
    """Give the whole page as text; the same comparison gives the same text."""
    return report.template("comparison.html").render(
        scored=said,
        said=said,
        provenance=table.provenance(said),
        figure=Markup(draw(said)),
        p=p_value,
    )


def draw(said: Mapping[str, Any]) -> str:
    """Draw the difference in AUROC of each finding, the macro average and within views last."""
    rows = []
    for name, found in said["labels"].items():
        one = found["auroc"]
        averaged = name in said["averaged"]
        # of a few images a difference is noise, and would stretch the axis for all
        if one["difference"] is not None and (averaged or one["ci"]):
            positives = f"{found['positives']} positive"
            rows.append(Row(name, positives, one["difference"], one["ci"], hollow=not averaged))
    summed = [("Macro average", said["macro"]["auroc"]), ("within AP and PA", said["within_view"])]
    for name, one in summed:
        if one is not None and one["difference"] is not None:
            rows.append(Row(name, "", one["difference"], one["ci"], strong=True))
    if not rows:
        return ""
    return whiskers.draw(
        rows, title="Difference in AUROC of each finding with its interval",
        axis=f"AUROC: {said['second']['name']} less {said['first']['name']}",
        line=0.0, low=-0.05, high=0.05, signed=True,
    )  # fmt: skip


def text(said: Mapping[str, Any], *, width: int = 120) -> str:
    """Draw the comparison as text for stdout, with what must stand beside it.

    Args:
        said: As `comparisons.document` gives it.
        width: Characters.
    """
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("finding")
    for heading in ("n+", "first", "second", "gained", "95 % CI", "p", "p (Holm)"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("")
    for name, found in said["labels"].items():
        one = found["auroc"]
        note = "not averaged" if name in said["left_out_labels"] else one["reason"] or ""
        count = str(found["positives"])
        drawn.add_row(Text(table.printable(name)), count, *_cells(one), Text(note))
    drawn.add_section()
    drawn.add_row("macro", "", *_cells(said["macro"]["auroc"]), "")
    if said["within_view"] is not None:
        drawn.add_row("within AP, PA", "", *_cells(said["within_view"]), "")
    written = io.StringIO()
    Console(file=written, width=width, color_system=None, legacy_windows=False).print(drawn)
    written.write("\n".join(_beside(said)) + "\n")
    return "\n".join(line.rstrip() for line in written.getvalue().strip("\n").splitlines())


def p_value(value: float | None) -> str:
    """Write a p-value, a dash where there is none.

    >>> p_value(0.0421), p_value(0.0002), p_value(None)
    ('0.042', '< 0.001', '–')
    """
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _cells(one: Mapping[str, Any]) -> list[str]:
    return [
        table.number(one["first"]), table.number(one["second"]), table.signed(one["difference"]),
        table.signed_interval(one["ci"]), p_value(one["p"]), p_value(one.get("p_holm")),
    ]  # fmt: skip


def _beside(said: Mapping[str, Any]) -> list[str]:
    first, second = (table.printable(said[key]["name"]) for key in ("first", "second"))
    lines = [f"AUROC of {first} (first) and {second} (second) on job {said['job']}"]
    lines.append(
        f"{said['images']} images of {said['patients']} patients"
        + "".join(f"; {count} not compared: {why}" for why, count in said["left_out"].items())
    )
    brier = said["macro"]["brier"]
    if brier["difference"] is not None:
        lines.append(
            f"Brier score (lower is better): {table.number(brier['first'])}, "
            f"{table.number(brier['second'])}; {table.signed(brier['difference'])} "
            f"{table.signed_interval(brier['ci'])}".rstrip()
        )
    alone = said["metadata_only"]
    lines.append(
        f"view, age and sex alone: {table.number(alone['auroc_macro'])} "
        f"{table.interval(alone['auroc_macro_ci'])}".rstrip()
        if alone["reason"] is None
        else f"view, age and sex alone: not known, {alone['reason']}"
    )
    return [*lines, *said["warnings"], f"{table.provenance(said)}", said["note"]]
