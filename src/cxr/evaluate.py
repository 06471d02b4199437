"""python -m cxr.evaluate: score a trained run, on its own test images or on another job."""

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from cxr import config, schema
from cxr.errors import ConfigError, RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxr.learning.material import Material
    from cxr.learning.predictor import Predictor
    from cxr.pacs import Pacs

_log = logging.getLogger(__name__)


def main(cfg: schema.Evaluate, unresolved: DictConfig) -> None:
    """Predict, score, report."""
    from cxr import root
    from cxr.infra import holds
    from cxr.learning.predictor import Predictor
    from cxr.pacs import opening

    _refuse_settings_of_the_run()
    folder = root.prepare(cfg.root)
    if cfg.runs:
        _compare(cfg, folder)
        return
    run_folder = find_run(folder / "runs", cfg.run or "")
    predictor = Predictor.load(run_folder)
    alone = holds.held(folder, run_folder.name, cfg.data.job)
    with alone, opening.opened(cfg.pacs, root=folder) as pacs:
        _evaluate(cfg, unresolved, folder, run_folder, predictor, pacs)


def _evaluate(
    cfg: schema.Evaluate,
    unresolved: DictConfig,
    folder: Path,
    run_folder: Path,
    predictor: "Predictor",
    pacs: "Pacs",
) -> None:
    from dataclasses import replace
    from functools import partial

    import numpy as np

    from cxr.learning import ensembling, evaluation, material, table
    from cxr.learning.evaluation import headers, operating, sampling, tuning
    from cxr.learning.evaluation.scene import Settings
    from cxr.learning.targets import parse
    from cxr.pacs import opening

    record = predictor.record
    settings = Settings(**cfg.evaluate.model_dump())
    settings.check(record.label_names)
    job = folder / "jobs" / cfg.data.job
    ready = material.prepare(
        job / "manifests" / "output" / "output.manifest", pacs, folder / "cache",
        attribute=cfg.data.attribute, policy=parse(record.policy),
        image_size=record.image_size, preset=record.preset, workers=cfg.data.workers,
    )  # fmt: skip
    ready = sampling.align(ready, record)
    held, splits = None, None
    if record.members and cfg.data.job == record.job:
        held = ensembling.held(ensembling.inside(run_folder, record), ready)
        chosen, split, warnings = held.rows, held.split, held.warnings
        if not operating.fits(record.thresholds, settings):
            ensembling.tune(predictor, ready, held, settings, calibrate=False)
    else:
        chosen, split, warnings = _choose(cfg, run_folder, record.job, ready, pacs)
        splits = _splits(run_folder, ready) if cfg.data.job == record.job else None
        val = None if splits is None else np.flatnonzero(splits == "val")
        predictor.record = tuning.retune(predictor, ready, val, settings)
    for warning in warnings:
        _log.warning(warning)
    context = evaluation.context(
        folder, ready,
        job=cfg.data.job,
        config_yaml=_asked(unresolved),
        warnings=warnings,
        policies=ready.policy.told(),
        pictures=cfg.examples, opened=partial(opening.opened, cfg.pacs, root=folder),
        draws=cfg.draws, seed=cfg.seed,
        settings=settings, splits=splits,
        attribute=cfg.data.attribute,
        trained_with=ensembling.trained_with(run_folder, record),
    )  # fmt: skip
    if splits is None and settings.shortcuts:
        told = headers.trained_on(folder, run_folder, record, pacs, context.columns, settings.unit)
        context = replace(context, elsewhere=told)
    context = replace(context, by=None if held is None else held.by)
    place = run_folder / "evaluations" / cfg.data.job
    known = None if held is None else held.logits
    evaluated = evaluation.evaluate(place, predictor, ready, chosen, split, context, logits=known)
    print(table.render(evaluated.scored))
    print(f"report: {evaluated.report}")
    print(evaluated.predictions)


