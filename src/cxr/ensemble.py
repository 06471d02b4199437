"""python -m cxr.ensemble: several runs as one model, scored on what each had held out."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from cxr import config, schema
from cxr.errors import RunError

if TYPE_CHECKING:
    from cxr.infra.tracking import Run
    from cxr.learning.ensembling import Held, Member
    from cxr.learning.evaluation import Evaluated
    from cxr.learning.evaluation.scene import Settings
    from cxr.learning.material import Material
    from cxr.learning.predictor import Predictor

_log = logging.getLogger(__name__)


def main(cfg: schema.Ensemble, unresolved: DictConfig) -> None:
    """Take the name, and make the ensemble."""
    from cxr import root
    from cxr.infra import holds

    folder = root.prepare(cfg.root)
    with holds.held(folder, cfg.name):
        _ensemble(cfg, unresolved, folder)


def _ensemble(cfg: schema.Ensemble, unresolved: DictConfig, folder: Path) -> None:
    """Check that the runs fit together, ask each about what it held out, report."""
    from cxr.infra import tracking
    from cxr.learning import ensembling, ranks, table
    from cxr.learning.evaluation.scene import Settings

    ranks.hush()
    place = folder / "runs" / cfg.name
    if (place / "run.json").exists():
        raise RunError(f"name: a run called {cfg.name!r} is there already; choose another name")
    members = ensembling.members(ensembling.find(folder / "runs", cfg.runs))
    settings = Settings(**cfg.evaluate.model_dump())
    settings.check(members[0].record.label_names)
    material = _material(cfg, folder, members)
    told = cast("dict[str, Any]", OmegaConf.to_container(unresolved, resolve=False))
    tracked = tracking.start(
        cfg.tracking.uri, cfg.tracking.experiment, cfg.name, params=told,
        artifacts=folder / "mlartifacts" if tracking.is_file(cfg.tracking.uri) else None,
    )  # fmt: skip
    with tracked.finishing():
        held = ensembling.held(members, material)
        _log.info(
            "%d runs%s; %d of %d images by those that never saw their patient",
            len(members), "" if ensembling.of_folds(members) else " on one fold",
            len(held.rows), len(material.targets),
        )  # fmt: skip
        asked = _joined(cfg, place, members, tracked.run_id)
        ensembling.tune(asked, material, held, settings, calibrate=True)
        evaluated = _evaluate(cfg, unresolved, folder, place, asked, material, held, settings)
        _track(cfg, tracked, place, asked, evaluated)
    print(table.render(evaluated.scored))
    print(f"report: {evaluated.report}")
    print(place / "run.json")
    print(f"next: python -m cxr.evaluate run={cfg.name} data=job data.job=…")


def _material(cfg: schema.Ensemble, folder: Path, members: "list[Member]") -> "Material":
    from cxr.learning import material, preparing, targets
    from cxr.pacs import opening

    record = members[0].record
    attribute = record.settings.get("data.attribute", "None")
    with opening.opened(cfg.pacs, root=folder) as pacs:
        return material.prepare(
            preparing.manifest(folder, record.job), pacs, folder / "cache",
            attribute=None if attribute == "None" else attribute,
            policy=targets.parse(record.policy),
            image_size=record.image_size, preset=record.preset, workers=cfg.workers,
        )  # fmt: skip


def _joined(cfg: schema.Ensemble, place: Path, members: "list[Member]", run_id: str) -> "Predictor":
    """Put the members into the ensemble's folder, and ask them together from now on."""
    from cxr.learning import ensembling, predictor

    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    first = members[0].record
    record = predictor.RunRecord(
        name=cfg.name, run_id=run_id, seed=cfg.seed,
        **{
            key: getattr(first, key)
            for key in (
                "label_names", "label_set", "label_source", "no_finding", "image_size", "preset",
                "net", "job", "manifest_sha256", "examples_sha256", "policy", "labels",
                "standardize", "tta",
            )
        },
        **ensembling.keep(place, members),
    )  # fmt: skip
    nets = [predictor.Predictor.load(member.folder).net for member in members]
    return predictor.Predictor(record, nets)


def _evaluate(
    cfg: schema.Ensemble,
    unresolved: DictConfig,
    folder: Path,
    place: Path,
    asked: "Predictor",
    material: "Material",
    held: "Held",
    settings: "Settings",
) -> "Evaluated":
    from dataclasses import replace
    from functools import partial

    from cxr.learning import card, ensembling, evaluation, folds, predictor
    from cxr.learning.evaluation import headers
    from cxr.pacs import opening

    context = evaluation.context(
        folder, material,
        job=asked.record.job,
        config_yaml=OmegaConf.to_yaml(unresolved, resolve=False),
        warnings=held.warnings,
        policies=material.policy.told() | {"split": "by patient, each scored out of fold"},
        pictures=cfg.examples, opened=partial(opening.opened, cfg.pacs, root=folder),
        draws=cfg.draws, seed=cfg.seed,
        settings=settings,
        trained_with=ensembling.trained_with(place, asked.record),
    )  # fmt: skip
    known = folds.load(place / ensembling.SPLIT)
    told = headers.trained_among(
        material.cohort, known, asked.record, context.columns, settings.unit
    )
    context = replace(context, elsewhere=told, by=held.by)
    made = evaluation.evaluate(
        place, asked, material, held.rows, held.split, context, logits=held.logits
    )
    card.write(place, asked.record, made.scored, context.warnings)
    predictor.save_run(place, asked.record)  # last: a folder with it is a run
    return made


def _track(
    cfg: schema.Ensemble, tracked: "Run", place: Path, asked: "Predictor", evaluated: "Evaluated"
) -> None:
    from cxr.learning import predictor
    from cxr.learning import tracked as in_mlflow

    in_mlflow.results(tracked, place, evaluated)
    if cfg.onnx:
        try:
            tracked.keep(asked.export_onnx(place / predictor.ONNX))
        except RunError as error:
            _log.warning("%s", error)
    in_mlflow.model(
        tracked, place, asked.record,
        register_as=cfg.tracking.register_as, alias=cfg.tracking.alias,
    )  # fmt: skip


if __name__ == "__main__":
    config.command("ensemble", schema.Ensemble, main)
