"""The test table as a command prints it, and how a figure is written everywhere.

Text to be piped: no colours, no width asked of the terminal.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Row:
    """One line of the printed table; the macro average is the last one.

    Attributes:
        label: Its name, or `macro`.
        positives: Images with the finding; None for the macro.
        images: Images (studies, patients) with a target.
        auroc: None where there is none.
        auroc_ci: 95 % interval, None where there is none.
        ap: Average precision.
        note: Why something is missing or not averaged; may be empty.
    """

    label: str
    positives: int | None
    images: int
    auroc: float | None
    auroc_ci: Sequence[float] | None
    ap: float | None
    note: str


def rows(scored: Mapping[str, Any]) -> list[Row]:
    """Give the printed table as plain rows: a label each, then the macro average."""
    made = []
    for name, label in scored["labels"].items():
        notes = [f"not averaged: {scored['left_out'][name]}"] if name in scored["left_out"] else []
        if not notes and label["ci_reason"]:
            notes = [label["ci_reason"]]
        if label["auroc_ci"] and label["one_class_draws"]:
            notes.append(f"{label['one_class_draws']} one-class draws left out")
        made.append(
            Row(
                name, label["positives"], label["n"], label["auroc"], label["auroc_ci"],
                label["ap"], "; ".join(notes),
            )
        )  # fmt: skip
    count = len(scored["averaged"])
    note = f"mean of {count} finding{'s' * (count != 1)}" if count else "no finding to average"
    if scored["auroc_macro_ci"] and scored["macro_one_class_draws"]:
        note += f"; {scored['macro_one_class_draws']} one-class draws left out"
    macro = scored["auroc_macro"], scored["auroc_macro_ci"], scored["ap_macro"]
    return [*made, Row("macro", None, scored["units"], *macro, note)]


@dataclass(frozen=True)
class Beside:
    """A figure that stands beside every headline, or why there is none.

    Attributes:
        name: What it is the AUROC of.
        value: None where there is none.
        ci: 95 % interval, or None.
        said: What it is to be compared with, or why it is missing.
    """

    name: str
    value: float | None
    ci: Sequence[float] | None
    said: str


def besides(scored: Mapping[str, Any]) -> list[Beside]:
    """Give what must stand beside the headline: AUROC within one view, and by metadata alone.

    Args:
        scored: What metrics.json holds.
    """
    within = scored.get("within_view") or {"reason": "no image says whether it is AP or PA"}
    value = within.get("auroc_macro")
    said = f"not known: {within.get('reason')}"
    if value is not None:
        count = len(within["findings"])
        together = number(within["pooled"])
        said = f"mean of AP and PA, {count} finding{'s' * (count != 1)}; together {together}"
    made = [Beside("within one view", value, within.get("auroc_macro_ci"), said)]
    alone = scored.get("metadata_only") or {"reason": "not asked"}
    value = alone.get("auroc_macro")
    said = f"not known: {alone.get('reason') or 'no finding to average'}"
    if value is not None:
        ends = signed_interval(alone["difference_ci"])
        said = f"the model: {signed(alone['difference'])}{f' ({ends})' if ends else ''}"
    return [*made, Beside("view, age and sex alone", value, alone.get("auroc_macro_ci"), said)]


def render(scored: Mapping[str, Any], *, width: int = 100) -> str:
    """Draw `rows` as text for stdout, with what must stand beside it.

    Args:
        scored: What `score` made.
        width: Characters; the note column gives way.
    """
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("finding", "n+", "n", "AUROC", "95 % CI", "AP"):
        drawn.add_column(heading, justify="left" if heading == "finding" else "right")
    drawn.add_column("")
    lines = rows(scored)
    for row in lines:
        if row is lines[-1]:
            drawn.add_section()
        drawn.add_row(
            # Text, or a name like [red] would be taken for markup
            Text(printable(row.label)),
            "" if row.positives is None else str(row.positives),
            str(row.images),
            number(row.auroc),
            interval(row.auroc_ci),
            number(row.ap),
            Text(row.note),
        )
    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None, legacy_windows=False)
    console.print(drawn)
    for beside in besides(scored):
        ends = f" ({interval(beside.ci)})" if beside.ci else ""
        text.write(f"{beside.name}: {number(beside.value)}{ends}; {beside.said}\n")
    text.write(f"{scored['split']}: {extent(scored)}; {provenance(scored)}\n{scored['note']}\n")
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").splitlines())


def number(value: float | None) -> str:
    """Write a figure with three decimals, a dash where there is none."""
    return "–" if value is None else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def interval(ends: Sequence[float] | None) -> str:
    """Write an interval, nothing where there is none.

    >>> interval([0.785, 0.8464])
    '0.785–0.846'
    """
    return "" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"


def extent(scored: Mapping[str, Any]) -> str:
    """Say how much was scored, and by what it was counted.

    >>> extent({"unit": "study", "units": 90, "images": 104, "patients": 71})
    '90 studies (104 images) of 71 patients'
    >>> extent({"unit": "patient", "units": 71, "images": 104, "patients": 71})
    '71 patients (104 images)'
    """
    images, patients = f"{scored['images']} images", f"{scored['patients']} patients"
    if scored["unit"] == "patient":
        return f"{patients} ({images})"
    if scored["unit"] == "study":
        return f"{scored['units']} studies ({images}) of {patients}"
    return f"{images} of {patients}"


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign, a dash where there is none.

    >>> signed(0.0314), signed(-0.0314), signed(-0.0001)
    ('+0.031', '−0.031', '0.000')
    """
    if value is None:
        return "–"
    if round(value, digits) == 0:
        return f"{0:.{digits}f}"
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed_interval(ends: Sequence[float] | None) -> str:
    """Write the interval of a difference: with signs, a dash between would mislead.

    >>> signed_interval([-0.0124, 0.03])
    '−0.012 to +0.030'
    """
    return "" if ends is None else f"{signed(ends[0])} to {signed(ends[1])}"


def provenance(scored: Mapping[str, Any]) -> str:
    """Say where the labels come from, as every headline repeats it.

    >>> provenance({"label_source": "report-text-mined", "human_annotated": False})
    'labels: report-text-mined, not read by radiologists'
    """
    unread = "" if scored["human_annotated"] else ", not read by radiologists"
    return f"labels: {printable(scored['label_source'])}{unread}"


def printable(text: str) -> str:
    """Replace control characters, which could move a terminal's cursor or break an SVG."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
