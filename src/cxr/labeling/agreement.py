"""How far several workers' answers on the same images agree, finding by finding.

Krippendorff's alpha corrects for chance, which makes it low for a rare finding even where
readers hardly differ; so the agreement on present and on absent stands beside it. A figure that
cannot be had is None, with the reason. Only present, uncertain and absent count as answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr import NOTE
from cxr.contract.labels import State

SCHEMA = "cxr-agreement/1"
ORDER = (State.ABSENT, State.UNCERTAIN, State.PRESENT)
"""The ordinal scale, and the order of columns C in every count."""


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


def agreement(
    answers: Mapping[str, Mapping[str, Mapping[str, State]]], names: Sequence[str]
) -> list[Agreement]:
    """Compare all workers' answers of a job.

    Args:
        answers: Data object → worker → label → state; who skipped, and what was not asked, is
            not there. States that are no answers are passed over.
        names: Labels, in the order of the result.
    """
    column = {state: c for c, state in enumerate(ORDER)}
    index = {name: k for k, name in enumerate(names)}
    counts = np.zeros((len(names), len(answers), len(ORDER)), np.int64)
    who: list[dict[str, set[int]]] = [{} for _ in names]
    for u, by_worker in enumerate(answers.values()):
        for worker, states in by_worker.items():
            for name, state in states.items():
                if name in index and state in column:
                    k = index[name]
                    counts[k, u, column[state]] += 1
                    who[k].setdefault(worker, set()).add(u)
    return [_row(name, counts[k], who[k]) for k, name in enumerate(names)]


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
    counts = counts[counts.sum(axis=1) > 1]
    totals = counts.sum(axis=0)
    n = int(totals.sum())
    middle = np.cumsum(totals) - totals / 2
    distance = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(totals, totals) * distance).sum())
    if expected == 0:
        return None
    # ordered pairs within an object; pairs of equal answers have no distance
    pairs = counts / np.maximum(counts.sum(axis=1, keepdims=True) - 1, 1)
    observed = float((counts.T @ pairs * distance).sum())
    return 1 - (n - 1) * observed / expected


def specific(counts: NDArray[np.int64], value: int) -> float | None:
    """Give the chance that one answer is `value`, where another on the same object is.

    With two readers and two values this is positive (or negative) agreement as of Cicchetti and
    Feinstein (1990); here for any number of readers, over pairs.

    Args:
        counts: (U, C) as for `alpha`.
        value: Which column.

    Returns:
        0 to 1; None where nobody gave that value on an object with two answers.
    """
    given, others = counts[:, value], counts.sum(axis=1) - 1
    possible = int((given * others).sum())
    return float((given * (given - 1)).sum() / possible) if possible > 0 else None


def to_document(rows: Sequence[Agreement]) -> dict[str, Any]:
    """Give what agreement.json holds."""
    return {
        "schema": SCHEMA,
        "note": NOTE,
        "scale": [str(state) for state in ORDER],
        "labels": {
            row.label: {key: value for key, value in asdict(row).items() if key != "label"}
            for row in rows
        },
    }


def _row(label: str, counts: NDArray[np.int64], who: Mapping[str, set[int]]) -> Agreement:
    given = counts.sum(axis=1)
    paired = counts[given > 1]
    comparable = set(np.flatnonzero(given > 1).tolist())
    value = alpha(paired)
    reason = None
    if not comparable:
        reason = "no image has two answers"
    elif value is None:
        reason = "all answers are the same"
    return Agreement(
        label=label,
        objects=len(comparable),
        answers=int(paired.sum()),
        workers=sum(not answered.isdisjoint(comparable) for answered in who.values()),
        disagreements=int((paired.max(axis=1) < paired.sum(axis=1)).sum()) if comparable else 0,
        alpha=value,
        positive=specific(paired, ORDER.index(State.PRESENT)),
        negative=specific(paired, ORDER.index(State.ABSENT)),
        reason=reason,
    )
