"""Whether the model does as well for everybody: figures of each sex, age band, view and more.

The more groups are compared, the larger the largest gap that chance alone makes. So the gap is
named with how often chance would show one as large, among as many comparisons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr.learning import metrics, resampling
from cxr.learning.evaluation import cells
from cxr.learning.evaluation.cells import FEW, Group
from cxr.learning.evaluation.sample import Sample
from cxr.learning.metrics import FEWEST_PATIENTS

MOST = 20
"""Values of a column beyond which it divides nothing: it rather names what it belongs to."""

RARELY = 0.05
"""By chance this rarely, a smaller gap is named beside the largest."""


@dataclass(frozen=True)
class _Pair:
    """Two groups of a column compared by one figure."""

    column: str
    groups: tuple[str, str]
    findings: tuple[str, ...]
    difference: float
    draws: NDArray[np.float64]
    coarse: bool  # a count behind it is withheld


def subgroups(
    sample: Sample,
    columns: Sequence[str],
    *,
    averaged: Sequence[str],
    thresholds: Mapping[str, Mapping[str, Any]],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Score each group of each column apart, and name the worst gaps.

    Args:
        sample: What is scored.
        columns: Names of columns of the sample; one it lacks is said.
        averaged: The headline's findings.
        thresholds: Label → what was chosen for it, as in run.json.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        `columns`: name → `said` (a sentence where nothing is divided, or None) and `groups`, as
        `cells.documents` gives them; `worst` by `auroc_macro` and by `sensitivity`: `column`,
        `better`, `worse`, `findings`, `difference`, `ci` (paired draws), `looks` (how many
        comparisons it is the largest of), `by_chance` (how often chance would show one at least
        as large among them) and `surest` (the same of the gap that chance explains least, where
        that is another one and rare), or None.
    """
    said: dict[str, Any] = {}
    areas: list[_Pair] = []
    found: list[_Pair] = []
    for name in columns:
        texts = sample.columns.get(name)
        merged = None if texts is None else cells.merged(texts, sample.patients)
        sentence = _undivided(name, texts, merged)
        said[name] = {"said": sentence, "groups": []}
        if sentence or merged is None:
            continue
        divided = cells.groups(sample, merged, averaged=averaged, draws=draws, seed=seed)
        said[name]["groups"] = cells.documents(sample, divided, thresholds=thresholds)
        shown = [
            (group, document)
            for group, document in zip(divided, said[name]["groups"], strict=True)
            if document["withheld"] != FEW
        ]
        areas += _by_auroc(sample, name, shown)
        found += _by_sensitivity(
            sample, name, shown, thresholds, averaged, draws=draws, seed=seed
        )  # fmt: skip
    return {
        "fewest_patients": FEWEST_PATIENTS,
        "columns": said,
        "worst": {"auroc_macro": _worst(areas), "sensitivity": _worst(found)},
    }


def _undivided(
    name: str, texts: NDArray[np.str_] | None, merged: NDArray[np.str_] | None
) -> str | None:
    """Say why a column divides nothing, or None where it does."""
    if texts is None or merged is None:
        return f"there is no column {name}"
    values = sorted(set(texts.tolist()))
    if values == [""]:
        return f"{name} is not known of any"
    if len(values) > MOST:
        return f"{name} has {len(values)} values, and at most {MOST} are scored apart"
    left = set(merged.tolist())
    if len(values) == 1 and left != {cells.OTHER}:
        return f"{name} is {values[0]} in all, so there is nothing to compare"
    if left == {cells.OTHER}:
        return f"{name} has no value that {FEWEST_PATIENTS} patients have"
    return None


