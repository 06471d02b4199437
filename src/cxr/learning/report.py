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
from cxr.learning.decoding import Placement
from cxr.learning.figures import overlay, roc
from cxr.learning.points import Roc

LIKELY = 0.5
"""Probability from which on a caption names what else an image was taken for."""


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
    """One image of the gallery; never one of which it is known that text is burned in.

    Attributes:
        image: (H, W) uint8, upright, black is air.
        at: Where in it the radiograph lies.
        finding: The label it is shown for.
        kind: `found`, `false alarm` or `missed`.
        calls: Label → probability and target (None where not known).
        view: View position, may be empty.
        heat: (H, W) in [0, 1], what spoke for the finding; None where nobody asked.
        peak: (x, y) of its maximum, or None.
        outlines: Rings of (x, y), or single points, where readers saw the finding.
    """

    image: NDArray[np.uint8]
    at: Placement
    finding: str
    kind: str
    calls: Mapping[str, tuple[float, bool | None]]
    view: str = ""
    heat: NDArray[np.float32] | None = None
    peak: tuple[float, float] | None = None
    outlines: Sequence[Sequence[tuple[float, float]]] = ()


@dataclass(frozen=True)
class Report:
    """What a report says, as plain values.

    Attributes:
        run: The run's name.
        created: When the run was made: date, and time if wanted, as text.
        scored: What metrics.json holds.
        curves: Label → ROC curve, or None (`score.curves`).
        title: What kind of report it is.
        evaluated: When it was scored, likewise; may be empty.
        run_id: MLflow's, may be empty.
        data: Which images: the labeling job's name, say.
        warnings: Sentences shown beside the headline.
        cohort: From everything to the images scored.
        listed: The cohort begins with all images that the job found, rather than those it took.
        consolidation: How several answers became one, may be empty.
        policies: Name → value: how states became targets, how patients were split.
        agreement: What agreement.json holds, or None.
        pictures: Only of synthetic data, or when asked for; those of a finding together.
        cut: Pictures that were chosen too, and left out for want of room.
        flagged: Images scored of which it is known that text is burned in: never shown.
        silent: Images scored of which that is not known.
        unflagged: Whether those were asked for.
        config_yaml: The config as composed, never resolved: a resolved one may hold secrets.
        trained_with: Setting → value of the run's training, where the config is not that one.
        members: Of an ensemble, 0 of one run.
        versions: Package → version.
        machine: What the run was trained on.
        hashes: What → hash.
    """

    run: str
    created: str
    scored: Mapping[str, Any]
    curves: Mapping[str, Roc | None]
    title: str = "Model evaluation"
    evaluated: str = ""
    run_id: str = ""
    data: str = ""
    warnings: Sequence[str] = ()
    cohort: Sequence[Step] = ()
    listed: bool = False
    consolidation: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    agreement: Mapping[str, Any] | None = None
    pictures: Sequence[Picture] = ()
    cut: int = 0
    flagged: int = 0
    silent: int = 0
    unflagged: bool = False
    config_yaml: str = ""
    trained_with: Mapping[str, str] = field(default_factory=dict)
    members: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """Give the whole HTML file as text; the same report gives the same text."""
    scored = report.scored
    cards = [_card(name, label, scored) for name, label in scored["labels"].items()]
    return template("report.html").render(
        report=report,
        scored=scored,
        provenance=table.provenance(scored),
        rows=[_row(name, report) for name in scored["labels"]],
        drawn={n: Markup(svg) for n, svg in figures.drawn(scored, report.curves).items()},
        chosen=any(label["threshold"] is not None for label in scored["labels"].values()),
        flow=_flow(report.cohort),
        extent=table.extent(scored),
        besides=table.besides(scored),
        seen=_seen(scored),
        cards=[card for card in cards if card["threshold"] is not None],
        uncalled=[card for card in cards if card["threshold"] is None],
        gallery=_gallery(report),
        mapped=any(picture.heat is not None for picture in report.pictures),
        outlined=any(picture.outlines for picture in report.pictures),
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


def _card(name: str, label: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the threshold card says of one finding."""
    stated = scored.get("operating", {}).get("labels", {}).get(name)
    at, split = label.get("threshold_at"), label["threshold_split"]
    how = (
        "sensitivity + specificity is highest"
        if at is None
        else f"{label['threshold_method']} is {100 * at:g} %"
    )
    return {
        "name": name,
        "how": f"where {how} on {split}",
        "reason": label["threshold_reason"],
        "stated": stated,
        **{key: label[key] for key in _CARD},
    }


_CARD = ("threshold", "sensitivity", "sensitivity_ci", "specificity", "specificity_ci")


def _seen(scored: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name the values of sex and view that any split has, as rows of the cohort table."""
    splits = scored.get("cohort", {}).get("splits", {}).values()
    return {
        key: list(dict.fromkeys(value for one in splits for value in one[key]))
        for key in ("sex", "view")
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


def _gallery(report: Report) -> list[dict[str, Any]]:
    """Give the pictures of each finding, with what is said below each."""
    made: dict[str, dict[str, Any]] = {}
    for number, picture in enumerate(report.pictures):
        label = report.scored["labels"][picture.finding]
        group = made.setdefault(
            picture.finding, {"name": picture.finding, "label": label, "pictures": []}
        )
        group["pictures"].append(_picture(number, picture))
    return list(made.values())


def _picture(number: int, picture: Picture) -> dict[str, Any]:
    others = [(n, p, t) for n, (p, t) in picture.calls.items() if n != picture.finding]
    # no more than a glance: the likeliest of what else it was taken for
    likely = sorted((o for o in others if o[1] >= LIKELY), key=lambda o: -o[1])[:3]
    title = f"{picture.finding}, {picture.kind}"
    return {
        "kind": picture.kind,
        "view": picture.view,
        "probability": picture.calls[picture.finding][0],
        "present": [name for name, (_, target) in picture.calls.items() if target],
        "likely": [(name, probability) for name, probability, _ in likely],
        "dark": picture.heat is not None and picture.peak is None,
        "svg": Markup(
            overlay.draw(
                f"p{number}", title, picture.image, picture.at,
                heat=picture.heat, peak=picture.peak, outlines=picture.outlines,
            )
        ),
    }  # fmt: skip
