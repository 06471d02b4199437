"""Score a run on images it was not trained on, and write all that people look at.

`predictions.csv`, `metrics.json`, figures and one report, in one folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import figures, predictions, report, score
from cxr.learning.material import Material
from cxr.learning.metrics import Floats
from cxr.learning.predictor import Predictor, RunRecord, versions
from cxr.learning.report import Picture, Step
from cxr.pacs import synthetic

PICTURES = 8
ON_VAL = "Scored on val, where checkpoint and thresholds were chosen: these figures flatter."
SYNTHETIC = "Synthetic radiographs: these figures say nothing of real ones."


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation wrote.

    Attributes:
        scored: What metrics.json holds.
        report: The HTML file.
        predictions: The CSV file.
        figures: SVG files.
    """

    scored: Mapping[str, Any]
    report: Path
    predictions: Path
    figures: Sequence[Path]


@dataclass(frozen=True)
class Context:
    """What a report says beside the figures.

    Attributes:
        job: Whose images these are.
        config_yaml: Unresolved.
        warnings: Sentences beside the headline.
        policies: Name → value.
        agreement: What agreement.json holds, or None.
        pictures: Whether images may be shown.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """

    job: str
    config_yaml: str
    warnings: Sequence[str]
    policies: Mapping[str, str]
    agreement: Mapping[str, Any] | None
    pictures: bool
    draws: int
    seed: int


def context(
    root: Path,
    material: Material,
    *,
    job: str,
    config_yaml: str,
    warnings: Sequence[str],
    policies: Mapping[str, str],
    pictures: bool,
    draws: int,
    seed: int,
) -> Context:
    """Gather what a report says beside its figures.

    Args:
        root: Data root; the job's agreement and the list of synthetic images lie in it.
        material: Of the job.
        job: Its name.
        config_yaml: Unresolved.
        warnings: Sentences beside the headline.
        policies: Name → value.
        pictures: Whether images were asked for; those of synthetic data always come.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    sources = [example.source for example in material.cohort.examples]
    drawn = synthetic.is_drawn(root / "synthetic" / "truth.csv", sources)
    agreed = root / "jobs" / job / "agreement.json"
    return Context(
        job=job,
        config_yaml=config_yaml,
        warnings=[*warnings, SYNTHETIC] if drawn else warnings,
        policies=policies,
        agreement=json.loads(agreed.read_text()) if agreed.exists() else None,
        pictures=pictures or drawn,
        draws=draws,
        seed=seed,
    )


def evaluate(
    folder: Path,
    predictor: Predictor,
    material: Material,
    chosen: NDArray[np.intp],
    split: str,
    context: Context,
) -> Evaluated:
    """Predict and score the chosen examples, and write everything into `folder`.

    Args:
        folder: Made if there is none.
        predictor: Of the run.
        material: Of the job; its labels are those of the run, in its order (see `align`).
        chosen: Rows of `material`.
        split: What these images are called: `test`, `val`, or another job's name.
        context: What the report says beside.

    Raises:
        DataError: No image was chosen.
    """
    if not len(chosen):
        raise DataError(f"{context.job}: expected images to score in {split}, met none")
    record, cohort = predictor.record, material.cohort
    names = record.label_names
    probabilities = predictor.predict(material.gather(chosen)).astype(np.float64)
    values, mask = material.targets[chosen].astype(np.float64), material.mask[chosen]
    scored = score.score(
        probabilities, values, mask,
        names=names, patient_ids=[material.patient_ids[i] for i in chosen],
        no_finding=record.no_finding, thresholds=record.thresholds,
        label_source=cohort.label_source, human_annotated=cohort.human_annotated,
        split=split, draws=context.draws, seed=context.seed,
    )  # fmt: skip
    curves = score.curves(probabilities, values, mask, names=names)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    predicted = folder / "predictions.csv"
    uids = [material.sop_instance_uids[i] for i in chosen]
    predictions.write(predicted, uids, names, probabilities)
    score.write_metrics(folder / "metrics.json", scored)
    page = folder / "report.html"
    shown = _pictures(material, chosen, names, probabilities) if context.pictures else []
    report.write(
        page,
        report.Report(
            run=record.name,
            run_id=record.run_id,
            created=record.created,
            scored=scored,
            curves=curves,
            data=context.job,
            warnings=context.warnings,
            cohort=_flow(material, chosen, split),
            consolidation="majority of those who answered" if cohort.human_annotated else "",
            policies=context.policies,
            agreement=context.agreement,
            pictures=shown,
            config_yaml=context.config_yaml,
            versions=versions(),
            hashes={"output manifest (sha256)": record.manifest_sha256},
        ),
    )
    drawn = figures.write(folder / "figures", scored, curves)
    return Evaluated(scored, page, predicted, drawn)


def align(material: Material, record: RunRecord) -> Material:
    """Put a job's labels into the order of the run's; a label the job lacks is masked.

    Raises:
        DataError: They have no label in common.
    """
    names = material.cohort.names
    if names == record.label_names:
        return material
    shared = [name for name in record.label_names if name in names]
    if not shared:
        raise DataError(
            f"expected labels of the run ({', '.join(record.label_names)}), "
            f"met a job with {', '.join(names)}"
        )
    count = len(material.targets)
    targets = np.zeros((count, len(record.label_names)), np.float32)
    mask = np.zeros(targets.shape, bool)
    for k, name in enumerate(record.label_names):
        if name in names:
            targets[:, k] = material.targets[:, names.index(name)]
            mask[:, k] = material.mask[:, names.index(name)]
    return replace(material, targets=targets, mask=mask)


def _flow(material: Material, chosen: NDArray[np.intp], split: str) -> list[Step]:
    left_out = material.cohort.left_out
    patients = material.patient_ids
    total = len(patients)
    return [
        Step("images in the output manifest", total + sum(left_out.values())),
        Step("labelled, usable, readable", total, len(set(patients)), left_out),
        Step(
            f"scored here ({split})",
            len(chosen),
            len({patients[i] for i in chosen}),
            {"train, or another split": total - len(chosen)} if total > len(chosen) else {},
        ),
    ]


def _pictures(
    material: Material, chosen: NDArray[np.intp], names: Sequence[str], probabilities: Floats
) -> list[Picture]:
    """Show the best and the worst calls; never an image that may have text burned in."""
    values, mask = material.targets[chosen], material.mask[chosen]
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    loss = -(values * np.log(clipped) + (1 - values) * np.log(1 - clipped)) * mask
    cost = loss.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    safe = [k for k in np.argsort(cost) if not material.cohort.examples[chosen[k]].burned_in]
    half = min(PICTURES, len(safe)) // 2
    if not half:
        return []
    shown = [(k, "among the best calls") for k in safe[:half]]
    shown += [(k, "among the worst calls") for k in safe[-half:][::-1]]
    images = material.gather(chosen[[k for k, _ in shown]])
    pictures = []
    for image, (k, caption) in zip(images, shown, strict=True):
        calls = {
            name: (float(probabilities[k, j]), bool(values[k, j]) if mask[k, j] else None)
            for j, name in enumerate(names)
        }
        pictures.append(Picture(image, caption, calls))
    return pictures
