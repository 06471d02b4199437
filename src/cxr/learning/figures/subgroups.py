"""The macro AUROC of each group, under the column that divides."""

from collections.abc import Mapping
from typing import Any

from cxr.learning.figures import whiskers
from cxr.learning.figures.whiskers import Row


def draw(scored: Mapping[str, Any]) -> str:
    """Draw each group's macro AUROC with its interval; hollow where it lacks a finding.

    Args:
        scored: What metrics.json holds.
    """
    if "subgroups" not in scored or scored["auroc_macro"] is None:
        return ""
    rows = []
    for name, column in scored["subgroups"]["columns"].items():
        if not column["groups"]:
            continue
        rows.append(Row(name, heading=True))
        for group in column["groups"]:
            patients = group["patients"]
            rows.append(
                Row(
                    group["value"],
                    "" if patients is None else f"{patients} patients",
                    group["auroc_macro"],
                    group["auroc_macro_ci"],
                    instead=(
                        "no finding with enough images of both classes"
                        if group["labels"]
                        else group["withheld"]
                    ),
                    hollow=group["findings"] != scored["averaged"],
                )
            )
    if not rows:
        return ""
    everyone = Row(
        "all", f"{scored['patients']} patients", scored["auroc_macro"], scored["auroc_macro_ci"],
        strong=True,
    )  # fmt: skip
    return whiskers.draw(
        [*rows, everyone], title="Macro AUROC of each group with its interval",
        axis="macro AUROC (dashed: all)", line=scored["auroc_macro"], low=0.5, high=1.0,
        signed=False,
    )  # fmt: skip
