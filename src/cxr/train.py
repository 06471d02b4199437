"""python -m cxr.train: one labelled job in, one trained and evaluated run out."""

import functools
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from cxr import config, schema
from cxr.errors import RunError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from cxr.aws_schema import Aws, SageMakerCompute
    from cxr.infra.compute import ComputeBackend
    from cxr.infra.tracking import Run
    from cxr.learning.evaluation import Evaluated
    from cxr.learning.fit import Fitted
    from cxr.learning.material import Material
    from cxr.learning.predictor import Predictor, RunRecord

_OF_TIME = re.compile(r"-[0-9]{8}-[0-9]{6}-[0-9]+$")  # conf/train's own names, in a sweep
_log = logging.getLogger(__name__)


def main(cfg: schema.Train, unresolved: DictConfig) -> float:
    """Hand the run to the compute backend, and give what a sweep maximises."""
    return float(_backend(cfg).run(train, unresolved))


def _backend(cfg: schema.Train) -> "ComputeBackend":
    """Open the machine that is configured."""
    if isinstance(cfg.compute, schema.LocalCompute):
        from cxr.infra.compute import Local

        return Local()
    from cxr import root
    from cxr.infra.aws import stacks
    from cxr.infra.sagemaker import SageMaker
    from cxr.learning import ordering

    # a training job labels nothing, so nothing of a labeling stack need be there
    filled = stacks.fill(cfg.model_copy(update={"labeling": None}))
    return SageMaker(
        cast("SageMakerCompute", filled.compute),
        stacks.account(cast("Aws", filled.aws)),
        ordering.order(cfg, root.prepare(cfg.root)),
        again=_again,
        say=print,
        **_asked(cfg.name),
    )


def _asked(name: str) -> dict[str, Any]:
    """Say whether a run has its name of the command alone, and is one of several.

    Of several a resume begins those that had not begun, unless all have other names each time.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized():
        return {}
    hydra = HydraConfig.get()
    of_sweep = hydra.mode is RunMode.MULTIRUN
    if any(word.lstrip("+").startswith("name=") for word in hydra.overrides.task):
        return {"of_sweep": of_sweep, "begins_rest": of_sweep}
    # the trials of a sweep are meant to run beside each other
    made_up = name.removesuffix(str(hydra.job.num)) if of_sweep else name
    begins_rest = of_sweep and not _OF_TIME.search(name)
    return {"of_sweep": of_sweep, "made_up": made_up, "begins_rest": begins_rest}


def _again(name: str) -> str:
    """Give the command that goes on with this run, of a sweep or not."""
    import shlex

    from hydra.core.hydra_config import HydraConfig

    said = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    words = [word.lstrip("+") for word in said]
    kept = [w for w in words if not w.startswith(("name=", "resume="))]
    return shlex.join(["python", "-m", "cxr.train", *kept, f"name={name}", "resume=true"])


def train(unresolved: DictConfig) -> float:
    """Train, choose thresholds on val, test, report; the objective of the epoch that is kept."""
    from cxr.infra import interrupts

    with interrupts.like_exit():
        cfg = config.check(unresolved, schema.Train)
        with _held(cfg):
            return _train(cfg, unresolved)


def _held(cfg: schema.Train) -> "AbstractContextManager[None]":
    """Take the run's name; of processes that train together the first one does it for all."""
    from contextlib import nullcontext

    from cxr import root
    from cxr.infra import holds
    from cxr.learning import ranks

    first = ranks.here().first
    return holds.held(root.prepare(cfg.root), cfg.name) if first else nullcontext()


def _train(cfg: schema.Train, unresolved: DictConfig) -> float:
    from cxr import root
    from cxr.learning import fit, preparing, ranks, running, score
    from cxr.learning import tracked as in_mlflow
    from cxr.learning.predictor import Predictor

    # asked here too, so that it is refused before anything is decoded or tracked
    fit.resolve_precision(cfg.trainer.precision, cfg.trainer.accelerator)
    ranks.hush()
    folder = root.prepare(cfg.root)
    run_folder = folder / "runs" / cfg.name
    asked = _asked(cfg.name)
    earlier = running.earlier(cfg, run_folder, begins_rest=asked.get("begins_rest", False))
    if earlier and asked.get("of_sweep") and running.is_over(cfg, run_folder, earlier):
        _log.info("%s is finished, and is passed over", cfg.name)
        return float(earlier.kept["score"])
    running.check(cfg, run_folder)
    material = preparing.material(cfg, folder)
    objective = preparing.objective(cfg, material.cohort.names)
    splits = preparing.splits(cfg, folder, run_folder, material, earlier)
    if not ranks.here().first:  # the first one alone tracks, writes and evaluates
        common = cfg, run_folder, material, splits, objective
        return running.fitted(*common, resume=earlier is not None).score
    params = cast("dict[str, Any]", OmegaConf.to_container(unresolved, resolve=False))
    tracked = running.tracked(cfg, folder, params, earlier)
    with tracked.finishing():
        fitted = _fit(cfg, run_folder, material, splits, objective, tracked, earlier)
        predictor = Predictor.load(run_folder)
        evaluated = _evaluate(cfg, folder, run_folder, predictor, material, splits, unresolved)
        _tell(score.flat(evaluated.scored))
        in_mlflow.results(tracked, run_folder, evaluated)
        if cfg.onnx:
            _export(tracked, run_folder, predictor)
        in_mlflow.model(
            tracked, run_folder, predictor.record,
            register_as=cfg.tracking.register_as, alias=cfg.tracking.alias,
        )  # fmt: skip
    _print(cfg, run_folder, evaluated)
    return fitted.score


