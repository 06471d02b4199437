"""The model card: what a model is for, what it was made of, how well it does, where it ends.

Beside every model as `model-card.json`, and as `model-card.md` for people.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr import NOTE
from cxr.learning import predictions, table, targets
from cxr.learning.predictor import RunRecord

SCHEMA = "cxr-model-card/1"
JSON, MARKDOWN = "model-card.json", "model-card.md"


def write(
    folder: Path, record: RunRecord, scored: Mapping[str, Any], warnings: Sequence[str] = ()
) -> None:
    """Write both files, each whole or not at all.

    Args:
        folder: Of the run.
        record: What run.json says, thresholds included.
        scored: What metrics.json holds.
        warnings: What the report says beside its headline.
    """
    document = describe(record, scored, warnings)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    predictions.replace_text(folder / JSON, text)
    predictions.replace_text(folder / MARKDOWN, markdown(document, scored))


def describe(
    record: RunRecord, scored: Mapping[str, Any], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Give what model-card.json holds."""
    splits = scored.get("cohort", {}).get("splits", {})
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "name": record.name,
        "created": record.created,
        "intended_use": INTENDED,
        "out_of_scope": [*OUT_OF_SCOPE],
        "limits": [*warnings, *_limits(record, scored)],
        "input": {
            "image": "one chest radiograph, grey values as the preset gives them",
            "preset": record.preset,
            "size": list(record.image_size),
            "standardize": record.standardize,
        },
        "output": {"labels": list(record.label_names), "no_finding": record.no_finding},
        "net": dict(record.net),
        "trained_with": dict(record.settings),
        "weights": dict(record.weights),
        "members": list(record.members),
        "data": {
            "job": record.job,
            "label_set": record.label_set,
            "labels": table.provenance(scored),
            "images": dict(record.counts),
            "train": splits.get("train"),
            "val": splits.get("val"),
            "policy": dict(record.policy),
            "manifest_sha256": record.manifest_sha256,
            "examples_sha256": record.examples_sha256,
        },
        "evaluation_data": {
            "split": scored["split"],
            "extent": table.extent(scored),
            "cohort": splits.get(scored["split"]),
        },
        "metrics": {key: scored[key] for key in _SHOWN} | {"labels": _labels(scored)},
        "within_view": _headline(scored.get("within_view"), "findings", "pooled"),
        "metadata_only": _headline(
            scored.get("metadata_only"), "asked", "difference", "difference_ci"
        ),
        "calibration": _calibration(record, scored),
        "worst_gap": scored.get("subgroups", {}).get("worst"),
        "pointing": scored.get("pointing", {}).get("all"),
        "thresholds": {name: chosen["threshold"] for name, chosen in record.thresholds.items()},
        "operating_points": _operating(record, scored),
        "versions": dict(record.versions),
        "machine": dict(record.machine),
        "seed": record.seed,
    }


INTENDED = "Research on findings in chest radiographs: a probability per label."
NEVER = "nobody asked for one"
OUT_OF_SCOPE = (
    "Diagnosis, triage, screening or any decision about a patient.",
    "Images other than chest radiographs, or views that were not trained on.",
    "Patients, devices or hospitals unlike those below, without an evaluation of their own.",
    "Reading a map of what the net looked at as the outline of a finding.",
)
_SHOWN = ("split", "images", "patients", "auroc_macro", "auroc_macro_ci", "ap_macro", "averaged")
_FIGURES = ("n", "positives", "auroc", "auroc_ci", "ap", "ap_ci", "ci_reason")
_POINT = ("sensitivity", "sensitivity_ci", "specificity", "specificity_ci")


def _labels(scored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {key: label[key] for key in _FIGURES} for name, label in scored["labels"].items()}


def _headline(section: Mapping[str, Any] | None, *more: str) -> dict[str, Any]:
    if not section:
        return {"reason": "not known", "auroc_macro": None, "auroc_macro_ci": None}
    return {key: section.get(key) for key in ("reason", "auroc_macro", "auroc_macro_ci", *more)}


def _calibration(record: RunRecord, scored: Mapping[str, Any]) -> dict[str, Any]:
    """Say how probabilities were fitted, and how true they are on what was scored."""
    told = scored.get("calibration", {}).get("labels", {})
    return {
        name: {
            "method": record.calibration.get(name, {}).get("method", "none"),
            "brier": said["after"]["brier"],
            "ece": said["after"]["ece"],
        }
        for name, said in told.items()
        if said.get("after")
    }


