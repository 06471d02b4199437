"""Several runs as one model, and what it is worth: each image scored by those that never saw it.

Runs on different folds learn from each other's test images, so there is no image that all of them
have not seen. Out of fold there is: every image's patient was held out by one run, or by several
of one fold that differ in their seed.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError, RunError
from cxr.learning import folds, predictor
from cxr.learning.evaluation import calibration, operating, sampling, tuning
from cxr.learning.evaluation.columns import Columns
from cxr.learning.evaluation.scene import OUT_OF_FOLD, Settings
from cxr.learning.material import Material
from cxr.learning.predictor import Predictor, RunRecord

SPLIT = "split.csv"
TUNED = (
    "Thresholds, and calibration where there is one, were chosen on the predictions scored here: "
    "sensitivity, specificity and calibration flatter."
)
ANOTHER = (
    "Thresholds, and calibration where there is one, were chosen on what some members at a time "
    "say. What is served is the mean of all: at these thresholds its sensitivity and specificity "
    "are others, and nobody has measured them here."
)
_SAME = {
    "label_names": "labels", "labels": "label sets", "image_size": "image sizes",
    "preset": "presets", "job": "jobs", "examples_sha256": "images or labels",
    "standardize": "data.standardize", "tta": "model.tta", "consistent": "targets.consistent",
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One run of an ensemble.

    Attributes:
        folder: Of the run, or its copy in the ensemble's.
        record: What its run.json says.
        splits: SOPInstanceUID → train, val or test.
    """

    folder: Path
    record: RunRecord
    splits: Mapping[str, str]

    @property
    def tested(self) -> frozenset[str]:
        """The images it never learnt from."""
        return frozenset(uid for uid, split in self.splits.items() if split == "test")


@dataclass(frozen=True)
class Held:
    """What members say of images that they never learnt from.

    Attributes:
        rows: (K,) of the material.
        logits: (K, L) mean over the members that did not see the image.
        by: (K, M) which members those are.
        split: What these images are called.
        tuned: Where thresholds are chosen.
        tuned_on: What those images are called.
    """

    rows: NDArray[np.intp]
    logits: NDArray[np.float64]
    by: NDArray[np.bool_]
    split: str
    tuned: "Asked"
    tuned_on: str

    @property
    def warnings(self) -> list[str]:
        """What must stand beside the figures."""
        flatter = [TUNED] if self.tuned_on == self.split else []
        return flatter if self.tuned.by.all() else [*flatter, ANOTHER]


class Asked(NamedTuple):
    """Rows of the material (J,), what some members say of them (J, L), and which (J, M)."""

    rows: NDArray[np.intp]
    logits: NDArray[np.float64]
    by: NDArray[np.bool_]


def find(runs: Path, names: Sequence[str]) -> list[Path]:
    """Find the folders of runs; a name that is no run is that of a sweep: name-0, name-1, ...

    Raises:
        RunError: There is no such run, or only one in all.
    """
    found: list[Path] = []
    for name in names:
        if (runs / name / predictor.RUN).is_file():
            found.append(runs / name)
            continue
        trials = [p for p in runs.glob(f"{name}-*") if re.fullmatch(r".*-\d+", p.name)]
        trials = [p for p in trials if p.name.rpartition("-")[0] == name]
        if not trials:
            raise RunError(
                f"runs: no run and no sweep called {name!r} in {runs}; {predictor.there_are(runs)}"
            )
        found += sorted(trials, key=lambda p: int(p.name.rpartition("-")[2]))
    if len(found) < 2 or len(set(found)) < len(found):
        raise RunError(
            f"runs: expected at least two runs, each once, met {', '.join(p.name for p in found)}"
        )
    return found


def members(folders: Sequence[Path]) -> list[Member]:
    """Read the runs of an ensemble, and refuse what is none.

    Raises:
        RunError: A run is unfinished, an ensemble itself, differs from the first in more than
            folds, seed or net, or tests on some images of another's test and not on others.
    """
    made = []
    for folder in folders:
        record = predictor.load_run(folder)
        if record.members:
            raise RunError(f"runs: {folder.name!r} is an ensemble itself; name its runs instead")
        if not (folder / predictor.CHECKPOINT).is_file():
            raise RunError(f"runs: {folder.name!r} did not finish; resume it first")
        made.append(Member(folder, record, folds.load(folder / SPLIT)))
    for member in made:
        _check(made[0], member)
    for k, one in enumerate(made):
        for other in made[:k]:
            if one.tested != other.tested and one.tested & other.tested:
                raise RunError(
                    f"runs: {other.folder.name!r} and {one.folder.name!r} test on images of which "
                    "some are the same; divide both alike, by one seed and data.fold, or by "
                    "data.split=…/split.csv"
                )
    return made


def inside(folder: Path, record: RunRecord) -> list[Member]:
    """Read the members that an ensemble's folder holds."""
    return members([folder / predictor.MEMBERS / name for name in record.members])


def _check(first: Member, member: Member) -> None:
    names = first.folder.name, member.folder.name
    for key, what in _SAME.items():
        if getattr(first.record, key) != getattr(member.record, key):
            raise RunError(f"runs: {names[0]!r} and {names[1]!r} were trained with other {what}")
    if not member.tested:
        raise RunError(
            f"runs: {names[1]!r} held no image out (data.test=none), so nobody could say what an "
            "ensemble with it is worth"
        )


