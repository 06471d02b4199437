"""States of findings → targets and mask: the only place where a state becomes a number.

Masked is not absent: a masked entry takes no part in loss, thresholds or metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr.contract.labels import State
from cxr.errors import DataError


@dataclass(frozen=True)
class Policy:
    """What is made of states that are no clear answer.

    Attributes:
        uncertain: `ignore` masks, `ones` and `zeros` take a side.
        not_mentioned: `zeros` where a text's silence means absent, `ignore` where it means
            nothing.
    """

    uncertain: Literal["ignore", "ones", "zeros"] = "ignore"
    not_mentioned: Literal["zeros", "ignore"] = "zeros"


_MEANING: dict[str, tuple[float, bool]] = {
    "ones": (1.0, True),
    "zeros": (0.0, True),
    "ignore": (0.0, False),
}


def to_targets(
    states: Sequence[Sequence[State]], policy: Policy
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turn states into numbers; `not_asked` is masked under every policy.

    Args:
        states: N rows of L states, in label order.
        policy: What uncertain and not_mentioned become.

    Returns:
        Targets (N, L) of 0 and 1, and mask (N, L), True where there is a target; masked targets
        are 0.

    Raises:
        DataError: A row has another number of states than the first.

    >>> targets, mask = to_targets([[State.PRESENT, State.UNCERTAIN]], Policy())
    >>> targets.tolist(), mask.tolist()
    ([[1.0, 0.0]], [[True, False]])
    """
    meaning = {
        State.PRESENT: _MEANING["ones"],
        State.ABSENT: _MEANING["zeros"],
        State.UNCERTAIN: _MEANING[policy.uncertain],
        State.NOT_MENTIONED: _MEANING[policy.not_mentioned],
        State.NOT_ASKED: _MEANING["ignore"],
    }
    width = len(states[0]) if states else 0
    for number, row in enumerate(states):
        if len(row) != width:
            raise DataError(f"row {number}: expected {width} states, met {len(row)}")
    pairs = np.array([[meaning[s] for s in row] for row in states], dtype=np.float32)
    pairs = pairs.reshape(len(states), width, 2)
    return np.ascontiguousarray(pairs[..., 0]), pairs[..., 1] == 1
