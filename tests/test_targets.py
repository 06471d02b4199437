"""States become numbers in one place, and no policy touches what is scored."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract.labels import LabelSet, State
from cxr.errors import ConfigError, DataError
from cxr.learning import targets
from cxr.learning.targets import Policy, to_targets, to_truth

P, A, U, M, Q = (
    State.PRESENT,
    State.ABSENT,
    State.UNCERTAIN,
    State.NOT_MENTIONED,
    State.NOT_ASKED,
)
FIVE = LabelSet("five", ("Edema", "Mass", "Nodule", "Hernia", "Fibrosis"))
CHEST = LabelSet(
    "chest", ("Edema", "Mass", "Support Devices", "No Finding"), "No Finding",
    ("Support Devices",), aliases={"Oedema": "Edema"},
)  # fmt: skip
POLICIES = st.builds(
    Policy,
    st.sampled_from(["ignore", "ones", "zeros", "soft"]),
    st.sampled_from([None, "ignore", "zeros"]),
    st.dictionaries(
        st.sampled_from(CHEST.names),
        st.fixed_dictionaries(
            {
                "uncertain": st.sampled_from([None, "ignore", "ones", "zeros", "soft"]),
                "not_mentioned": st.sampled_from([None, "ignore", "zeros"]),
            }
        ),
    ),
    smoothing=st.sampled_from([0.0, 0.1]),
)
ROWS = st.lists(st.lists(st.sampled_from(State), min_size=4, max_size=4), max_size=8)


def numbers(states, policy, label_set=CHEST, **said):
    keys = said.pop("keys", [f"picture {n}" for n in range(len(states))])
    made = to_targets(states, policy, label_set, keys=keys, **said)
    return made.values, made.weights


def test_default_policy_masks_uncertain_and_takes_silence_as_absent():
    values, weights = numbers([[P, A, U, M, Q]], Policy(), FIVE)

    assert values.tolist() == [[1, 0, 0, 0, 0]]
    assert weights.tolist() == [[1, 1, 0, 1, 0]]
    assert (values.dtype, weights.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("policy", "value", "weight"),
    [
        (Policy(uncertain="ones"), [1, 0], [1, 1]),
        (Policy(uncertain="zeros"), [0, 0], [1, 1]),
        (Policy(uncertain="ignore", not_mentioned="ignore"), [0, 0], [0, 0]),
    ],
)
def test_policy_decides_about_uncertain_and_not_mentioned(policy, value, weight):
    values, weights = numbers([[U, M]], policy, LabelSet("two", ("Edema", "Mass")))

    assert values.tolist() == [value]
    assert weights.tolist() == [weight]


def test_silence_means_what_the_label_set_says_unless_the_policy_does():
    unsaid = LabelSet("two", ("Edema", "Mass"), not_mentioned="ignore")

    assert numbers([[M, M]], Policy(), unsaid)[1].tolist() == [[0, 0]]
    assert numbers([[M, M]], Policy(not_mentioned="zeros"), unsaid)[1].tolist() == [[1, 1]]
    assert to_truth([[M, P]], Policy(), unsaid).mask.tolist() == [[False, True]]


def test_a_finding_may_differ_under_any_name_the_label_set_knows():
    policy = Policy(
        not_mentioned="ignore",
        per_finding={"oedema": {"uncertain": "ones"}, "mass": {"not_mentioned": "zeros"}},
    )

    values, weights = numbers([[U, U, M, A], [M, M, M, A]], policy)

    assert values.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert weights.tolist() == [[1, 0, 0, 1], [0, 1, 0, 1]]


def test_an_unknown_finding_is_refused_with_the_nearest():
    targets.check(Policy(per_finding={"Oedema": {"uncertain": "ones"}}), CHEST)

    with pytest.raises(
        ConfigError, match=r"targets.per_finding: no label 'Masss' in .*did you mean 'Mass'\?"
    ):
        targets.check(Policy(per_finding={"Masss": {"uncertain": "ones"}}), CHEST)


def test_a_finding_that_another_job_lacks_is_passed_over_when_a_run_is_scored_on_it():
    policy = Policy("ignore", per_finding={"Oedema": {"uncertain": "ones"}})

    assert numbers([[U] * 5], policy, FIVE)[1].tolist() == [[0] * 5]
    assert to_truth([[U] * 5], policy, FIVE).uncertain.all()


@pytest.mark.parametrize("silence", ["zeros", "ignore"])
def test_no_finding_makes_silence_about_findings_absent_but_not_about_devices(silence):
    policy = Policy(not_mentioned=silence)
    states = [[M, M, M, P], [M, U, Q, P], [M, M, M, A]]

    _, weights = numbers(states, policy)
    truth = to_truth(states, policy, CHEST)

    unsaid = int(silence == "zeros")
    expected = [[1, 1, unsaid, 1], [1, 0, 0, 1], [unsaid, unsaid, unsaid, 1]]
    assert weights.tolist() == expected
    assert truth.mask.tolist() == (np.array(expected) == 1).tolist()
    assert truth.values[:, :3].max() == 0


FAMILY = LabelSet(
    "family", ("Disease", "Edema", "Opacity", "No Finding", "Mass"), "No Finding",
    parents={"Disease": ("Opacity", "No Finding"), "Opacity": ("Edema", "Mass")},
)  # fmt: skip


def following(row, name):
    """What a finding is by a row alone: as labelled, else what is surest among those below it."""
    said = dict(zip(FAMILY.names, row, strict=True))
    if name == "No Finding":
        silent, others = said[name] is M, {k: v for k, v in said.items() if k != name}
        return A if silent and P in others.values() else said[name]
    if said[name] is not M:
        return said[name]
    children = [c for c in FAMILY.parents.get(name, ()) if c != "No Finding"]
    ahead = [said[c] for c in children]
    ahead += [following(row, c) for c in children] + [
        said[g] for c in children for g in FAMILY.parents.get(c, ())
    ]
    surest = next((state for state in (P, U) if state in ahead), M)
    return A if surest is M and said["No Finding"] is P else surest


@given(st.lists(st.lists(st.sampled_from(State), min_size=5, max_size=5), max_size=8))
def test_a_silent_parent_follows_what_lies_below_it_and_an_answer_stays(states):
    policy = Policy(not_mentioned="ignore")
    completed = [[following(row, name) for name in FAMILY.names] for row in states]

    truth = to_truth(states, policy, FAMILY)
    values, weights = numbers(states, policy, FAMILY)

    said = np.array([[str(s) for s in row] for row in completed]).reshape(-1, 5)
    assert (truth.values == (said == "present")).all()
    assert (truth.mask == np.isin(said, ["present", "absent"])).all()
    assert (truth.uncertain == (said == "uncertain")).all()
    assert (values == truth.values).all()
    assert (weights == truth.mask).all()


def test_parents_stay_as_labelled_where_that_is_asked_for():
    states, policy = [[M, P, M, M, A]], Policy(consistent=False)

    assert to_truth(states, Policy(), FAMILY).values.tolist() == [[1, 1, 1, 0, 0]]
    assert to_truth(states, policy, FAMILY).values.tolist() == [[0, 1, 0, 0, 0]]
    assert numbers(states, policy, FAMILY)[0].tolist() == [[0, 1, 0, 0, 0]]
    assert policy.told()["parents"] == "as labelled, and outputs are not made consistent"
    assert targets.parse({"consistent": False}) == policy


@given(ROWS, POLICIES)
def test_clear_answers_keep_their_side_and_not_asked_is_always_masked(states, policy):
    values, weights = numbers(states, policy)

    assert values.shape == weights.shape == (len(states), 4)
    for i, row in enumerate(states):
        for j, state in enumerate(row):
            if state in (P, A):
                assert weights[i, j] == 1
                assert values[i, j] == np.float32(
                    1 - policy.smoothing if state is P else policy.smoothing
                )
            if state is Q:
                assert weights[i, j] == 0
            if weights[i, j] == 0:
                assert values[i, j] == 0


@given(ROWS, POLICIES)
def test_no_policy_makes_truth_of_an_uncertain_answer(states, policy):
    truth = to_truth(states, policy, CHEST)

    said = np.array([[str(s) for s in row] for row in states]).reshape(-1, 4)
    assert (truth.uncertain == (said == "uncertain")).all()
    assert not (truth.mask & truth.uncertain).any()
    assert (truth.values == (said == "present")).all()
    assert (truth.mask >= np.isin(said, ["present", "absent"])).all()
    assert not (truth.mask & (said == "not_asked")).any()


def test_soft_draws_follow_from_seed_picture_and_finding_whatever_the_order():
    policy, keys = Policy("soft", soft=(0.6, 0.8), seed=7), [f"picture {n}" for n in range(500)]
    states = [[U, U, P, A]] * 500

    values, weights = numbers(states, policy, keys=keys)
    turned, _ = numbers(states, policy, keys=keys[::-1])
    other, _ = numbers(states, Policy("soft", soft=(0.6, 0.8), seed=8), keys=keys)

    drawn = values[:, :2]
    assert (weights == 1).all()
    assert (turned[::-1] == values).all()
    assert (other[:, :2] != drawn).all()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert drawn.min() >= np.float32(0.6)
    assert drawn.max() <= np.float32(0.8)
    # an even draw over a fifth: its mean, and a spread of width / sqrt(12)
    assert drawn.mean() == pytest.approx(0.7, abs=0.006)
    assert drawn.std() == pytest.approx(0.2 / 12**0.5, rel=0.05)


def test_consolidated_probabilities_are_targets_where_there_are_some():
    policy = Policy("ones", probabilities=True, smoothing=0.1)
    states = [[P, A, U, M], [P, A, U, A]]

    values, weights = numbers(states, policy, probabilities=[(0.75, 0.125, 0.3, None), ()])

    expected = [[0.75, 0.125, 0.9, 0.1], [0.9, 0.1, 0.9, 0.1]]
    assert values.tolist() == np.array(expected, np.float32).tolist()
    assert (weights == 1).all()
    unused, _ = numbers(states, Policy(), probabilities=[(0.75, 0.125, 0.3, None), ()])
    assert unused[0].tolist() == [1, 0, 0, 0]


def pairs_alike(present, absent, uncertain):
    said = ["present"] * present + ["absent"] * absent + ["uncertain"] * uncertain
    alike = [said[i] == said[j] for i in range(len(said)) for j in range(i)]
    return sum(alike) / len(alike)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(2, 5))
def test_agreement_is_the_share_of_pairs_of_readers_who_said_the_same(present, absent, uncertain):
    found, said = targets.agreement([[(present, absent, uncertain)]], [(0.9,)], 1)

    assert said
    assert found[0, 0] == pytest.approx(pairs_alike(present, absent, uncertain))


def test_agreement_is_of_two_draws_where_one_reader_answered_and_full_where_nobody_did():
    found, said = targets.agreement(
        [[(1, 0, 0), (0, 1, 0)], [], []], [(0.9, None), (0.5, None), ()], 2
    )

    assert found == pytest.approx(np.array([[0.82, 1], [0.5, 1], [1, 1]]))
    assert said
    assert not targets.agreement([[(1, 0, 0)], []], [(), ()], 1)[1]


def test_confidence_weighs_entries_and_full_disagreement_masks():
    agreement = np.array([[0.25, 0.0, 1, 0.5]])
    states = [[P, P, Q, A]]

    values, weights = numbers(states, Policy(confidence=True), agreement=agreement)

    assert weights.tolist() == [[0.25, 0, 0, 0.5]]
    assert values.tolist() == [[1, 0, 0, 0]]
    assert numbers(states, Policy(), agreement=agreement)[1].tolist() == [[1, 1, 0, 1]]


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.sampled_from([1.0, 1.5, 3.0]),
    st.integers(0, 99),
)
def test_a_patient_weighs_at_most_as_much_as_the_cap(patients, cap, seed):
    weights = np.random.default_rng(seed).random((len(patients), 2)).astype(np.float32)

    capped = targets.capped(np.ones_like(weights), patients, cap)
    scaled = targets.capped(weights, patients, cap)

    for patient in set(patients):
        rows = np.array(patients) == patient
        assert capped[rows].sum(axis=0) == pytest.approx(np.full(2, min(rows.sum(), cap)))
        assert scaled[rows] == pytest.approx(weights[rows] * min(1, cap / rows.sum()))
    assert targets.capped(weights, patients, None) is weights


@given(POLICIES)
def test_a_policy_comes_back_from_the_record_of_a_run(policy):
    assert targets.parse(json.loads(json.dumps(asdict(policy)))) == policy


def test_records_of_earlier_runs_are_read_and_odd_ones_refused():
    assert targets.parse({"uncertain": "ones", "not_mentioned": "zeros"}) == Policy("ones", "zeros")
    with pytest.raises(ConfigError, match=r"expected the keys of conf/targets.*'unsure'"):
        targets.parse({"unsure": "ones"})


def test_a_policy_is_told_to_people_with_what_differs():
    policy = Policy("ignore", None, {"Edema": {"uncertain": "soft", "not_mentioned": None}})

    assert policy.told() == {
        "uncertain": "ignore",
        "not_mentioned": "as the label set says",
        "uncertain of Edema": "soft",
        "soft": "0.55 to 0.85",
    }
    assert Policy("ones", "zeros", smoothing=0.1, probabilities=True, confidence=True).told() == {
        "uncertain": "ones",
        "not_mentioned": "zeros",
        "smoothing": "0.1",
        "targets": "consolidated probabilities",
        "weights": "how far readers agree",
    }


def test_rows_of_different_length_are_refused():
    with pytest.raises(DataError, match="row 1: expected 2 states, met 1"):
        numbers([[P, A], [P]], Policy(), LabelSet("two", ("Edema", "Mass")))