def trained_with(folder: Path, record: RunRecord) -> dict[str, str]:
    """Give the settings of a run's training; where those of an ensemble's runs differ, each.

    Args:
        folder: Of the run, with its members where it is an ensemble.
        record: Its own.

    Raises:
        RunError: A member's record cannot be read.
    """
    inner = [folder / predictor.MEMBERS / name for name in record.members]
    every = [predictor.load_run(path).settings for path in inner] or [record.settings]
    keys = dict.fromkeys(key for one in every for key in one)
    return {key: " | ".join(dict.fromkeys(one.get(key, "–") for one in every)) for key in keys}


def of_folds(given: Sequence[Member]) -> bool:
    """Say whether members hold out different images, rather than differ in their seed alone."""
    return len({member.tested for member in given}) > 1


def held(given: Sequence[Member], material: Material) -> Held:
    """Ask each member about the images it never learnt from.

    Of several folds, thresholds are chosen on these same predictions, for val was learnt from by
    the others; of several seeds on one fold, on val.

    Raises:
        RunError: The job's images or labels changed since.
        DataError: A member saw another image of a patient it held out.
    """
    if material.sha256 != given[0].record.examples_sha256:
        raise RunError(
            f"job {given[0].record.job!r}: images or labels changed since its runs were trained; "
            "train them anew"
        )
    tested = _asked(given, material, "test")
    if of_folds(given):
        return Held(*tested, OUT_OF_FOLD, tested, OUT_OF_FOLD)
    return Held(*tested, "test", _asked(given, material, "val"), "val")


def _asked(given: Sequence[Member], material: Material, role: str) -> Asked:
    """Give the images that have this role in a member, and the mean of what such members say."""
    uids, patients = material.sop_instance_uids, np.array(material.patient_ids)
    total = np.zeros(material.targets.shape, np.float64)
    by = np.zeros((len(uids), len(given)), bool)
    for k, member in enumerate(given):
        roles = np.array([member.splits.get(uid, "") for uid in uids])
        rows = np.flatnonzero(roles == role)
        seen = set(patients[(roles != role) & (roles != "")]) & set(patients[rows])
        if seen:
            raise DataError(
                f"leak: {len(seen)} patients of {role} are in another split of "
                f"{member.folder.name!r} too"
            )
        total[rows] += tuning.logits(Predictor.load(member.folder), material, rows)
        by[rows, k] = True
    rows = np.flatnonzero(by.any(axis=1))
    return Asked(rows, total[rows] / by[rows].sum(axis=1)[:, None], by[rows])


def tune(
    asked: Predictor, material: Material, what: Held, settings: Settings, *, calibrate: bool
) -> None:
    """Fit the calibration and choose thresholds; the predictor answers by them from then on.

    Args:
        asked: Of the ensemble; gets a new record.
        material: Of its job.
        what: What members said there.
        settings: What is fitted, by what thresholds are chosen and for which unit.
        calibrate: Fit anew; else the record's calibration stays.
    """
    (rows, logits, _), record = what.tuned, asked.record
    if calibrate:
        bare = sampling.images(material, rows, None, record, Settings(), Columns())
        fitted = calibration.fit(
            logits, bare.truth, bare.mask, record.label_names, settings.calibration,
            split=what.tuned_on,
        )  # fmt: skip
        asked.record = record = replace(record, calibration=fitted)
    predicted = asked.probabilities(logits)
    sample = sampling.images(material, rows, predicted, record, Settings(), Columns())
    sample = sampling.pooled(sample, material, rows, settings.unit)
    thresholds = operating.choose(sample, settings, split=what.tuned_on)
    asked.record = replace(record, thresholds=thresholds)


def keep(folder: Path, given: Sequence[Member]) -> dict[str, Any]:
    """Put the members into the ensemble's folder, where nothing that happens to them changes it.

    Returns:
        What its run.json says of them: `members` and `counts`.
    """
    inner = folder / predictor.MEMBERS
    shutil.rmtree(inner, ignore_errors=True)
    for member in given:
        target = inner / member.folder.name
        target.mkdir(mode=0o700, parents=True)
        for name in (predictor.RUN, SPLIT, predictor.CHECKPOINT):
            _linked(member.folder / name, target / name)
    learnt = _learnt(given)
    folds.save(folder / SPLIT, list(learnt), list(learnt.values()))
    counts = {role: list(learnt.values()).count(role) for role in folds.SPLITS}
    return {"members": tuple(m.folder.name for m in given), "counts": counts}


def _linked(source: Path, target: Path) -> None:
    """Share a file that is only ever replaced as a whole; copy it where disks differ."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _learnt(given: Sequence[Member]) -> dict[str, str]:
    """Say of every image the most that a member made of it: train, else val, else test."""
    found: dict[str, str] = {}
    for member in given:
        for uid, split in member.splits.items():
            met = found.get(uid, "test")
            found[uid] = min(split, met, key=folds.SPLITS.index)
    return found
