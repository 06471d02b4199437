"""How far several workers' answers on the same images agree, finding by finding.

Krippendorff's alpha and Cohen's kappa correct for chance, which makes them low for a rare finding
even where readers hardly differ; so the agreement on present and on absent stands beside them. A
figure that cannot be had is None, alpha's with the reason. Only present, uncertain and absent
count as answers. Intervals are 95 % percentiles of a bootstrap over images: readers are taken as
given, so an interval says nothing of other readers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.contract.labels import State
from cxr.labeling import votes
from cxr.labeling.votes import ORDER, Answers

SCHEMA = "cxr-agreement/1"
DRAWS = 1000
SEED = 0
Interval = tuple[float, float]
_STATES = len(ORDER)
_APART = np.abs(np.subtract.outer(np.arange(_STATES), np.arange(_STATES)))
LINEAR = _APART / (_STATES - 1)
"""Disagreement of two states: absent against uncertain counts half of absent against present."""
PLAIN = (_APART > 0).astype(float)
"""Disagreement of two states: every difference counts the same."""


@dataclass(frozen=True)
class Pair:
    """How far two workers agree on one finding.

    Attributes:
        workers: Their IDs, sorted.
        objects: Data objects that both answered.
        kappa: Cohen's, unweighted, over present, uncertain and absent.
        kappa_ci: Its interval.
        weighted: Cohen's kappa, linearly weighted: an uncertain is half a disagreement.
        weighted_ci: Its interval.
    """

    workers: tuple[str, str]
    objects: int
    kappa: float | None
    kappa_ci: Interval | None
    weighted: float | None
    weighted_ci: Interval | None


@dataclass(frozen=True)
class Agreement:
    """How far workers agree on one finding.

    Attributes:
        label: The finding.
        objects: Data objects that at least two workers answered; only these can agree.
        answers: On those objects.
        workers: Who gave at least one of them.
        disagreements: Objects on which not all answers are the same.
        alpha: Krippendorff's, ordinal; 1 is perfect, 0 is chance, below is worse than chance.
        positive: Of the pairs in which one worker says present, the share in which the other
            does too.
        negative: The same for absent.
        reason: Why alpha is None.
        alpha_ci: Its interval.
        positive_ci: Its interval.
        negative_ci: Its interval.
        kappa: Mean of the pairs' unweighted kappas (Light's kappa), where they have one.
        kappa_ci: Its interval.
        weighted: The same of the linearly weighted ones.
        weighted_ci: Its interval.
        pairs: Every two workers who answered the same image, in order of their IDs.
    """

    label: str
    objects: int
    answers: int
    workers: int
    disagreements: int
    alpha: float | None
    positive: float | None
    negative: float | None
    reason: str | None
    alpha_ci: Interval | None = None
    positive_ci: Interval | None = None
    negative_ci: Interval | None = None
    kappa: float | None = None
    kappa_ci: Interval | None = None
    weighted: float | None = None
    weighted_ci: Interval | None = None
    pairs: tuple[Pair, ...] = ()


def agreement(
    answers: Answers, names: Sequence[str], *, draws: int = DRAWS, seed: int = SEED
) -> list[Agreement]:
    """Compare all workers' answers of a job.

    Args:
        answers: Data object → worker → label → state; who skipped, and what was not asked, is
            not there. States that are no answers are passed over.
        names: Labels, in the order of the result.
        draws: Bootstrap samples of images; 0 gives no intervals.
        seed: Of the bootstrap.
    """
    told = votes.gather(answers, names)
    drawn = resample(len(told.objects), draws, seed)
    return [_row(name, told.workers, told.values[k], drawn) for k, name in enumerate(told.labels)]


def resample(count: int, draws: int, seed: int) -> NDArray[np.uint8]:
    """Draw as many things as there are, with replacement, again and again.

    Returns:
        (count, draws) how often each one was drawn.
    """
    chance = np.random.default_rng(seed)
    drawn = np.zeros((count, draws), np.uint8)  # more than 255 times cannot be met
    for d in range(draws if count else 0):
        drawn[:, d] = np.bincount(chance.integers(count, size=count), minlength=count)
    return drawn


def interval(values: NDArray[np.float64]) -> Interval | None:
    """Give the 2.5th and 97.5th percentile of bootstrapped values.

    Returns:
        None where more than half of the samples have no value.
    """
    finite = values[np.isfinite(values)]
    if not finite.size or 2 * finite.size < values.size:
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def alpha(counts: NDArray[np.int64]) -> float | None:
    """Give Krippendorff's alpha on an ordinal scale.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): 1 minus observed over
    expected disagreement. The distance of two values grows with how many answers lie between
    them, so an uncertain that is rarely used stands near to both neighbours.

    Args:
        counts: (U, C) how many workers gave each value to each data object, values in order;
            objects with fewer than two answers are passed over.

    Returns:
        At most 1; None where no object has two answers, or all answers are the same.

    >>> alpha(np.array([[2, 0, 0], [0, 0, 2], [1, 0, 1]]))
    0.4444444444444444
    """
    return _value(_alphas(counts, np.ones((len(counts), 1))))


def kappa(table: NDArray[np.float64], disagreement: NDArray[np.float64] = PLAIN) -> float | None:
    """Give Cohen's kappa (1960; weighted: 1968) of two readers.

    Args:
        table: (C, C) how often the one gave the row's value where the other gave the column's.
        disagreement: (C, C) `PLAIN` or `LINEAR`.

    Returns:
        At most 1; None where there is no image, or both always gave the same one value.

    >>> round(kappa(np.array([[20, 0, 5], [0, 0, 0], [10, 0, 15]])), 2)
    0.4
    """
    return _value(kappas(np.asarray(table, float)[..., None], disagreement))


def kappas(tables: NDArray[np.float64], disagreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give Cohen's kappa of many tables (C, C, D) at once; NaN where there is none."""
    total = tables.sum(axis=(0, 1))
    observed = np.einsum("ab,abd->d", disagreement, tables) * total
    expected = np.einsum("ab,ad,bd->d", disagreement, tables.sum(axis=1), tables.sum(axis=0))
    return 1 - _share(observed, expected)


