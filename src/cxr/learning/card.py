"""The model card: what a model is for, what it was made of, how well it does, where it ends.

Beside every model as `model-card.json`, and as `model-card.md` for people.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr import NOTE
from cxr.learning import predictions, table
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
    predictions.replace_text(folder / MARKDOWN, _markdown(document, scored))


def describe(
    record: RunRecord, scored: Mapping[str, Any], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Give what model-card.json holds."""
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "name": record.name,
        "created": record.created,
        "intended_use": "Research on findings in chest radiographs: a probability per label.",
        "input": {
            "image": "one chest radiograph, grey values as the preset gives them",
            "preset": record.preset,
            "size": list(record.image_size),
        },
        "output": {"labels": list(record.label_names), "no_finding": record.no_finding},
        "net": dict(record.net),
        "thresholds": {name: chosen["threshold"] for name, chosen in record.thresholds.items()},
        "data": {
            "job": record.job,
            "label_set": record.label_set,
            "labels": table.provenance(scored),
            "images": dict(record.counts),
            "policy": dict(record.policy),
            "manifest_sha256": record.manifest_sha256,
            "examples_sha256": record.examples_sha256,
        },
        "metrics": {key: scored[key] for key in _SHOWN},
        "limits": [*warnings, *_limits(record, scored)],
        "versions": dict(record.versions),
    }


_SHOWN = ("split", "images", "patients", "auroc_macro", "auroc_macro_ci", "ap_macro", "averaged")


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
        limits.append(f"No threshold was chosen for {', '.join(without)}: too few images.")
    return limits


def _threshold(record: RunRecord, name: str) -> bool:
    return record.thresholds.get(name, {}).get("threshold") is not None


def _markdown(document: Mapping[str, Any], scored: Mapping[str, Any]) -> str:
    data = document["data"]
    counts = ", ".join(f"{count} {split}" for split, count in data["images"].items())
    lines = [
        f"# Model card: {document['name']}",
        f"**{document['note']}**",
        f"{document['intended_use']} Made {document['created']}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in document["limits"]),
        f"## Results on {scored['split']}",
        f"{scored['images']} images of {scored['patients']} patients; {data['labels']}.",
        "\n".join(_rows(document, scored)),
        "## Data",
        f"Job {data['job']}, label set {data['label_set']}; images: {counts}.",
        f"Output manifest, sha256: `{data['manifest_sha256']}`\n"
        f"pictures and targets, sha256: `{data['examples_sha256']}`",
        "## Use",
        f"Input: {document['input']['image']} (`{document['input']['preset']}`), "
        f"{document['input']['size'][0]} × {document['input']['size'][1]} pixels. "
        "Output: a probability per label, in the order of `run.json`.",
    ]
    return "\n\n".join(lines) + "\n"


def _rows(document: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    made = [
        "| label | n+ | n | AUROC | 95 % CI | AP | threshold |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in table.rows(scored):
        name = table.printable(row.label).replace("|", "\\|")
        cells = [
            name, "" if row.positives is None else str(row.positives), str(row.images),
            table.number(row.auroc), table.interval(row.auroc_ci), table.number(row.ap),
            table.number(document["thresholds"].get(row.label)),
        ]  # fmt: skip
        made.append(f"| {' | '.join(cells)} |")
    return made
