"""States become numbers in one place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract.labels import State
from cxr.errors import DataError
from cxr.learning.targets import Policy, to_targets

P, A, U, M, Q = (
    State.PRESENT,
    State.ABSENT,
    State.UNCERTAIN,
    State.NOT_MENTIONED,
    State.NOT_ASKED,
)


def test_default_policy_masks_uncertain_and_takes_silence_as_absent():
    targets, mask = to_targets([[P, A, U, M, Q]], Policy())

    assert targets.tolist() == [[1, 0, 0, 0, 0]]
    assert mask.tolist() == [[True, True, False, True, False]]
    assert targets.dtype == np.float32
    assert mask.dtype == np.bool_


@pytest.mark.parametrize(
    ("policy", "target", "kept"),
    [
        (Policy(uncertain="ones"), [1, 0], [True, True]),
        (Policy(uncertain="zeros"), [0, 0], [True, True]),
        (Policy(uncertain="ignore", not_mentioned="ignore"), [0, 0], [False, False]),
    ],
)
def test_policy_decides_about_uncertain_and_not_mentioned(policy, target, kept):
    targets, mask = to_targets([[U, M]], policy)

    assert targets.tolist() == [target]
    assert mask.tolist() == [kept]


@given(
    st.lists(st.lists(st.sampled_from(State), min_size=3, max_size=3), max_size=8),
    st.sampled_from(["ignore", "ones", "zeros"]),
    st.sampled_from(["ignore", "zeros"]),
)
def test_clear_answers_never_change_and_not_asked_is_always_masked(states, uncertain, silent):
    targets, mask = to_targets(states, Policy(uncertain, silent))

    assert len(targets) == len(mask) == len(states)
    for i, row in enumerate(states):
        for j, state in enumerate(row):
            if state in (P, A):
                assert mask[i, j]
                assert targets[i, j] == (state is P)
            if state is Q:
                assert not mask[i, j]
            if not mask[i, j]:
                assert targets[i, j] == 0


def test_rows_of_different_length_are_refused():
    with pytest.raises(DataError, match="row 1: expected 2 states, met 1"):
        to_targets([[P, A], [P]], Policy())