def to_document(rows: Sequence[Agreement], *, draws: int = DRAWS) -> dict[str, Any]:
    """Give what agreement.json holds."""
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "scale": [str(state) for state in ORDER],
        "intervals": f"95 % percentiles of {draws} bootstrap samples of images",
        "kappa": "Cohen's, over the three states; weighted: linearly; a finding's is the mean of "
        "its pairs'",
        "labels": {row.label: _plain(row) for row in rows},
    }


def _plain(row: Agreement) -> dict[str, Any]:
    def lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lists(inner) for key, inner in value.items() if key != "label"}
        return [lists(inner) for inner in value] if isinstance(value, tuple) else value

    document: dict[str, Any] = lists(asdict(row))
    return document


def _row(
    label: str, workers: Sequence[str], values: NDArray[np.int8], drawn: NDArray[np.uint8]
) -> Agreement:
    """Compare votes (U, W) on one finding; column 0 of every result is the job as it is."""
    ways, which = votes.patterns(values)
    weights = _weights(which, len(ways), drawn)
    counts = np.stack([(ways == c).sum(axis=1) for c in range(_STATES)], axis=1)
    given = counts.sum(axis=1)
    told, several = weights[:, 0], given > 1
    alphas = _alphas(counts, weights)
    reason = None
    if not several.any():
        reason = "no image has two answers"
    elif _value(alphas) is None:
        reason = "all answers are the same"
    positive = _specifics(counts, ORDER.index(State.PRESENT), weights)
    negative = _specifics(counts, ORDER.index(State.ABSENT), weights)
    pairs, plain, linear = _pairs(workers, ways, weights)
    return Agreement(
        label=label,
        objects=int(told[several].sum()),
        answers=int(told[several] @ given[several]),
        workers=int((ways[several] >= 0).any(axis=0).sum()),
        disagreements=int(told[several & (counts.max(axis=1) < given)].sum()),
        alpha=_value(alphas),
        positive=_value(positive),
        negative=_value(negative),
        reason=reason,
        alpha_ci=_interval(alphas),
        positive_ci=_interval(positive),
        negative_ci=_interval(negative),
        kappa=_value(plain),
        kappa_ci=_interval(plain),
        weighted=_value(linear),
        weighted_ci=_interval(linear),
        pairs=pairs,
    )


