"""One training run from its config: begun or resumed, recorded, tracked, fitted.

What a run's numbers follow from is written to `run.json` before the first epoch, so that a resume
can refuse what would change them.
"""

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxr import schema
from cxr.contract import labels
from cxr.errors import RunError
from cxr.infra import checkpoints, tracking
from cxr.infra.tracking import Run
from cxr.learning import (
    answering,
    augment,
    fit,
    losses,
    machine,
    model,
    preparing,
    ranks,
    starting,
    targets,
)
from cxr.learning import predictor as predictors
from cxr.learning.dataset import CxrData
from cxr.learning.epochs import Log
from cxr.learning.fit import Fitted
from cxr.learning.material import Material
from cxr.learning.predictor import RunRecord
from cxr.pacs import opening

_SOME_LABELS = 2  # how many there are is not known before the job is read
_log = logging.getLogger(__name__)
_BEFORE = {"targets.consistent": "True"}
"""What runs did before there was a key that says so."""


def earlier(cfg: schema.Train, run_folder: Path, *, begins_rest: bool = False) -> RunRecord | None:
    """Give the record of the run that is resumed; None where one begins.

    Whatever the run had trained for, it is resumed; one that kept no epoch begins with the first.

    Args:
        cfg: Of the run.
        run_folder: Its folder, which need not be there.
        begins_rest: It is one of several, of which a resume begins those that had not begun.

    Raises:
        RunError: The name is taken, or there is none to resume, or it began with other settings.
    """
    if not (run_folder / predictors.RUN).exists():
        if cfg.resume and not begins_rest:
            raise RunError(f"name: no run called {cfg.name!r} in {run_folder.parent} to resume")
        return None
    found = predictors.load_run(run_folder)
    kept, finished = _kept(run_folder), bool(found.members or found.kept or found.thresholds)
    if cfg.resume:
        if finished and not kept:
            what = "an ensemble" if found.members else "finished, and its checkpoints are gone"
            raise RunError(
                f"name: {cfg.name!r} is {what}, so there is nothing to go on from; choose another "
                "name"
            )
        _refuse_other(cfg, found)
        return found
    if finished or kept or (run_folder / predictors.CHECKPOINT).exists():
        hint = ", or add resume=true to go on with it" if kept or not finished else ""
        raise RunError(
            f"name: a run called {cfg.name!r} is there already; choose another name{hint}"
        )
    # a run that ended before its first epoch left nothing to keep, so its name is free
    return None


def _kept(run_folder: Path) -> bool:
    return any((run_folder / name).exists() for name in (checkpoints.LAST, checkpoints.PREVIOUS))


def _refuse_other(cfg: schema.Train, found: RunRecord) -> None:
    began, now = _BEFORE | dict(found.settings), settings(cfg)
    for key in sorted(began.keys() | now.keys()):
        if began.get(key) != now.get(key):
            raise RunError(
                f"{key}: expected {began.get(key, 'none')}, with which {cfg.name!r} "
                f"began, met {now.get(key, 'none')}; a run is resumed as it began"
            )


def is_over(cfg: schema.Train, run_folder: Path, found: RunRecord) -> bool:
    """Say whether a run was trained, evaluated and tracked to its end.

    Args:
        cfg: Of the run.
        run_folder: Its folder.
        found: What `earlier` gave.
    """
    evaluated = "score" in found.kept and (run_folder / "metrics.json").exists()
    return evaluated and tracking.is_finished(cfg.tracking.uri, found.run_id)


def check(cfg: schema.Train, run_folder: Path) -> None:
    """Build what the config describes, and find what it names, before anything slow.

    Args:
        cfg: Of the run.
        run_folder: Its folder, which need not be there.

    Raises:
        ConfigError: A loss, net or optimizer cannot be made so.
        RunError: There is no such file or run of weights.
    """
    losses.build(cfg.loss.model_dump(by_alias=True))
    net = model.build_net(cfg.model.net.model_dump(by_alias=True), _SOME_LABELS, seed=cfg.seed)
    model.try_net(net, (cfg.data.image_size[0], cfg.data.image_size[1]), _SOME_LABELS)
    _optimizer(cfg)(net.parameters())
    if cfg.model.weights and not _kept(run_folder):
        starting.find(cfg.model.weights, run_folder.parent)


def _optimizer(cfg: schema.Train) -> model.OptimizerFactory:
    return model.build_optimizer(cfg.model.optimizer.model_dump(by_alias=True, exclude_none=True))


def settings(cfg: schema.Train) -> dict[str, str]:
    """Give what decides a run's numbers, flat."""
    decisive = {"seed", "objective", "data", "targets", "loss", "augment", "model", "trainer"}
    flat = tracking.flatten(cfg.model_dump(include=decisive, by_alias=True))
    for where in ("data.workers", "data.split"):  # of the machine, not of the run
        flat.pop(where, None)
    return flat


def tracked(
    cfg: schema.Train, folder: Path, params: Mapping[str, Any], resumed: RunRecord | None
) -> Run:
    """Start the run in MLflow, or go on in that of the run that is resumed.

    Args:
        cfg: Of the run.
        folder: The data root.
        params: The unresolved config.
        resumed: The run that is resumed, or None.

    Raises:
        RunError: MLflow does not answer, or knows no such run.
    """
    if resumed:
        try:
            return tracking.resume(cfg.tracking.uri, resumed.run_id)
        except RunError as error:
            # a job's own database may have been lost with its machine; what was trained was not
            if not (os.environ.get("CXR_IN_JOB") and tracking.is_file(cfg.tracking.uri)):
                raise
            _log.warning("%s; its metrics begin anew, the training goes on", error)
    return tracking.start(
        cfg.tracking.uri, cfg.tracking.experiment, cfg.name,
        params=params, tags={f"machine.{k}": v for k, v in _machine(cfg).items()},
        artifacts=folder / "mlartifacts" if tracking.is_file(cfg.tracking.uri) else None,
    )  # fmt: skip


