"""From the config of a run to what it trains on: examples checked, decoded and divided.

A training job elsewhere is prepared by the same functions on the machine that starts it, so that
wrong labels and leaks are found before anything is paid for.
"""

import difflib
import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr import schema
from cxr.contract.labels import State
from cxr.errors import ConfigError, RunError
from cxr.infra import tracking
from cxr.learning import divided, folds, parcel, ranks, score, targets
from cxr.learning import material as materials
from cxr.learning.evaluation.scene import Settings
from cxr.learning.examples import Cohort, Example
from cxr.learning.material import Material
from cxr.learning.predictor import RunRecord
from cxr.learning.targets import Policy
from cxr.pacs import opening

_log = logging.getLogger(__name__)


def material(cfg: schema.Train, folder: Path) -> Material:
    """Read the job's labels, refuse what the config does not fit, decode what is not cached.

    Args:
        cfg: Of the run.
        folder: The data root.
    """
    policy = _policy(cfg)

    def check(cohort: Cohort) -> None:
        _check_labels(cfg, cohort)
        _check_targets(policy, cohort)
        if cfg.data.split is not None and not cfg.resume:
            _given(cfg, cohort.examples)  # before hours of decoding

    path = manifest(folder, cfg.data.job)
    with opening.opened(cfg.pacs, root=folder) as pacs:
        ready = materials.prepare(
            path, pacs, folder / "cache",
            attribute=cfg.data.attribute,
            policy=policy,
            image_size=cfg.data.image_size, preset=cfg.data.preset,
            workers=cfg.data.workers, check=check,
        )  # fmt: skip
    return parcel.told(ready, path.parent)


def _policy(cfg: schema.Train) -> Policy:
    return targets.parse(cfg.targets.model_dump() | {"seed": cfg.seed})


def manifest(folder: Path, job: str) -> Path:
    """Say where a labeling job's output manifest is."""
    return folder / "jobs" / job / "manifests" / "output" / "output.manifest"


def objective(cfg: schema.Train, names: Sequence[str]) -> str:
    """Give the name under which the objective is logged.

    Raises:
        ConfigError: It is about a label the job does not have.
    """
    split, metric, *label = cfg.objective.split("/", 2)
    if label and label[0] not in names:
        near = difflib.get_close_matches(label[0], names, n=1, cutoff=0)[0]
        raise ConfigError(
            f"objective: expected a label of job {cfg.data.job!r}, met {label[0]!r}; "
            f"the nearest is {near!r}"
        )
    return score.metric_name(split, metric, *label)


def splits(
    cfg: schema.Train, folder: Path, run_folder: Path, ready: Material, earlier: RunRecord | None
) -> NDArray[np.str_]:
    """Divide the patients, or take the division of the run that is resumed as it is.

    Args:
        cfg: Of the run.
        folder: The data root.
        run_folder: Gets `split.csv`.
        ready: What is divided.
        earlier: The run that is resumed, or None.

    Returns:
        (N) of `train`, `val`, `test`.

    Raises:
        DataError: Two of them share a patient, a study or a picture.
        RunError: What is resumed was begun with other images or labels.
    """
    table = run_folder / "split.csv"
    if earlier is not None:
        roles = _resumed(cfg, table, ready, earlier)
    elif cfg.data.split is not None:
        roles = _given(cfg, ready.cohort.examples)
    else:
        roles = _drawn(cfg, ready)
    studies = [e.study_instance_uid for e in ready.cohort.examples]
    folds.check_leaks(
        roles, ready.patient_ids, studies, ready.pixel_hashes,
        sop_instance_uids=ready.sop_instance_uids,
        pseudonym=functools.partial(tracking.pseudonym, secret=tracking.secret(folder)),
        table=leaked(folder, cfg.name) if ranks.here().first else None,
    )  # fmt: skip
    leaked(folder, cfg.name).unlink(missing_ok=True)  # of an attempt before this one
    if earlier is None and ranks.here().first:
        run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folds.save(table, ready.sop_instance_uids, roles)
    counts = ", ".join(f"{(roles == s).sum()} {s}" for s in folds.SPLITS)
    patients = len(set(ready.patient_ids))
    _log.info("%d images of %d patients: %s", len(roles), patients, counts)
    return roles


def leaked(folder: Path, name: str) -> Path:
    """Say where it is written which images a leak is of that kept a run from beginning."""
    return folder / folds.LEAKS / f"{name}.csv"


def _check_labels(cfg: schema.Train, cohort: Cohort) -> None:
    names = cohort.names
    if cfg.labels and tuple(cfg.labels.names) != names:
        raise ConfigError(
            f"labels: job {cfg.data.job!r} was labelled with {cohort.label_set!r} "
            f"({len(names)} labels), not with {cfg.labels.name!r} "
            f"({len(cfg.labels.names)} labels); leave labels= out"
        )
    objective(cfg, names)
    Settings(**cfg.evaluate.model_dump()).check(names)


def _check_targets(policy: Policy, cohort: Cohort) -> None:
    """Refuse a policy that asks for what these labels do not have."""
    targets.check(policy, cohort.labels)
    probabilities = [example.probabilities for example in cohort.examples]
    if policy.probabilities and not any(probabilities):
        raise ConfigError(
            "targets.probabilities: expected labels with consolidated probabilities, met none; "
            "label with job.consolidation=dawid_skene, or set it to false"
        )
    if policy.confidence:
        votes = [example.votes for example in cohort.examples]
        if not targets.agreement(votes, probabilities, len(cohort.names))[1]:
            raise ConfigError(
                "targets.confidence: expected images that two readers answered, or consolidated "
                "probabilities, met neither; set it to false"
            )


def _drawn(cfg: schema.Train, ready: Material) -> NDArray[np.str_]:
    listed = _listed(cfg.data.test_list)
    absent = len(set(listed).difference(ready.patient_ids))
    if absent:
        _log.warning(
            "%d of %d patients in %s have no image in job %s",
            absent, len(set(listed)), cfg.data.test_list, cfg.data.job,
        )  # fmt: skip
    # by the labels as given, so that no policy moves a patient
    given = [[state is State.PRESENT for state in e.states] for e in ready.cohort.examples]
    present = np.array(given, np.float32)
    return folds.split(
        ready.patient_ids, present, np.ones(present.shape, bool),
        folds=cfg.data.folds, fold=cfg.data.fold, test=cfg.data.test,
        test_patients=listed, seed=cfg.seed,
    )  # fmt: skip


def _given(cfg: schema.Train, examples: Sequence[Example]) -> NDArray[np.str_]:
    """Take the split that a table says."""
    # a training job elsewhere is sent the split that was made of such a list
    if cfg.data.test == "list" and not os.environ.get("CXR_IN_JOB"):
        raise ConfigError(
            "data.split: expected it alone, for it says who is tested on, met data.test=list"
        )
    return divided.read(Path(str(cfg.data.split)), examples)


def _resumed(
    cfg: schema.Train, table: Path, ready: Material, earlier: RunRecord
) -> NDArray[np.str_]:
    # another split of other images could test on what was trained on before
    if ready.sha256 != earlier.examples_sha256:
        raise RunError(
            f"data.job: images or labels of {cfg.data.job!r} changed since {cfg.name!r} began; "
            "train under a new name"
        )
    known = folds.load(table)
    try:
        return np.array([known[uid] for uid in ready.sop_instance_uids])
    except KeyError as error:
        raise RunError(
            f"{table}: expected every image of the run; train under a new name"
        ) from error


def _listed(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        # editors may begin it with a mark, which would be part of the first PatientID
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            f"data.test_list: expected a file of patient IDs, met {path!r} ({reason})"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