def _operating(record: RunRecord, scored: Mapping[str, Any]) -> dict[str, Any]:
    stated = scored.get("operating", {}).get("labels", {})
    return {
        name: {
            **{key: chosen.get(key) for key in ("threshold", "method", "at", "split", "reason")},
            **{key: scored["labels"][name][key] for key in _POINT if name in scored["labels"]},
            "stated": stated.get(name),
        }
        for name, chosen in record.thresholds.items()
    }


def _limits(record: RunRecord, scored: Mapping[str, Any]) -> list[str]:
    limits = [
        "Not for diagnosis, triage or any decision about a patient.",
        f"Trained and scored on images of one job ({record.job}): other devices, patients and "
        "views may give other results.",
    ]
    if not scored["human_annotated"]:
        limits.append("No radiologist read these images for these labels.")
    if scored["left_out"]:
        names = ", ".join(scored["left_out"])
        limits.append(f"Not in the average: {names}.")
    without = [n for n in record.label_names if not _threshold(record, n)]
    if without:
        said = [f"{n} ({record.thresholds.get(n, {}).get('reason') or NEVER})" for n in without]
        limits.append(f"No threshold was chosen for {', '.join(said)}.")
    if gap := _gap(scored):
        limits.append(gap)
    return limits


def _gap(scored: Mapping[str, Any]) -> str:
    worst = (scored.get("subgroups", {}).get("worst") or {}).get("auroc_macro")
    if not worst:
        return ""
    ends = f" (95 % CI {table.signed_interval(worst['ci'])})" if worst["ci"] else ""
    return (
        f"Worst gap between groups: by {worst['column']}, AUROC {table.number(worst['difference'])}"
        f"{ends} lower for {worst['worse']} than for {worst['better']}; the largest of "
        f"{worst['looks']} looked at; were there none, chance would show one as large in "
        f"{100 * worst['by_chance']:.0f} % of evaluations."
    )


def _threshold(record: RunRecord, name: str) -> bool:
    return record.thresholds.get(name, {}).get("threshold") is not None


