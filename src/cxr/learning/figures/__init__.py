"""Figures of one evaluation as SVG text, for the report and, as files, for MLflow.

Written by hand rather than drawn by a plotting library: they stay a few kilobytes, look the same
on every machine, print sharp, and need no script.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxr.learning import predictions
from cxr.learning.figures import forest, readers, reliability, roc, subgroups
from cxr.learning.points import Roc

Draw = Callable[[Mapping[str, Any], Mapping[str, Roc | None]], str]
"""What metrics.json holds, and label → ROC curve → SVG; empty where there is nothing to draw."""
FIGURES: Mapping[str, Draw] = {
    "roc": roc.panel,
    "auroc": lambda scored, _: forest.draw(scored),
    "subgroups": lambda scored, _: subgroups.draw(scored),
    "readers": readers.draw,
    "reliability": lambda scored, _: reliability.panel(scored),
}
"""Name → how: `drawn.<name>` in the templates of the report, `<name>.svg` among the files."""


def drawn(scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> dict[str, str]:
    """Draw every figure there is something to draw for.

    Args:
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.

    Returns:
        Name → SVG; empty where there is nothing to draw.
    """
    return {name: draw(scored, curves) for name, draw in FIGURES.items()}


def write(folder: Path, scored: Mapping[str, Any], curves: Mapping[str, Roc | None]) -> list[Path]:
    """Write the figures as files, for MLflow: `roc.svg`, `auroc.svg` and so on.

    Args:
        folder: Where; made if it is not there.
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = {f"{name}.svg": svg for name, svg in drawn(scored, curves).items() if svg}
    for name, svg in made.items():
        predictions.replace_text(folder / name, svg + "\n")
    return [folder / name for name in made]
