"""One evaluation as one HTML file that a clinician can read and a reviewer can check.

Nothing is loaded from elsewhere and no script runs: the file can be mailed, printed and kept.
All text, label names included, reaches the page as text. Such a file is patient data as soon as
it holds pictures or few patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cxr import places
from cxr.learning import figures, predictions, table
from cxr.learning.figures import png, roc
from cxr.learning.points import Roc


@dataclass(frozen=True)
class Step:
    """One box of the cohort flow.

    Attributes:
        text: What these images are: "lines in the output manifest".
        images: How many there are.
        patients: How many patients, where known.
        left_out: Reason → images that were in the box above and are not in this one.
    """

    text: str
    images: int
    patients: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """One example image; never one flagged as burned-in.

    Attributes:
        image: (H, W) uint8, upright, black is air.
        caption: Nothing identifying.
        calls: Label → probability and target (None where masked).
    """

    image: NDArray[np.uint8]
    caption: str
    calls: Mapping[str, tuple[float, bool | None]]


@dataclass(frozen=True)
class Report:
    """What a report says, as plain values.

    Attributes:
        run: The run's name.
        created: Date, and time if wanted, as text.
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None (`score.curves`).
        title: What kind of report it is.
        run_id: MLflow's, may be empty.
        data: Which images: the labeling job's name, say.
        warnings: Sentences shown beside the headline.
        cohort: From everything to the images scored.
        consolidation: How several answers became one, may be empty.
        policies: Name → value: how states became targets, how patients were split.
        agreement: What agreement.json holds, or None.
        pictures: Only of synthetic data, or when asked for.
        config_yaml: The config as composed, never resolved: a resolved one may hold secrets.
        versions: Package → version; the machine too.
        hashes: What → hash.
    """

    run: str
    created: str
    scored: Mapping[str, Any]
    curves: Mapping[str, Roc | None]
    title: str = "Model evaluation"
    run_id: str = ""
    data: str = ""
    warnings: Sequence[str] = ()
    cohort: Sequence[Step] = ()
    consolidation: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    agreement: Mapping[str, Any] | None = None
    pictures: Sequence[Picture] = ()
    config_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """Give the whole HTML file as text; the same report gives the same text."""
    scored = report.scored
    return template("report.html").render(
        report=report,
        scored=scored,
        provenance=table.provenance(scored),
        rows=[_row(name, report) for name in scored["labels"]],
        drawn={n: Markup(svg) for n, svg in figures.drawn(scored, report.curves).items()},
        chosen=any(label["threshold"] is not None for label in scored["labels"].values()),
        flow=_flow(report.cohort),
        pictures=[_picture(picture) for picture in report.pictures],
    )


def write(path: Path, report: Report) -> None:
    """Write the report, whole or not at all."""
    predictions.replace_text(path, render(report))


def template(name: str) -> jinja2.Template:
    """Open a template of reports, with what writes figures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places.shipped("templates") / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": table.number,
        "interval": table.interval,
        "signed": table.signed,
        "signed_interval": table.signed_interval,
        "percent": lambda value: "–" if value is None else f"{100 * value:.0f} %",
        "printable": table.printable,
    }
    return environment.get_template(name)


def _row(name: str, report: Report) -> dict[str, Any]:
    label = report.scored["labels"][name]
    left_out = report.scored["left_out"].get(name)
    notes = [f"not averaged: {left_out}"] if left_out else []
    notes += [label["ci_reason"]] if label["ci_reason"] and not left_out else []
    if label["one_class_draws"] and label["auroc_ci"]:
        notes.append(f"{label['one_class_draws']} one-class resamples left out of the interval")
    return {
        "name": name,
        "label": label,
        "averaged": not left_out,
        "notes": notes,
        "prevalence": label["positives"] / label["n"] if label["n"] else None,
        "called": [
            _counts(label["sensitivity"], label["positives"]),
            _counts(label["specificity"], label["negatives"]),
        ],
        "roc": Markup(roc.small(name, report.curves.get(name), label)),
    }


def _counts(share: float | None, of: int) -> str:
    return "" if share is None else f"{round(share * of)} of {of}"


def _flow(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Add to each box what nobody accounted for, so that a gap shows."""
    boxes = []
    for place, step in enumerate(steps):
        left_out = {reason: count for reason, count in step.left_out.items() if count}
        before = steps[place - 1].images if place else step.images
        missing = before - sum(left_out.values()) - step.images
        if missing:
            left_out["not accounted for"] = missing
        boxes.append({"step": step, "left_out": left_out})
    return boxes


def _picture(picture: Picture) -> dict[str, Any]:
    ranked = sorted(picture.calls.items(), key=lambda call: -call[1][0])
    shown = [
        {"name": name, "probability": probability, "target": target}
        for rank, (name, (probability, target)) in enumerate(ranked)
        if rank < 3 or target
    ]
    return {
        "uri": png.uri(picture.image),
        "caption": picture.caption,
        "calls": shown,
        "size": picture.image.shape,
    }