def _fit(
    cfg: schema.Train,
    run_folder: Path,
    material: "Material",
    splits: "NDArray[np.str_]",
    objective: str,
    tracked: "Run",
    earlier: "RunRecord | None",
) -> "Fitted":
    """Record what the run is of, train, and tell MLflow of it all."""
    from cxr.learning import predictor, running
    from cxr.learning import tracked as in_mlflow

    resume = earlier is not None
    record = running.record(cfg, material, splits, tracked.run_id, earlier)
    predictor.save_run(run_folder, record)
    if not resume:
        in_mlflow.data(tracked, material, splits, cfg.data.job)
    told = functools.partial(_told, tracked)
    with tracked.measured(cfg.tracking.uri):
        fitted = running.fitted(cfg, run_folder, material, splits, objective, told, resume=resume)
    running.note(cfg, run_folder, fitted)
    _log.info(
        "kept the %s epoch: %s %.3f in epoch %d of %d; %.0f s, %.0f images/s, %s",
        cfg.trainer.keep, objective, fitted.score, fitted.epoch, fitted.epochs,
        fitted.seconds, fitted.images_per_s, fitted.precision,
    )  # fmt: skip
    return fitted


def _evaluate(
    cfg: schema.Train,
    folder: Path,
    run_folder: Path,
    predictor: "Predictor",
    material: "Material",
    splits: "NDArray[np.str_]",
    unresolved: DictConfig,
) -> "Evaluated":
    import numpy as np

    from cxr.learning import card, evaluation
    from cxr.learning.evaluation import tuning
    from cxr.learning.evaluation.scene import Settings
    from cxr.learning.predictor import save_run
    from cxr.pacs import opening

    settings = Settings(**cfg.evaluate.model_dump())
    val = np.flatnonzero(splits == "val")
    predictor.record = tuning.tune(predictor, material, val, settings)
    save_run(run_folder, predictor.record)
    split = "test" if (splits == "test").any() else "val"
    context = evaluation.context(
        folder, material,
        job=cfg.data.job,
        config_yaml=OmegaConf.to_yaml(unresolved, resolve=False),
        warnings=[evaluation.ON_VAL] if split == "val" else [],
        policies=material.policy.told() | {"split": "by patient"},
        pictures=cfg.examples, opened=functools.partial(opening.opened, cfg.pacs, root=folder),
        draws=cfg.draws, seed=cfg.seed,
        settings=settings, splits=splits,
        attribute=cfg.data.attribute,
    )  # fmt: skip
    chosen = np.flatnonzero(splits == split)
    evaluated = evaluation.evaluate(run_folder, predictor, material, chosen, split, context)
    card.write(run_folder, predictor.record, evaluated.scored, context.warnings)
    return evaluated


def _told(tracked: "Run", metrics: Mapping[str, float], epoch: int) -> None:
    tracked.log(metrics, epoch)
    _tell(metrics, f" epoch={epoch}")


def _tell(metrics: Mapping[str, float], after: str = "") -> None:
    """Print metrics for a job's log, from which SageMaker's MetricDefinitions take them."""
    if os.environ.get("CXR_METRIC_LINES"):
        for name, value in metrics.items():
            print(f"{name}={value:.6g}{after}", flush=True)


def _export(tracked: "Run", run_folder: Path, predictor: "Predictor") -> None:
    from cxr.learning.predictor import ONNX

    try:
        tracked.keep(predictor.export_onnx(run_folder / ONNX))
    except RunError as error:
        # what was trained is worth keeping, ONNX or not
        _log.warning("%s", error)


def _print(cfg: schema.Train, run_folder: Path, evaluated: "Evaluated") -> None:
    from cxr.infra import tracking
    from cxr.learning import table

    shown = tracking.shown(cfg.tracking.uri)
    if tracking.is_file(cfg.tracking.uri):
        shown = f"mlflow ui --backend-store-uri {shown}"
    print(table.render(evaluated.scored))
    print(f"report: {evaluated.report}")
    print(f"MLflow: {shown}")
    print(run_folder / "best.ckpt")
    print(f"next: python -m cxr.evaluate run={cfg.name} data=job data.job=…")


if __name__ == "__main__":
    config.command("train", schema.Train, main)