def _compare(cfg: schema.Evaluate, folder: Path) -> None:
    """Compare two runs on the images of one job; no net is asked anything."""
    from cxr.learning import comparison_page, comparisons, examples, predictor
    from cxr.pacs import opening

    found = [find_run(folder / "runs", name) for name in cfg.runs]
    job = cfg.data.job
    if not _said("data.job"):
        job = comparisons.same_job(*map(predictor.load_run, found))
    first, second = (comparisons.load(run_folder, job) for run_folder in found)
    manifest = folder / "jobs" / job / "manifests" / "output" / "output.manifest"
    with opening.opened(cfg.pacs, root=folder) as pacs:
        cohort = examples.read(manifest, pacs, cfg.data.attribute)
        said = comparisons.document(
            first, second, cohort, pacs, job,
            unit=cfg.evaluate.unit, draws=cfg.draws, seed=cfg.seed,
        )  # fmt: skip
    for warning in said["warnings"]:
        _log.warning(warning)
    names = f"{first.record.name}-vs-{second.record.name}"
    if job != first.record.job:
        names += f"-on-{job}"
    page = comparison_page.write(folder / "comparisons" / names, said)
    print(comparison_page.text(said))
    print(f"report: {page}")
    print(page.with_name(comparison_page.JSON))


def _said(key: str) -> bool:
    """Say whether a key stands on the command line."""
    from hydra.core.hydra_config import HydraConfig

    said = HydraConfig.get().overrides.task
    return any(word.lstrip("+~").partition("=")[0] == key for word in said)


def _asked(unresolved: DictConfig) -> str:
    """Give the config without what the run says itself, of which this command has defaults."""
    said = cast("dict[str, Any]", OmegaConf.to_container(unresolved, resolve=False))
    said["data"] = {key: value for key, value in said["data"].items() if key in _ASKED}
    said["evaluate"].pop("calibration", None)
    return OmegaConf.to_yaml(said)


_ASKED = ("job", "attribute", "workers")


def _refuse_settings_of_the_run() -> None:
    """Refuse what would be ignored: how images are made and split comes from the run."""
    from hydra.core.hydra_config import HydraConfig

    for override in HydraConfig.get().overrides.task:
        key = override.lstrip("+~").partition("=")[0]
        if key == "evaluate.calibration":
            raise ConfigError(f"{key}: the run says it already; calibrate when training")
        if key.startswith("data.") and key.removeprefix("data.") not in _ASKED:
            raise ConfigError(f"{key}: the run says it already; only data.job can be another")


def find_run(runs: Path, run: str) -> Path:
    """Find a run's folder by its name or its MLflow run ID.

    Raises:
        RunError: There is none.
    """
    from cxr.learning import predictor

    if (runs / run / "run.json").is_file():
        return runs / run
    for path in runs.glob("*/run.json"):
        with contextlib.suppress(ValueError, AttributeError):  # a torn one is none of ours to tell
            if json.loads(path.read_text()).get("run_id") == run:
                return path.parent
    raise RunError(f"run: no run called {run!r} in {runs}; {predictor.there_are(runs)}")


def _splits(run_folder: Path, ready: "Material") -> "NDArray[np.str_]":
    """Say of every image what it was to the run; "" where it came later."""
    import numpy as np

    from cxr.learning import folds

    splits = folds.load(run_folder / "split.csv")
    return np.array([splits.get(uid, "") for uid in ready.sop_instance_uids], np.str_)


def _choose(
    cfg: schema.Evaluate, run_folder: Path, trained_on: str, ready: "Material", pacs: "Pacs"
) -> "tuple[NDArray[np.intp], str, list[str]]":
    """Choose the run's own held-out images in its own job, every image in another."""
    import numpy as np

    from cxr.learning import evaluation, folds, lineage

    splits = folds.load(run_folder / "split.csv")
    uids = ready.sop_instance_uids
    if cfg.data.job == trained_on:
        split = "test" if "test" in splits.values() else "val"
        chosen = np.array([i for i, uid in enumerate(uids) if splits.get(uid) == split], np.intp)
        return chosen, split, [evaluation.ON_VAL] if split == "val" else []
    whose = dict(zip(uids, ready.patient_ids, strict=True))
    seen = lineage.learned(run_folder, run_folder.parent, pacs, whose)
    known = sum(patient in seen.trained | seen.tuned for patient in ready.patient_ids)
    warning = (
        f"{known} of {len(uids)} images are of patients this run, or one whose weights it began "
        "with, was trained or tuned on: these figures flatter."
    )
    return np.arange(len(uids)), "external", [*([warning] if known else []), *seen.doubts]


if __name__ == "__main__":
    config.command("evaluate", schema.Evaluate, main)
