"""Who was trained on and who is scored: a table of the splits, and how images came to be in them.

Sex and age are counted by patient, view and findings by image. Groups of few patients are
withheld, as in subgroups.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.errors import DataError
from cxr.learning.evaluation import cells
from cxr.learning.evaluation.columns import ages
from cxr.learning.evaluation.scene import Scene
from cxr.learning.material import Material
from cxr.learning.metrics import FEWEST_PATIENTS
from cxr.learning.report import Step

ORDER = ("train", "val", "test")
_VIEWS = ("AP", "PA")


def section(scene: Scene) -> dict[str, Any]:
    """Describe each split of the job that is known.

    Returns:
        `splits`: name → `images`, `patients`, `age` (median and quartiles of patients at their
        first image, None below ten who are known, and `unknown`, None where withheld), `sex`
        and `view` (value → patients, or images; None where withheld), `findings`: label → `n`,
        `positives`.
    """
    return {
        "splits": {
            name: _described(scene.material, scene.images.names, rows)
            for name, rows in divided(scene)
        }
    }


def divided(scene: Scene) -> list[tuple[str, NDArray[np.intp]]]:
    """Give the rows of each split; those scored alone where no other is known."""
    if scene.splits is None:
        return [(scene.split, scene.rows)]
    found = [(name, np.flatnonzero(scene.splits == name)) for name in ORDER]
    return [(name, rows) for name, rows in found if len(rows)]


def _described(material: Material, names: Sequence[str], rows: NDArray[np.intp]) -> dict[str, Any]:
    examples = [material.cohort.examples[row] for row in rows]
    known = [material.cohort.instances[row] for row in rows] if material.cohort.instances else []
    patients = np.array([example.patient_id for example in examples], np.str_)
    said: dict[str, Any] = {
        "images": len(rows),
        "patients": len(np.unique(patients)),
        "age": None,
        "sex": {},
        "view": {},
        "findings": {},
    }
    if known:
        # the first image of a patient stands for her
        _, first = np.unique(patients, return_index=True)
        sex = np.array([instance.sex or cells.UNKNOWN for instance in known], np.str_)
        said["sex"] = _counts(sex[first], patients[first])
        said["age"] = _age(ages(known)[first])
        view = np.array([i.view_position if i.view_position in _VIEWS else "other" for i in known])
        said["view"] = _counts(view, patients)
    for k, name in enumerate(names):
        mask = material.mask[rows, k]
        said["findings"][name] = {
            "n": int(mask.sum()),
            "positives": int((material.truth[rows, k] * mask).sum()),
        }
    return said


def _age(years: NDArray[np.float64]) -> dict[str, Any]:
    there = years[~np.isnan(years)]
    unknown = len(years) - len(there)
    # beside the groups of subgroups it would tell how many are in one that is withheld
    told = None if 0 < unknown < FEWEST_PATIENTS else unknown
    said: dict[str, Any] = {"median": None, "quartiles": None, "unknown": told}
    if len(there) >= FEWEST_PATIENTS:
        low, middle, high = np.percentile(there, [25, 50, 75])
        said |= {"median": float(middle), "quartiles": [float(low), float(high)]}
    return said


def _counts(values: NDArray[np.str_], patients: NDArray[np.str_]) -> dict[str, int | None]:
    met = sorted(set(values.tolist()))
    quiet = cells.withheld([patients[values == value] for value in met])
    return {
        value: None if why else int((values == value).sum())
        for value, why in zip(met, quiet, strict=True)
    }


def passed_over(job: Path) -> dict[str, int] | None:
    """Count the images that a job found and did not take, by view; None where it does not say.

    Args:
        job: Its folder.

    Raises:
        DataError: The list cannot be read.
    """
    path = job / "passed_over.csv"
    if not path.exists():  # over a given manifest, or elsewhere
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return dict(Counter(row["view"] or "unknown" for row in csv.DictReader(file)))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(
            f"{path}: expected the images that the job left out, with a column view: {error!r}; "
            "remove it to be told of the output manifest alone"
        ) from error


def flow(scene: Scene, passed: Mapping[str, int] | None = None) -> list[Step]:
    """Say how many images left at which step, from what the job found to what is scored.

    Args:
        scene: What is scored.
        passed: As `passed_over` gives it; without it the flow begins with the manifest.
    """
    left_out, patients = scene.material.cohort.left_out, scene.material.patient_ids
    total = len(patients)
    listed = total + sum(left_out.values())
    found = {_why(view): count for view, count in (passed or {}).items()}
    first = Step("images that the job found", listed + sum(found.values()))
    steps = [
        *([] if passed is None else [first]),
        Step("images in the output manifest", listed, left_out=found),
        Step("labelled, usable, readable", total, len(set(patients)), left_out),
    ]
    if scene.splits is None:
        others = {"not scored": total - len(scene.rows)}
    else:
        others = {_ROLES[name]: int((scene.splits == name).sum()) for name in _ROLES}
        others.pop(_ROLES.get(scene.split, ""), None)
    scored = len({patients[row] for row in scene.rows})
    return [*steps, Step(f"scored here ({scene.split})", len(scene.rows), scored, others)]


def _why(view: str) -> str:
    if view.startswith("further "):  # where a study is asked about by one of its images
        return f"{view}: another image stands for the study"
    return f"{view}: no view that the job asked for"


_ROLES = {
    "train": "trained on",
    "val": "val: checkpoint, calibration and thresholds are chosen on these",
    "test": "test",
    "": "came after the run, so in none of its splits",
}
