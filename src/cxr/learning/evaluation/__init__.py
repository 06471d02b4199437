"""Score a run on images it was not trained on, and write all that people look at.

`predictions.csv`, `metrics.json`, figures and one report, in one folder; a second report where
the first shows pictures of patients.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning import figures, parcel, predictions, report, score
from cxr.learning.evaluation import cohort, gallery, sampling, sections, tuning
from cxr.learning.evaluation.columns import Columns
from cxr.learning.evaluation.sample import Sample
from cxr.learning.evaluation.scene import Scene, Settings
from cxr.learning.material import Material
from cxr.learning.metrics import Floats
from cxr.learning.predictor import Predictor, versions
from cxr.learning_schema import Pictured
from cxr.pacs import Pacs, synthetic

_log = logging.getLogger(__name__)
ON_VAL = "Scored on val, where checkpoint and thresholds were chosen: these figures flatter."
CONSOLIDATED = {
    "majority": "majority of those who answered",
    "dawid_skene": "readers weighed by how reliable they are (Dawid and Skene)",
    "any_present": "present where any reader says so",
    "adjudicated": "an adjudicator where readers differ, else their majority",
}
_PAGE, _SHAREABLE = "report.html", "report-without-pictures.html"
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
        pictures: Whether images were asked for, "unflagged" if those too of which it is not known
            whether text is burned in; those of synthetic data always come.
        opened: Opens the PACS with the files of the latter; None: none of them is shown.
        synthetic: All images were drawn by us and are nobody's.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        settings: What is asked beside AUROC and average precision.
        columns: The table of metadata.
        trained: Rows of the material that the run was trained on; none in another job.
        elsewhere: There, what it was trained on, if that is still known; no pixels. In units that
            are scored.
        answers: Where single readers' answers may be found: output manifest and label attribute.
        splits: Of every row of the material, see `Scene`.
        passed_over: View → images that the job left out because of it; None where not known.
        trained_with: Setting → value of the run's training, where `config_yaml` does not say it.
        by: Which members answer for each image scored, see `Scene`.
    """

    job: str
    config_yaml: str
    warnings: Sequence[str]
    policies: Mapping[str, str]
    agreement: Mapping[str, Any] | None
    pictures: Pictured
    synthetic: bool
    draws: int
    seed: int
    settings: Settings = field(default_factory=Settings)
    columns: Columns = field(default_factory=Columns)
    trained: NDArray[np.intp] | None = None
    elsewhere: Sample | None = None
    answers: tuple[Path, str | None] | None = None
    splits: NDArray[np.str_] | None = None
    passed_over: Mapping[str, int] | None = None
    trained_with: Mapping[str, str] = field(default_factory=dict)
    by: NDArray[np.bool_] | None = None
    opened: Callable[[], Pacs] | None = None


def context(
    root: Path,
    material: Material,
    *,
    job: str,
    config_yaml: str,
    warnings: Sequence[str],
    policies: Mapping[str, str],
    pictures: Pictured,
    draws: int,
    seed: int,
    settings: Settings | None = None,
    splits: NDArray[np.str_] | None = None,
    attribute: str | None = None,
    trained_with: Mapping[str, str] | None = None,
    opened: Callable[[], Pacs] | None = None,
) -> Context:
    """Gather what a report says beside its figures.

    Args:
        root: Data root; the job's agreement and the list of synthetic images lie in it.
        material: Of the job.
        job: Its name.
        config_yaml: Unresolved.
        warnings: Sentences beside the headline.
        policies: Name → value.
        pictures: Whether images were asked for, see `Context`.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        settings: What is asked beside AUROC and average precision.
        splits: Of every row of `material`, where it is the run's own job; "" for what came later.
        attribute: Label attribute of the output manifest, where it has several.
        trained_with: Setting → value of the run's training, where `config_yaml` does not say it.
        opened: Opens the PACS, if files have to be looked at.

    Raises:
        ConfigError: A finding or a column is unknown.
        DataError: The table of metadata cannot be read.
    """
    settings = settings or Settings()
    sources = [example.source for example in material.cohort.examples]
    drawn = synthetic.is_drawn(root / "synthetic" / "truth.csv", sources)
    if told := parcel.said(root / "jobs" / job / "manifests" / "output"):
        drawn = told.drawn  # known at home alone
    agreed = root / "jobs" / job / "agreement.json"
    told_by = root / "jobs" / job / "manifests" / "output" / "output.manifest"
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
        settings=settings,
        columns=settings.check(material.cohort.names),
        trained=None if splits is None else np.flatnonzero(splits == "train"),
        splits=splits,
        answers=(told_by, attribute) if told_by.exists() else None,
        passed_over=cohort.passed_over(root / "jobs" / job),
        trained_with=trained_with or {},
        opened=opened,
    )