def markdown(document: Mapping[str, Any], scored: Mapping[str, Any]) -> str:
    """Give what model-card.md holds.

    Args:
        document: As `describe` gives it.
        scored: What metrics.json holds.
    """
    data = document["data"]
    counts = ", ".join(f"{count} {split}" for split, count in data["images"].items())
    lines = [
        f"# Model card: {document['name']}",
        f"**{document['note']}**",
        f"{document['intended_use']} Made {document['created']}.",
        "## Out of scope",
        _bullets(document["out_of_scope"]),
        "## Limits",
        _bullets(document["limits"]),
        f"## Results on {scored['split']}",
        f"{table.extent(scored)}; {data['labels']}.",
        _bullets(_headlines(scored)),
        "\n".join(_rows(document, scored)),
        "## Thresholds",
        "\n".join(_points(document)) or "None was chosen.",
        "## Model",
        _bullets(_made(document)),
        "## Data",
        f"Job {data['job']}, label set {data['label_set']}; images: {counts}.",
        "\n".join(_cohort(scored)),
        f"Label policies: {_pairs(targets.parse(data['policy']).told())}.",
        f"Output manifest, sha256: `{data['manifest_sha256']}`\n"
        f"pictures and targets, sha256: `{data['examples_sha256']}`",
        "## Use",
        f"Input: {document['input']['image']} (`{document['input']['preset']}`), "
        f"{document['input']['size'][0]} × {document['input']['size'][1]} pixels. "
        "Output: a probability per label, in the order of `run.json`.",
        "## Made with",
        f"{_pairs(document['versions'])}; seed {document['seed']}."
        + (f" Machine: {_pairs(document['machine'])}." if document["machine"] else ""),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _pairs(values: Mapping[str, Any]) -> str:
    return _plain(", ".join(f"{name} {value}" for name, value in values.items()))


def _plain(text: str) -> str:
    return table.printable(text).replace("|", "\\|")


def _headlines(scored: Mapping[str, Any]) -> list[str]:
    """Give the headline, and what must stand beside it."""
    ends = f" ({table.interval(scored['auroc_macro_ci'])})" if scored["auroc_macro_ci"] else ""
    said = [f"macro AUROC: {table.number(scored['auroc_macro'])}{ends}"]
    for beside in table.besides(scored):
        ends = f" ({table.interval(beside.ci)})" if beside.ci else ""
        said.append(f"{beside.name}: {table.number(beside.value)}{ends}; {beside.said}")
    return said


def _made(document: Mapping[str, Any]) -> list[str]:
    """Say in a few lines what was trained and how; the JSON has every setting."""
    net, said = document["net"], document["trained_with"]
    name = str(net.get("_target_", "")).rpartition(".")[2]
    how = ", ".join(f"{key} {value}" for key, value in net.items() if key != "_target_")
    lines = [f"Net: {name}{f' ({how})' if how else ''}."]
    if document["members"]:
        lines.append(f"The mean of the runs {', '.join(document['members'])}.")
    began = document["weights"].get("source")
    if said or began:
        lines.append(f"Began with {began or 'random weights'}.")
    if said:
        # of what is built only the kind: torch.optim.AdamW is AdamW
        told = [
            f"{word} {said[key].rpartition('.')[2] if key.endswith('_target_') else said[key]}"
            for key, word in _TRAINED.items()
            if key in said
        ]
        lines.append(f"Trained with: {', '.join(told)}.")
    return lines


_TRAINED = {
    "model.name": "model",
    "trainer.max_epochs": "epochs",
    "data.batch_size": "batches of",
    "loss._target_": "loss",
    "model.optimizer._target_": "optimizer",
    "model.optimizer.lr": "learning rate",
    "model.schedule": "schedule",
    "trainer.keep": "kept epoch",
    "model.tta": "moves when predicting",
}


def _points(document: Mapping[str, Any]) -> list[str]:
    chosen = {n: p for n, p in document["operating_points"].items() if p["threshold"] is not None}
    if not chosen:
        return []
    made = [
        "| label | called above | chosen by | sensitivity | specificity | PPV, NPV |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for name, point in chosen.items():
        how = point["method"] if point["at"] is None else f"{point['method']} {point['at']:g}"
        stated = point["stated"]
        values = (
            f"{table.number(stated['ppv'])}, {table.number(stated['npv'])} "
            f"at {100 * stated['prevalence']:g} %"
            if stated
            else "–"
        )
        cells = [
            _plain(name), table.number(point["threshold"]), f"{how} on {point['split']}",
            _with_ends(point, "sensitivity"), _with_ends(point, "specificity"), values,
        ]  # fmt: skip
        made.append(f"| {' | '.join(cells)} |")
    return made


def _with_ends(point: Mapping[str, Any], key: str) -> str:
    return f"{table.number(point.get(key))} {table.interval(point.get(f'{key}_ci'))}".strip()


def _cohort(scored: Mapping[str, Any]) -> list[str]:
    splits = scored.get("cohort", {}).get("splits", {})
    if not splits:
        return []
    made = [
        "| split | patients | images | age, median | sex | view |",
        "|---|--:|--:|--:|---|---|",
    ]
    for name, one in splits.items():
        age = one["age"] and one["age"]["median"]
        cells = [
            name, str(one["patients"]), str(one["images"]), "–" if age is None else f"{age:.0f}",
            _counted(one["sex"]), _counted(one["view"]),
        ]  # fmt: skip
        made.append(f"| {' | '.join(cells)} |")
    return made


def _counted(counts: Mapping[str, int | None]) -> str:
    said = [f"{v} {'withheld' if n is None else n}" for v, n in counts.items()]
    return _plain(", ".join(said)) or "not known"


def _rows(document: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    made = [
        "| label | n+ | n | AUROC | 95 % CI | AP | Brier | ECE | threshold |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in table.rows(scored):
        true = document["calibration"].get(row.label, {})
        cells = [
            _plain(row.label), "" if row.positives is None else str(row.positives),
            str(row.images), table.number(row.auroc), table.interval(row.auroc_ci),
            table.number(row.ap), table.number(true.get("brier")), table.number(true.get("ece")),
            table.number(document["thresholds"].get(row.label)),
        ]  # fmt: skip
        made.append(f"| {' | '.join(cells)} |")
    return made