def _weights(which: NDArray[np.intp], count: int, drawn: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Say how often each of `count` patterns occurs: in the job, then in every sample of it."""
    weights = np.zeros((count, 1 + drawn.shape[1]))
    if count:
        order = np.argsort(which, kind="stable")
        starts = np.searchsorted(which[order], np.arange(count))
        weights[:, 0] = np.bincount(which, minlength=count)
        weights[:, 1:] = np.add.reduceat(drawn[order], starts, axis=0, dtype=np.float32)
    return weights


def _alphas(counts: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give alpha of counts (K, C) under each column of weights (K, D); NaN where there is none."""
    given = counts.sum(axis=1)
    kept = counts[given > 1].astype(float)
    weights = weights[given > 1]
    totals = kept.T @ weights
    middle = np.cumsum(totals, axis=0) - totals / 2
    # ordered pairs within an object; pairs of equal answers have no distance
    share = kept / np.maximum(given[given > 1] - 1, 1)[:, None]
    observed = np.zeros(weights.shape[1])
    expected = np.zeros(weights.shape[1])
    for a, b in combinations(range(counts.shape[1]), 2):
        distance = (middle[a] - middle[b]) ** 2
        observed += (kept[:, a] * share[:, b]) @ weights * distance
        expected += totals[a] * totals[b] * distance
    return 1 - _share((totals.sum(axis=0) - 1) * observed, expected)


def _specifics(
    counts: NDArray[np.int64], value: int, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    given, others = counts[:, value], counts.sum(axis=1) - 1
    return _share((given * (given - 1)) @ weights, (given * others) @ weights)


def _pairs(
    workers: Sequence[str], ways: NDArray[np.int8], weights: NDArray[np.float64]
) -> tuple[tuple[Pair, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Compare every two workers, and give the means of both kappas under each column."""
    pairs: list[Pair] = []
    sums = np.zeros((2, 2, weights.shape[1]))  # plain and linear: sum, and of how many
    for a, b in combinations(range(len(workers)), 2):
        both = np.flatnonzero((ways[:, a] >= 0) & (ways[:, b] >= 0))
        if not both.size:
            continue
        cell = ways[both, a].astype(np.intp) * _STATES + ways[both, b]
        tables = (np.eye(_STATES**2)[:, cell] @ weights[both]).reshape(_STATES, _STATES, -1)
        plain, linear = kappas(tables, PLAIN), kappas(tables, LINEAR)
        for k, values in enumerate((plain, linear)):
            sums[k] += np.nan_to_num(values), np.isfinite(values)
        objects = int(weights[both, 0].sum())
        pairs.append(
            Pair(
                (workers[a], workers[b]), objects,
                _value(plain), _interval(plain), _value(linear), _interval(linear),
            )
        )  # fmt: skip
    plain, linear = (_share(total, count) for total, count in sums)
    return tuple(pairs), plain, linear


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give part / whole, NaN where there is no whole."""
    share = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=share, where=np.asarray(whole) > 0)
    return share


def _value(values: NDArray[np.float64]) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def _interval(values: NDArray[np.float64]) -> Interval | None:
    return interval(values[1:]) if np.isfinite(values[0]) else None
