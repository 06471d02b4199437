"""From runs that held out every fold once to the tables of docs/accuracy.md.

    python scripts/accuracy.py nih 'plain=compare-plain-*' 'default=compare-resnet_small-*'

The job comes first, then recipes, each a name and a pattern of run names; the first recipe is what
the others are compared with. A run's seed decides its folds too, so recipes are paired by seed. A
figure is taken over all images at once, each scored by the run that held it out, and averaged over
the seeds that no recipe lacks a fold of; an interval is of draws of patients, a difference's too.
"""

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxr.contract.labels import State
from cxr.learning import examples, folds, metrics, predictions, predictor
from cxr.pacs.folder import FolderPacs

FIVE = ("Pneumonia", "Infiltration", "Atelectasis", "Edema", "Effusion")
DRAWS = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """The job's images: N of them, five findings."""

    uids: list[str]
    patients: list[str]
    targets: Floats  # (N, 5)
    views: NDArray[np.str_]  # (N)
    metadata: Floats  # (N, 3) AP, male, age


@dataclass(frozen=True)
class Recipe:
    """What its runs gave: seed → (N, 5) out of fold, and the seed's splits."""

    probabilities: Mapping[int, Floats]
    splits: Mapping[int, list[Mapping[str, str]]]


def read(root: Path, job: str) -> Images:
    """Read the job's labels and metadata, without pixels."""
    with FolderPacs(root / "pacs") as pacs:
        cohort = examples.read(root / f"jobs/{job}/manifests/output/output.manifest", pacs)
    at = [cohort.names.index(name) for name in FIVE]
    views = [i.view_position for i in cohort.instances]
    told = [[i.view_position == "AP", i.sex == "M", i.age_years or 0] for i in cohort.instances]
    return Images(
        [e.sop_instance_uid for e in cohort.examples],
        [e.patient_id for e in cohort.examples],
        np.array([[e.states[k] is State.PRESENT for k in at] for e in cohort.examples], float),
        np.array(views), np.array(told, float),
    )  # fmt: skip


def gather(root: Path, images: Images, pattern: str) -> Recipe:
    """Put each seed's test folds together; an image that none held out stays NaN."""
    found: dict[int, Floats] = {}
    splits: dict[int, list[Mapping[str, str]]] = {}
    for path in sorted((root / "runs").glob(f"{pattern}/predictions.csv")):
        seed = int(predictor.load_run(path.parent).settings["seed"])
        said = predictions.read(path)
        rows = [images.uids.index(uid) for uid in said.sop_instance_uids]
        held_out = found.setdefault(seed, np.full(images.targets.shape, np.nan))
        held_out[rows] = said.probabilities[:, [said.names.index(name) for name in FIVE]]
        splits.setdefault(seed, []).append(folds.load(path.parent / "split.csv"))
    return Recipe(found, splits)


def metadata_only(images: Images, like: Recipe, seeds: Collection[int]) -> Recipe:
    """Fit logistic regressions on view, sex and age, on the same folds.

    Each image counts by its rank within its fold: a fold rich in a finding leaves few with it to
    learn from, so that five intercepts, pooled as they are, would rank against the truth.
    """
    found = {seed: np.full(images.targets.shape, np.nan) for seed in seeds}
    for seed in seeds:
        for split in like.splits[seed]:
            role = np.array([split[uid] for uid in images.uids])
            train, test = role == "train", role == "test"
            for k in range(len(FIVE)):
                model = make_pipeline(StandardScaler(), LogisticRegression())
                model.fit(images.metadata[train], images.targets[train, k])
                logits = model.decision_function(images.metadata[test])
                found[seed][test, k] = rankdata(logits) / len(logits)
    return Recipe(found, {})


def areas(images: Images, tables: Collection[Floats], keep: NDArray[np.bool_]) -> Floats:
    """Give AUROC (1 + D, 5), averaged over seeds: as it is, then of D draws of patients."""
    mask = np.repeat(keep[:, None], len(FIVE), axis=1)
    every = []
    for table in tables:
        drawn = metrics.bootstrap(table, images.targets, mask, images.patients, draws=DRAWS, seed=0)
        plain = [np.nan if x is None else x for x in metrics.aurocs(table, images.targets, mask)]
        every.append(np.vstack([plain, drawn.auroc]))
    return np.asarray(np.mean(every, axis=0))


def figures(images: Images, tables: Collection[Floats]) -> dict[str, Floats]:
    """Give each line of the table, (1 + D)."""
    everyone = areas(images, tables, np.ones(len(images.uids), bool))
    ap, pa = (areas(images, tables, images.views == view).mean(axis=1) for view in ("AP", "PA"))
    ill = areas(images, tables, images.targets[:, 0] == 1)[:, 1:].mean(axis=1)
    means = {"five": everyone.mean(axis=1), "within view": (ap + pa) / 2, "AP": ap, "PA": pa}
    return means | {"four among Pneumonia": ill} | dict(zip(FIVE, everyone.T, strict=True))


def table(columns: Mapping[str, Mapping[str, Floats]], sign: str = "") -> str:
    """Draw a Markdown table, a figure a line and a recipe a column."""
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for key in next(iter(columns.values())):
        cells = []
        for values in (column[key] for column in columns.values()):
            low, high = metrics.interval(values[1:]) or (np.nan, np.nan)
            cells.append(f"{values[0]:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]")
        lines.append(f"| {key} | {' | '.join(cells).replace('0.', '.')} |")
    return "\n".join(lines) + "\n"


def main(job: str, *named: str) -> None:
    """Print every recipe's figures, and differences from the first."""
    root = Path(os.environ.get("CXR_ROOT", "var"))
    images = read(root, job)
    recipes = {x.split("=")[0]: gather(root, images, x.split("=")[1]) for x in named}
    kept = [r.probabilities.items() for r in recipes.values()]
    seeds = sorted(set.intersection(*({s for s, t in k if not np.isnan(t).any()} for k in kept)))
    if not seeds:
        sys.exit("expected runs of all folds of one seed in each recipe, met none")
    first = next(iter(recipes))
    recipes["metadata only"] = metadata_only(images, recipes[first], seeds)
    shown = {n: [r.probabilities[s] for s in seeds] for n, r in recipes.items()}
    columns = {name: figures(images, tables) for name, tables in shown.items()}
    others = {name: column for name, column in columns.items() if name != first}
    apart = {n: {k: v - columns[first][k] for k, v in c.items()} for n, c in others.items()}
    print(f"Seeds {seeds}\n\n{table(columns)}\nDifference from {first}:\n\n{table(apart, '+')}")
    for name, tables in shown.items():
        each = [metrics.macro(metrics.aurocs(t, images.targets)) for t in tables]
        print(f"{name}: five by seed {', '.join(f'{x:.3f}' for x in each if x)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
