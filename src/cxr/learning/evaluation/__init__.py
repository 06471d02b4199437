"""Score a run on images it was not trained on, and write all that people look at.

`predictions.csv`, `metrics.json`, figures and one report, in one folder; a second report where
the first shows pictures of patients.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import figures, parcel, predictions, report, score
from cxr.learning.material import Material
from cxr.learning.metrics import Floats
from cxr.learning.predictor import Predictor, RunRecord, versions
from cxr.learning.report import Picture, Step
from cxr.pacs import synthetic

_log = logging.getLogger(__name__)
PICTURES = 8
AT_ONCE = 256  # images in memory; a multiple of what the predictor takes at once
ON_VAL = "Scored on val, where checkpoint and thresholds were chosen: these figures flatter."
SYNTHETIC = "Synthetic radiographs: these figures say nothing of real ones."


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation wrote.

    Attributes:
        scored: What metrics.json holds.
        report: The HTML file.
        shareable: The same without pictures of patients; may be the same file.
        predictions: The CSV file.
        figures: SVG files.
    """

    scored: Mapping[str, Any]
    report: Path
    shareable: Path
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
        pictures: Whether images were asked for; those of synthetic data always come.
        synthetic: All images were drawn by us and are nobody's.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """

    job: str
    config_yaml: str
    warnings: Sequence[str]
    policies: Mapping[str, str]
    agreement: Mapping[str, Any] | None
    pictures: bool
    synthetic: bool
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
        pictures: Whether images were asked for.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    sources = [example.source for example in material.cohort.examples]
    drawn = synthetic.is_drawn(root / "synthetic" / "truth.csv", sources)
    if told := parcel.said(root / "jobs" / job / "manifests" / "output"):
        drawn = told.drawn  # known at home alone
    agreed = root / "jobs" / job / "agreement.json"
    return Context(
        job=job,
        config_yaml=config_yaml,
        warnings=[*warnings, SYNTHETIC] if drawn else warnings,
        policies=policies,
        agreement=json.loads(agreed.read_text()) if agreed.exists() else None,
        pictures=pictures,
        synthetic=drawn,
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
    predicted: NDArray[np.float64] | None = None,
) -> Evaluated:
    """Predict and score the chosen examples, and write everything into `folder`.

    Args:
        folder: Made if there is none.
        predictor: Of the run.
        material: Of the job; its labels are those of the run, in its order (see `align`).
        chosen: Rows of `material`.
        split: What these images are called: `test`, `val`, or another job's name.
        context: What the report says beside.
        predicted: (len(chosen), L) probabilities, where they are known already.

    Raises:
        DataError: No image was chosen.
    """
    if not len(chosen):
        raise DataError(f"{context.job}: expected images to score in {split}, met none")
    names = predictor.record.label_names
    if predicted is None:
        predicted = probabilities(predictor, material, chosen)
    said = _report(predictor.record, material, chosen, predicted, split, context)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder / "predictions.csv"
    predictions.write(kept, [material.sop_instance_uids[i] for i in chosen], names, predicted)
    score.write_metrics(folder / "metrics.json", said.scored)
    page = shareable = folder / "report.html"
    shown = context.pictures or context.synthetic
    pictures = _pictures(material, chosen, names, predicted) if shown else []
    report.write(page, replace(said, pictures=pictures))
    if pictures and not context.synthetic:
        shareable = folder / "report-without-pictures.html"
        report.write(shareable, said)
    drawn = figures.write(folder / "figures", said.scored, said.curves)
    return Evaluated(said.scored, page, shareable, kept, drawn)


def probabilities(
    predictor: Predictor, material: Material, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Predict a few images at a time, so that no split need fit into memory.

    Args:
        predictor: Of the run.
        material: Of the job.
        chosen: (N) rows of `material`.

    Returns:
        (N, L)
    """
    parts = [np.empty((0, len(predictor.record.label_names)))]
    for start in range(0, len(chosen), AT_ONCE):
        images = material.gather(chosen[start : start + AT_ONCE])
        parts.append(predictor.predict(images).astype(np.float64))
    return np.concatenate(parts)


def _report(
    record: RunRecord,
    material: Material,
    chosen: NDArray[np.intp],
    predicted: Floats,
    split: str,
    context: Context,
) -> report.Report:
    """Say everything but pictures."""
    cohort, names = material.cohort, record.label_names
    values, mask = material.targets[chosen].astype(np.float64), material.mask[chosen]
    return report.Report(
        run=record.name,
        run_id=record.run_id,
        created=record.created,
        scored=score.score(
            predicted, values, mask,
            names=names, patient_ids=_numbered(material, chosen),
            no_finding=record.no_finding, thresholds=record.thresholds,
            label_source=cohort.label_source, human_annotated=cohort.human_annotated,
            split=split, draws=context.draws, seed=context.seed,
        ),
        curves=score.curves(predicted, values, mask, names=names),
        data=context.job,
        warnings=context.warnings,
        cohort=_flow(material, chosen, split),
        consolidation="majority of those who answered" if cohort.human_annotated else "",
        policies=context.policies,
        agreement=context.agreement,
        config_yaml=context.config_yaml,
        versions=versions(),
        hashes={
            f"trained on {record.job}: output manifest (sha256)": record.manifest_sha256,
            f"scored on {context.job}: output manifest (sha256)": material.manifest_sha256,
        },
    )  # fmt: skip


def _numbered(material: Material, chosen: NDArray[np.intp]) -> list[str]:
    """Name patients by what their images show, so that draws go alike under any pseudonyms."""
    pixels, patients = material.pixel_hashes, material.patient_ids
    first: dict[str, str] = {}
    for row in chosen:
        first[patients[row]] = min(pixels[row], first.get(patients[row], pixels[row]))
    number = {patient: f"{n:09d}" for n, patient in enumerate(sorted(first, key=first.__getitem__))}
    return [number[patients[row]] for row in chosen]


def align(material: Material, record: RunRecord) -> Material:
    """Put a job's labels into the order of the run's; a label the job lacks is masked.

    Labels that go by another name in the job's label set are found by its aliases.

    Raises:
        DataError: They have no label in common.
    """
    names = material.cohort.names
    if names == record.label_names:
        return material
    known = {name: name for name in names} | {
        alias: name for alias, name in material.cohort.aliases.items() if alias not in names
    }
    missing = [name for name in record.label_names if name not in known]
    if len(missing) == len(record.label_names):
        raise DataError(
            f"expected labels of the run ({', '.join(record.label_names)}), "
            f"met a job with {', '.join(names)}"
        )
    count = len(material.targets)
    targets = np.zeros((count, len(record.label_names)), np.float32)
    mask = np.zeros(targets.shape, bool)
    for k, name in enumerate(record.label_names):
        if name in known:
            targets[:, k] = material.targets[:, names.index(known[name])]
            mask[:, k] = material.mask[:, names.index(known[name])]
    if missing:
        _log.warning("the job has no label %s: not scored", ", ".join(missing))
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
