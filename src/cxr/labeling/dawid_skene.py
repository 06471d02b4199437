"""How likely each finding is, given who said what: readers weighed by how they err.

Dawid and Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm": each reader has, per finding, a chance of saying absent, uncertain or present where
each of the three is true; these and the truth are estimated in turns, from the majority on. It
assumes that readers err independently: an image that misleads everybody misleads this too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.contract.labels import State
from cxr.labeling import votes
from cxr.labeling.votes import MISSING, ORDER, Votes

SCHEMA = "cxr-readers/1"
FEWEST_READERS = 3
FEWEST_POSITIVES = 10
PRIOR = np.array([[8.0, 1.0, 1.0], [2.0, 6.0, 2.0], [1.0, 1.0, 8.0]])
"""Answers every reader is taken to have given before (true state, said state): ten on each state,
mostly right, so that one who met a rare finding twice is taken neither for infallible nor for a
fool. Of priors worth 0 to 20 answers the one that erred least in simulated jobs of 200 to 10,000
images; without any, small jobs came out worse than by majority."""
MOST_ITERATIONS = 500
TOLERANCE = 1e-6
"""Change of a probability, below which the estimation ends."""
_PRESENT = ORDER.index(State.PRESENT)
_STATES = len(ORDER)
_EPSILON = 1e-10  # a chance of zero could never be unlearned


@dataclass(frozen=True)
class Fit:
    """What was estimated of one finding.

    Attributes:
        label: The finding.
        fell_back: Why nothing was estimated, such as `2 readers`; None where it was.
        posterior: (U, C) how likely each state is on each data object; NaN where nobody answered.
        prevalence: (C) how frequent each state is.
        confusion: (W, C, C) worker, true state, said state: how likely she is to say it.
        answers: (W) on this finding.
        iterations: Until nothing changed, or `MOST_ITERATIONS`.
    """

    label: str
    fell_back: str | None
    posterior: NDArray[np.float64]
    prevalence: NDArray[np.float64]
    confusion: NDArray[np.float64]
    answers: NDArray[np.int64]
    iterations: int


def fit(told: Votes) -> list[Fit]:
    """Estimate every finding of a job by itself.

    A finding with fewer than 3 readers who share images, or fewer than 10 positives by majority,
    has too little to weigh readers by, and is not estimated.
    """
    return [_fit(name, told.values[k]) for k, name in enumerate(told.labels)]


def estimate(
    values: NDArray[np.int8],
    *,
    prior: NDArray[np.float64] = PRIOR,
    iterations: int = MOST_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """Estimate truth and readers from votes on one finding.

    Args:
        values: (U, W) votes, -1 where there is none.
        prior: (C, C) Dirichlet pseudo-counts of true and said states, for every reader; zeros
            give the maximum likelihood.
        iterations: At most so many.
        tolerance: As `TOLERANCE`.

    Returns:
        Posterior (U, C), prevalence (C), confusion (W, C, C), and iterations taken.
    """
    ways, which = votes.patterns(values)
    workers = values.shape[1]
    # images answered the same way are one row, so time hardly depends on how many there are
    said = np.eye(_STATES + 1)[ways][:, :, :_STATES].reshape(len(ways), workers * _STATES)
    given = said.sum(axis=1, keepdims=True)
    often = np.bincount(which, minlength=len(ways))[:, None] * (given > 0)
    shares = said.reshape(len(ways), workers, _STATES).sum(axis=1)
    posterior = np.divide(shares, given, out=np.zeros_like(shares), where=given > 0)
    taken = 0
    while True:
        weighed = posterior * often
        prevalence = _normal(weighed.sum(axis=0) + (prior.any() / _STATES))
        counts = (weighed.T @ said).reshape(_STATES, workers, _STATES).transpose(1, 0, 2)
        confusion = _normal(counts + prior)
        if taken == iterations:
            break
        taken += 1
        logs = np.log(confusion).transpose(0, 2, 1).reshape(workers * _STATES, _STATES)
        likelihood = np.log(prevalence) + said @ logs
        before = posterior
        posterior = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        if np.abs(posterior - before)[often[:, 0] > 0].max(initial=0) < tolerance:
            break
    posterior[often[:, 0] == 0] = np.nan
    return posterior[which], prevalence, confusion, taken


def to_document(told: Votes, fits: Sequence[Fit]) -> dict[str, Any]:
    """Give what readers.json holds: how each worker is thought to err, finding by finding."""
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "scale": [str(state) for state in ORDER],
        "confusion": "rows: what is thought true; columns: what was said; each row sums to 1",
        "labels": {one.label: _plain(told, one) for one in fits},
    }


def _plain(told: Votes, one: Fit) -> Mapping[str, Any]:
    if one.fell_back:
        return {"fell_back": one.fell_back}
    return {
        "fell_back": None,
        "iterations": one.iterations,
        "prevalence": [round(share, 6) for share in one.prevalence.tolist()],
        "workers": {
            worker: {
                "answers": int(one.answers[w]),
                "confusion": np.round(one.confusion[w], 4).tolist(),
            }
            for w, worker in enumerate(told.workers)
            if one.answers[w]
        },
    }


def _fit(label: str, values: NDArray[np.int8]) -> Fit:
    answers = (values != MISSING).sum(axis=0)
    reason = _too_little(values)
    if reason is None:
        return Fit(label, None, *_by_worker(values, answers))
    nothing = np.zeros((values.shape[1], _STATES, _STATES))
    posterior = np.full((len(values), _STATES), np.nan)
    return Fit(label, reason, posterior, np.zeros(_STATES), nothing, answers, 0)


def _by_worker(
    values: NDArray[np.int8], answers: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], int]:
    posterior, prevalence, confusion, taken = estimate(values)
    return posterior, prevalence, confusion, answers, taken


def _too_little(values: NDArray[np.int8]) -> str | None:
    there = values != MISSING
    shared = there.sum(axis=1) > 1
    readers = int(there[shared].any(axis=0).sum())
    if readers < FEWEST_READERS:
        return f"{readers} readers" if readers != 1 else "1 reader"
    positives = int((2 * (values == _PRESENT).sum(axis=1) > there.sum(axis=1)).sum())
    if positives < FEWEST_POSITIVES:
        return f"{positives} positives" if positives != 1 else "1 positive"
    return None


def _normal(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the last axis sum to 1."""
    kept = np.maximum(counts, _EPSILON)
    return np.asarray(kept / kept.sum(axis=-1, keepdims=True))