def _by_auroc(
    sample: Sample, column: str, shown: Sequence[tuple[Group, Mapping[str, Any]]]
) -> list[_Pair]:
    pairs = []
    for (one, said_one), (other, said_other) in combinations(shown, 2):
        both = one.averaged & other.averaged  # other findings would be another average
        if not both.any() or not all(cells.certain(sample, g, both) for g in (one, other)):
            continue
        (a, drawn_a), (b, drawn_b) = one.macro(both), other.macro(both)
        names = tuple(n for n, k in zip(sample.names, both, strict=True) if k)
        coarse = cells.quiet(said_one, names) or cells.quiet(said_other, names)
        pairs.append(
            _Pair(column, (one.value, other.value), names, a - b, drawn_a - drawn_b, coarse)
        )
    return pairs


def _by_sensitivity(
    sample: Sample,
    column: str,
    shown: Sequence[tuple[Group, Mapping[str, Any]]],
    thresholds: Mapping[str, Mapping[str, Any]],
    averaged: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> list[_Pair]:
    """Compare groups whose sensitivity is shown; a gap would give away what is withheld."""
    asked: list[tuple[str, Group, bool]] = []
    hits, among = [], []
    for name in averaged:
        k = sample.names.index(name)
        present = sample.mask[:, k] & (sample.truth[:, k] == 1)
        for group, document in shown:
            if document["labels"][name]["sensitivity"] is not None:
                asked.append((name, group, cells.quiet(document, [name])))
                hits.append(sample.probabilities[:, k] > thresholds[name]["threshold"])
                among.append(present & group.rows)
    if not asked:
        return []
    called, rows = np.column_stack(hits).astype(np.float64), np.column_stack(among)
    drawn = resampling.means(called, rows, sample.patients, draws=draws, seed=seed)
    values = [float(called[rows[:, j], j].mean()) for j in range(len(asked))]
    return [
        _Pair(
            column, (asked[i][1].value, asked[j][1].value), (asked[i][0],),
            values[i] - values[j], drawn[:, i] - drawn[:, j], asked[i][2] or asked[j][2],
        )
        for i, j in combinations(range(len(asked)), 2)
        if asked[i][0] == asked[j][0]
    ]  # fmt: skip


def _worst(pairs: Sequence[_Pair]) -> dict[str, Any] | None:
    """Name the largest difference, and the surest one where that is another.

    The largest may be of two small groups and mean nothing, beside a smaller one that is certain.
    """
    if not pairs:
        return None
    largest = max(pairs, key=lambda pair: abs(pair.difference))
    surest = max(pairs, key=lambda pair: abs(pair.difference) / _spread(pair))
    said, other = _told(largest, pairs), _told(surest, pairs)
    surer = other["by_chance"] < said["by_chance"] and other["by_chance"] <= RARELY
    return {**said, "surest": other if surer else None}


def _told(pair: _Pair, pairs: Sequence[_Pair]) -> dict[str, Any]:
    """Tell a difference, and how often chance would make one as large among all of them.

    By chance: the draws are moved to where no two groups differ, every difference is measured
    in its own spread, so that small groups do not drown the others, and the largest of them all
    is counted where it reaches the one that was met (single-step maximum; Westfall and Young
    1993).
    """
    turn = 1 if pair.difference >= 0 else -1
    better, worse = pair.groups[::turn]
    moved = np.column_stack([one.draws - one.difference for one in pairs])
    moved = moved[~np.isnan(moved).all(axis=1)]
    spread = np.array([_spread(one) for one in pairs])
    met = abs(pair.difference) / _spread(pair)
    reached = int((np.nanmax(np.abs(moved) / spread, axis=1) >= met).sum())
    ends = metrics.interval(turn * pair.draws)
    return {
        "column": pair.column,
        "better": better,
        "worse": worse,
        "findings": list(pair.findings),
        "difference": cells.rounded(abs(pair.difference), pair.coarse, 3),
        "ci": ends and [cells.rounded(end, pair.coarse, 3) for end in ends],
        "looks": len(pairs),
        "by_chance": round(float((1 + reached) / (1 + len(moved))), 4),
    }


def _spread(pair: _Pair) -> float:
    known = pair.draws[~np.isnan(pair.draws)]
    # groups without a single wrong call vary in no draw
    return max(float(known.std()), 1e-9) if known.size else np.inf