def _machine(cfg: schema.Train) -> dict[str, str]:
    precision = fit.resolve_precision(cfg.trainer.precision, cfg.trainer.accelerator)
    return machine.here(precision, ranks.here().world)


def record(
    cfg: schema.Train,
    material: Material,
    splits: NDArray[np.str_],
    run_id: str,
    resumed: RunRecord | None,
) -> RunRecord:
    """Say what the run is of, before it has learnt anything, and what computes it."""
    cohort = material.cohort
    computes = _machine(cfg)
    if resumed and (other := {k for k, v in computes.items() if resumed.machine.get(k) != v}):
        _log.warning(
            "%s differ from what %s began with, so its figures may in their last digits",
            ", ".join(sorted(other)), cfg.name,
        )  # fmt: skip
    return RunRecord(
        name=cfg.name,
        run_id=run_id,
        label_names=cohort.names,
        label_set=cohort.label_set,
        label_source=cohort.label_source,
        no_finding=cohort.no_finding,
        image_size=(cfg.data.image_size[0], cfg.data.image_size[1]),
        preset=cfg.data.preset,
        net=cfg.model.net.model_dump(by_alias=True),
        job=cfg.data.job,
        manifest_sha256=material.manifest_sha256,
        examples_sha256=material.sha256,
        seed=cfg.seed,
        counts={s: int((splits == s).sum()) for s in ("train", "val", "test")},
        policy=asdict(material.policy),
        settings=settings(cfg),
        labels=labels.to_data_object(cohort.labels),
        machine=computes,
        standardize=cfg.data.standardize,
        tta=answering.moves(cfg.model.tta, mirror=cfg.augment.flip > 0),
    )


def fitted(
    cfg: schema.Train,
    run_folder: Path,
    material: Material,
    splits: NDArray[np.str_],
    objective: str,
    log_metrics: Log | None = None,
    *,
    resume: bool,
) -> Fitted:
    """Train, or go on with it from its last checkpoint."""
    weights = targets.capped(material.weights, material.patient_ids, cfg.data.patient_cap)
    data = CxrData(
        material.images, material.rows, material.targets, weights, splits,
        truth=material.truth, mask=material.mask,
        batch_size=cfg.data.batch_size, standardize=cfg.data.standardize, seed=cfg.seed,
        augmentation=functools.partial(augment.apply, **cfg.augment.model_dump(exclude={"mixup"})),
        mixup=cfg.augment.mixup,
    )  # fmt: skip
    loss = losses.build(cfg.loss.model_dump(by_alias=True))
    loss.prepare(*(torch.from_numpy(a[splits == "train"]) for a in (material.targets, weights)))
    names = material.cohort.names
    last = checkpoints.newest(run_folder) if resume else None
    if resume and last is None:
        _log.warning("%s kept no epoch, so it begins with the first one", cfg.name)
    net = _net(cfg, run_folder, material, splits, resume=last is not None)
    classifier = model.Classifier(
        net, names, loss=loss,
        optimizer=_optimizer(cfg),
        schedule=cfg.model.schedule, warmup=cfg.model.warmup, objective=objective,
        excluded_from_macro=[material.cohort.no_finding] if material.cohort.no_finding else [],
        named=functools.partial(_named, material, tracking.secret(run_folder.parents[1])),
    )  # fmt: skip
    return fit.fit(
        classifier, data, folder=run_folder, max_epochs=cfg.trainer.max_epochs,
        objective=objective, accelerator=cfg.trainer.accelerator,
        precision=cfg.trainer.precision, gradient_clip=cfg.trainer.gradient_clip,
        accumulate=cfg.trainer.accumulate, ema=cfg.trainer.ema, keep=cfg.trainer.keep,
        patience=cfg.trainer.patience, seed=cfg.seed, log_metrics=log_metrics,
        resume_from=last,
    )  # fmt: skip


def note(cfg: schema.Train, run_folder: Path, done: Fitted) -> None:
    """Write into the run's record whose weights it keeps."""
    chosen = cfg.trainer
    kept = {"which": chosen.keep, "epoch": done.epoch, "score": done.score, "ema": chosen.ema}
    predictors.save_run(run_folder, replace(predictors.load_run(run_folder), kept=kept))


def _named(material: Material, secret: bytes, rows: Sequence[int]) -> list[str]:
    """Name images fit for logs."""
    uids = material.sop_instance_uids
    return [tracking.pseudonym(uids[row], secret)[:12] for row in rows]


def _net(
    cfg: schema.Train,
    run_folder: Path,
    material: Material,
    splits: NDArray[np.str_],
    *,
    resume: bool,
) -> nn.Module:
    """Build the net, with weights of before where they are asked for."""
    names = material.cohort.names
    net = model.build_net(cfg.model.net.model_dump(by_alias=True), len(names), seed=cfg.seed)
    first = ranks.here().first
    if cfg.model.weights and not resume:
        with opening.opened(cfg.pacs, root=run_folder.parents[1]) as pacs:
            taken = starting.begin(
                net, cfg.model.weights, run_folder.parent,
                names=names, material=material, splits=splits, pacs=pacs,
                table=preparing.leaked(run_folder.parents[1], cfg.name) if first else None,
            )  # fmt: skip
        if first:
            starting.write(run_folder, taken)
    if cfg.model.weights and first:
        starting.note(run_folder)
    return net
