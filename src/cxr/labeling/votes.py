"""Everybody's answers as one array, for whatever counts them.

Only present, uncertain and absent are votes; a skip, and what was not asked, is a missing one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr.contract.labels import State

ORDER = (State.ABSENT, State.UNCERTAIN, State.PRESENT)
"""The ordinal scale: a vote is an index into it."""
MISSING = -1
Answers = Mapping[str, Mapping[str, Mapping[str, State]]]
"""Data object → worker → label → state."""


@dataclass(frozen=True)
class Votes:
    """The votes of one job.

    Attributes:
        labels: F of them, in the order asked for.
        objects: U data objects, in the order given.
        workers: W of them, sorted: who answered first must not change a result.
        values: (F, U, W), each `MISSING` or an index into `ORDER`.
    """

    labels: tuple[str, ...]
    objects: tuple[str, ...]
    workers: tuple[str, ...]
    values: NDArray[np.int8]


def gather(answers: Answers, names: Sequence[str]) -> Votes:
    """Lay answers out; labels that are not among `names` are passed over.

    >>> gather({"image": {"ann": {"Edema": State.PRESENT}}}, ["Edema"]).values.tolist()
    [[[2]]]
    """
    workers = sorted({worker for by_worker in answers.values() for worker in by_worker})
    place = {worker: w for w, worker in enumerate(workers)}
    code = {state: c for c, state in enumerate(ORDER)}
    values = np.full((len(answers), len(workers), len(names)), MISSING, np.int8)
    for u, by_worker in enumerate(answers.values()):
        for worker, states in by_worker.items():
            values[u, place[worker]] = [
                code.get(states.get(name, State.NOT_ASKED), MISSING) for name in names
            ]
    across = np.ascontiguousarray(values.transpose(2, 0, 1))
    return Votes(tuple(names), tuple(answers), tuple(workers), across)


def patterns(values: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.intp]]:
    """Give the different rows of votes, and which of them each data object has.

    Five readers can answer in no more than 1,024 ways, however many images there are.

    Args:
        values: (U, W) votes of one finding.

    Returns:
        (K, W) patterns in a fixed order, and (U,) the pattern of each object.
    """
    if not values.size:
        return values[:0], np.zeros(0, np.intp)
    rows = np.ascontiguousarray(values)
    packed = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    return rows[first], inverse.astype(np.intp).ravel()
