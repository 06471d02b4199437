"""Predictions stop contradicting each other, and are left alone where they never did."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr.contract.labels import LabelSet
from cxr.learning import consistency

DEEP = LabelSet(
    "deep", ("Edema", "No Finding", "Opacity", "Support Devices", "Mass", "Disease"),
    "No Finding", ("Support Devices",),
    # a grandparent before its child, and a child that is none
    {"Disease": ("Opacity", "No Finding"), "Opacity": ("Edema", "Mass")},
)  # fmt: skip
CIRCLE = LabelSet("circle", ("A", "B", "C"), parents={"A": ("B",), "B": ("C",), "C": ("A",)})
SETS = [
    DEEP, CIRCLE, LabelSet("none", ("A", "B")), LabelSet("alone", ("No Finding",), "No Finding"),
]  # fmt: skip


def predictions(width):
    shape = st.tuples(st.integers(0, 5), st.just(width))
    return st.one_of(
        *(
            hnp.arrays(kind, shape, elements=st.floats(0, 1, width=kind().itemsize * 8))
            for kind in (np.float32, np.float64)
        )
    )


@pytest.mark.parametrize("label_set", SETS, ids=lambda s: s.name)
@given(st.data())
def test_parents_lead_children_and_findings_leave_the_rest_to_no_finding(label_set, data):
    given_ = data.draw(predictions(len(label_set.names)))
    before = given_.copy()

    made = consistency.apply(given_, label_set)

    at = {name: made[:, k] for k, name in enumerate(label_set.names)}
    for parent, children in label_set.parents.items():
        for child in set(children) - {label_set.no_finding}:
            assert (at[parent] >= at[child]).all()
    if label_set.no_finding:
        for name in label_set.excluded:
            assert (at[label_set.no_finding] <= 1 - at[name]).all()
    assert ((made >= 0) & (made <= 1)).all()
    assert made.dtype == given_.dtype
    assert (given_ == before).all()
    assert (consistency.apply(made, label_set) == made).all()
    moved = {label_set.names[k] for k in np.flatnonzero((made != given_).any(axis=0))}
    assert moved <= {*label_set.parents, label_set.no_finding}


@given(st.data())
def test_rows_without_a_conflict_stay_as_they_are(data):
    given_ = data.draw(predictions(len(DEEP.names)))
    at = {name: given_[:, k] for k, name in enumerate(DEEP.names)}
    below = np.maximum(at["Edema"], at["Mass"])
    at["Opacity"][:] = np.maximum(at["Opacity"], below)
    at["Disease"][:] = np.maximum(at["Disease"], at["Opacity"])
    at["No Finding"][:] = np.minimum(at["No Finding"], 1 - at["Disease"])

    assert (consistency.apply(given_, DEEP) == given_).all()


def test_a_grandparent_is_raised_and_no_finding_lowered_by_it():
    made = consistency.apply(np.array([[0.75, 0.9, 0.1, 0.99, 0.2, 0.3]]), DEEP)

    assert made.tolist() == [[0.75, 0.25, 0.75, 0.99, 0.2, 0.75]]


def test_rules_are_columns():
    assert consistency.rules(DEEP) == consistency.Rules(
        ((5, (0, 2, 4)), (2, (0, 4))), 1, (0, 2, 4, 5)
    )
    assert consistency.rules(SETS[2]) == consistency.Rules((), None, ())