def evaluate(
    folder: Path,
    predictor: Predictor,
    material: Material,
    chosen: NDArray[np.intp],
    split: str,
    context: Context,
    logits: NDArray[np.float64] | None = None,
) -> Evaluated:
    """Predict and score the chosen examples, and write everything into `folder`.

    Args:
        folder: Made if there is none.
        predictor: Of the run.
        material: Of the job; its labels are those of the run, in its order (see `align`).
        chosen: Rows of `material`.
        split: What these images are called: `test`, `val`, or another job's name.
        context: What the report says beside.
        logits: (len(chosen), L) what the predictor says, where that is known already.

    Raises:
        DataError: No image was chosen.
    """
    if not len(chosen):
        raise DataError(f"{context.job}: expected images to score in {split}, met none")
    names = predictor.record.label_names
    if logits is None:
        logits = tuning.logits(predictor, material, chosen)
    predicted = predictor.probabilities(logits).astype(np.float64)
    scene = _scene(predictor, material, chosen, predicted, split, context)
    scene = replace(scene, plain=_uncalibrated(scene, logits))
    scene = replace(scene, scored=sections.answer(scene))
    said = _report(scene, context)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / _SHAREABLE).exists():
        # pictures go before the predictions that tell whose they are, for withdrawals look there
        (folder / _SHAREABLE).replace(folder / _PAGE)
    kept = folder / "predictions.csv"
    predictions.write(kept, [material.sop_instance_uids[i] for i in chosen], names, predicted)
    score.write_metrics(folder / "metrics.json", said.scored)
    page, shareable = _pages(folder, said, scene, context)
    drawn = figures.write(folder / "figures", said.scored, said.curves)
    return Evaluated(said.scored, page, shareable, kept, drawn)


def _pages(folder: Path, said: report.Report, scene: Scene, context: Context) -> tuple[Path, Path]:
    """Write the report, and the one to share, which is the same where no patient is shown."""
    page = shareable = folder / _PAGE
    if not (context.pictures or context.synthetic):
        report.write(page, said)
        return page, page
    choice = _choice(scene, context)
    pictures = gallery.pictures(scene, choice.cases)
    if pictures and not context.synthetic:
        shareable = folder / _SHAREABLE
        report.write(shareable, said)  # first: it is what a withdrawal puts in the other's place
    shown = replace(
        said, pictures=pictures, cut=choice.cut,
        flagged=choice.flagged, silent=choice.silent, unflagged=context.pictures == "unflagged",
    )  # fmt: skip
    report.write(page, shown)
    return page, shareable


def _choice(scene: Scene, context: Context) -> gallery.Choice:
    if context.pictures != "unflagged" or context.opened is None:
        return gallery.choose(scene)
    with context.opened() as pacs:
        return gallery.choose(scene, pacs.retrieve)


def _uncalibrated(scene: Scene, logits: NDArray[np.float64]) -> Sample | None:
    """Give the units as the run would have answered without calibration; None where it has none."""
    record = scene.predictor.record
    if not record.calibration:
        return None
    bare = Predictor(replace(record, calibration={}), scene.predictor.members)
    predicted = predictions.rounded(bare.probabilities(logits))
    plain = replace(scene.images, probabilities=predicted)
    return sampling.pooled(plain, scene.material, scene.rows, scene.settings.unit)


def _scene(
    predictor: Predictor,
    material: Material,
    chosen: NDArray[np.intp],
    predicted: Floats,
    split: str,
    context: Context,
) -> Scene:
    """Set out what sections look at, with the first figures."""
    record, asked = predictor.record, material.cohort
    settings, columns = context.settings, context.columns
    images = sampling.images(material, chosen, predicted, record, settings, columns)
    sample = sampling.pooled(images, material, chosen, settings.unit)
    trained = context.elsewhere
    if context.trained is not None:
        trained = sampling.images(material, context.trained, None, record, settings, columns)
    return Scene(
        sample=sample,
        images=images,
        plain=None,
        trained=trained,
        scored=score.score(
            sample.probabilities, sample.truth, sample.mask,
            names=sample.names, patient_ids=sample.patients.tolist(),
            no_finding=sample.no_finding, thresholds=record.thresholds,
            label_source=asked.label_source, human_annotated=asked.human_annotated,
            split=split, unit=sample.unit, images=len(chosen),
            draws=context.draws, seed=context.seed,
        ),
        settings=settings,
        split=split,
        draws=context.draws,
        seed=context.seed,
        predictor=predictor,
        material=material,
        rows=chosen,
        trained_rows=np.empty(0, np.intp) if context.trained is None else context.trained,
        answers=sampling.answers(material, chosen, sample.names, context.answers),
        splits=context.splits,
        by=context.by,
    )  # fmt: skip


def _report(scene: Scene, context: Context) -> report.Report:
    """Say everything but pictures."""
    record, sample = scene.predictor.record, scene.sample
    return report.Report(
        run=record.name,
        run_id=record.run_id,
        created=record.created,
        evaluated=datetime.now(UTC).isoformat(timespec="seconds"),
        scored=scene.scored,
        curves=score.curves(sample.probabilities, sample.truth, sample.mask, names=sample.names),
        data=context.job,
        warnings=context.warnings,
        cohort=cohort.flow(scene, context.passed_over),
        listed=context.passed_over is not None,
        trained_with=context.trained_with,
        members=len(record.members),
        consolidation=" + ".join(
            CONSOLIDATED.get(rule, rule) for rule in scene.material.cohort.consolidation
        ),
        policies=context.policies,
        agreement=context.agreement,
        config_yaml=context.config_yaml,
        versions=versions() | {f"trained on, {k}": str(v) for k, v in record.machine.items()},
        hashes=_hashes(scene, context),
    )


def _hashes(scene: Scene, context: Context) -> dict[str, str]:
    record = scene.predictor.record
    said = {f"trained on {record.job}: output manifest (sha256)": record.manifest_sha256}
    if record.examples_sha256:  # not in runs of before
        said[f"trained on {record.job}: pictures and targets (sha256)"] = record.examples_sha256
    scored = f"scored on {context.job}: output manifest (sha256)"
    return said | {scored: scene.material.manifest_sha256}
