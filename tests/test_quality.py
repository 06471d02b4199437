"""Sensitivity, specificity and repeatability against scipy, sklearn and numbers known before."""

import json

import numpy as np
import pytest
from hypothesis import given as over
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from specimens import form, skip

from cxr.contract import consolidate, labels
from cxr.contract.labels import LabelSet, State
from cxr.labeling import quality
from cxr.labeling.results import Answer

STATES = {"p": State.PRESENT, "a": State.ABSENT, "u": State.UNCERTAIN, "-": State.NOT_ASKED}
NAMES = ("Edema", "Fracture")
ASKED = LabelSet("two", NAMES)


def states(letters):
    """One letter a finding; a dot is no answer."""
    said = zip(NAMES, letters, strict=True)
    return {name: STATES[letter] for name, letter in said if letter != "."}


def twice(*pairs):
    return [(states(one), states(other)) for one, other in (pair.split() for pair in pairs)]


@over(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counted):
    hits, of = counted
    expected = binomtest(hits, of).proportion_ci(0.95, method="wilson")

    assert quality.wilson(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_counted_says_nothing():
    assert quality.wilson(0, 0) == (0.0, 1.0)


def test_known_answers_give_sensitivity_and_specificity():
    pairs = twice("pp pa", "pa pa", "pa ap", "aa aa", "ap au")

    whole, _ = quality.against_known(pairs, NAMES)

    assert (whole.sensitivity.hits, whole.sensitivity.of) == (2, 5)
    assert (whole.specificity.hits, whole.specificity.of) == (4, 5)
    assert whole.sensitivity.value == 0.4
    assert whole.sensitivity.ci == quality.wilson(0.4 * 4, 4)  # something is present in four images
    assert whole.uncertain == 1


def test_an_interval_of_all_findings_covers_though_an_image_is_hard_in_all_of_them():
    chance = np.random.default_rng(0)
    names = [f"finding {k}" for k in range(13)]
    known = dict.fromkeys(names, State.PRESENT)
    trials, images, mean = 150, 30, 2 / 3
    covered = pooled = 0
    for _ in range(trials):
        skill = chance.beta(2, 1, size=images)  # of an image, the same for all of its findings
        right = chance.random((images, len(names))) < skill[:, None]
        said = [
            {n: State.PRESENT if ok else State.ABSENT for n, ok in zip(names, row, strict=True)}
            for row in right
        ]
        whole, _ = quality.against_known([(known, one) for one in said], names, draws=300)
        low, high = whole.sensitivity.ci
        covered += low <= mean <= high
        low, high = quality.wilson(int(right.sum()), right.size)
        pooled += low <= mean <= high

    assert covered / trials > 0.9
    assert pooled / trials < 0.75  # what counting each finding as one more image would give


def test_few_images_or_none_wrong_still_leave_an_interval():
    ten = quality.against_known(twice(*["pp pp"] * 10), NAMES)[0].sensitivity
    two = quality.against_known(twice("pp pa", "pp ap"), NAMES)[0].sensitivity

    assert (ten.value, ten.ci) == (1, quality.wilson(10, 10))
    assert (two.value, two.ci) == (0.5, quality.wilson(1, 2))


def test_an_uncertain_neither_finds_nor_clears():
    whole, _ = quality.against_known(twice("pa uu"), NAMES)

    assert (whole.sensitivity.value, whole.specificity.value, whole.uncertain) == (0, 0, 2)


def test_what_is_not_known_or_not_answered_is_passed_over():
    whole, _ = quality.against_known(twice("u- pp", "pp .p"), NAMES)

    assert (whole.sensitivity.of, whole.specificity.of, whole.uncertain) == (1, 0, 0)
    assert whole.specificity.value is None
    assert whole.specificity.ci is None


def test_a_finding_has_figures_of_its_own_from_five_on():
    few, enough = twice(*["pa pa"] * 4), twice(*["pa pa"] * 5)

    _, of_few = quality.against_known(few, NAMES)
    _, of_enough = quality.against_known(enough, NAMES)

    assert (of_few["Edema"].sensitivity.of, of_few["Edema"].sensitivity.value) == (4, None)
    assert of_enough["Edema"].sensitivity.value == 1
    assert of_enough["Edema"].specificity.value is None
    assert of_enough["Fracture"].specificity.value == 1


@over(st.lists(st.tuples(*[st.text("pau", min_size=2, max_size=2)] * 2), min_size=5, max_size=30))
def test_kappa_with_oneself_equals_sklearn(pairs):
    whole, each = quality.repeated(twice(*(" ".join(pair) for pair in pairs)), NAMES, draws=50)

    for found, columns in ((whole, (0, 1)), (each["Edema"], (0,)), (each["Fracture"], (1,))):
        one, other = ([pair[i][k] for pair in pairs for k in columns] for i in (0, 1))
        assert (found.images, found.answers) == (len(pairs), len(one))
        assert found.equal == pytest.approx(np.mean([a == b for a, b in zip(one, other)]))  # noqa: B905
        if len({*one, *other}) == 1:
            assert found.kappa is None
        else:
            assert found.kappa == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)


def test_the_interval_of_a_kappa_holds_it_and_is_the_same_again():
    chance = np.random.default_rng(0)
    first = np.where(chance.random((80, 2)) < 0.4, "p", "a")
    later = np.where(chance.random((80, 2)) < 0.15, "u", first)
    pairs = twice(*("".join(a) + " " + "".join(b) for a, b in zip(first, later, strict=True)))

    whole, _ = quality.repeated(pairs, NAMES)

    assert whole.kappa_ci[0] < whole.kappa < whole.kappa_ci[1]
    assert quality.repeated(pairs, NAMES)[0] == whole


def test_few_repeats_have_no_figures_by_finding():
    whole, each = quality.repeated(twice("pa pa", "ap aa", "pp pp"), NAMES)

    assert whole.equal == pytest.approx(5 / 6)
    assert (each["Edema"].images, each["Edema"].equal, each["Edema"].kappa) == (3, None, None)


def test_a_repeat_that_was_skipped_compares_nothing():
    whole, _ = quality.repeated(twice("pa ..", "ap .."), NAMES)

    assert (whole.images, whole.answers, whole.equal, whole.kappa) == (0, 0, None, None)


def line(letters, **changes):
    """A line of an output manifest."""
    names = LabelSet("known", ("EDEMA", "Fracture", "Nodule"))
    return {
        "source": "s", **labels.to_data_object(names),
        "known": consolidate.consolidate({"expert": form(letters, names)}, names),
        "known-metadata": {},
    } | changes  # fmt: skip


def given(letters):
    return Answer("ann", form(letters, ASKED) if letters else skip(), 0, 1)


def test_known_answers_are_paired_by_what_the_job_calls_its_findings():
    told = [("ann", line("pau"), given("up")), ("ann", line("aap"), given("")),
            ("bob", line("apa"), given("ap"))]  # fmt: skip

    found = quality.known_pairs(told, ASKED)

    assert found == {"ann": twice("pa up"), "bob": twice("ap ap")}


def test_a_known_image_without_a_label_is_left_out():
    bare = {"source": "s", **labels.to_data_object(ASKED)}

    assert quality.known_pairs([("ann", bare, given("pa"))], ASKED) == {}


def test_known_answers_that_were_only_collected_are_consolidated():
    whole = line("paa")
    key = consolidate.FROM_ALL
    told = [("ann", whole | {"known": {key: whole["known"][key]}}, given("pa"))]

    assert quality.known_pairs(told, ASKED) == {"ann": twice("pa pa")}


def test_first_and_later_answers_are_paired():
    told = [("ann", 3, given("pa"), given("pp")), ("ann", 4, given("pa"), given("")),
            ("bob", 3, given("aa"), given("aa"))]  # fmt: skip

    assert quality.repeat_pairs(told, ASKED) == {"ann": twice("pa pp"), "bob": twice("aa aa")}


def document(active_ms):
    return {"timing": {"activeMs": active_ms}}


def test_pace_is_of_active_time():
    found = quality.pace([document(10_000), document(20_000), document(60_000), {}])

    assert found == quality.Pace(4, 20.0, pytest.approx(120.0))


@pytest.mark.parametrize(
    "odd", [0, -5, True, None, "9", float("nan"), float("inf"), [1], {"timing": 3}]
)
def test_a_time_that_is_none_is_passed_over(odd):
    assert quality.pace([odd if isinstance(odd, dict) else document(odd)]) == quality.Pace(
        1, None, None
    )


def test_the_document_is_plain_json_by_worker():
    found = quality.to_document(
        NAMES,
        known={"ann": twice("pa pa")},
        repeats={"bob": twice("pa pa", "pp pp", "aa ap")},
        documents={"ann": [document(5000)], "eve": [{}]},
    )

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["workers"]) == ["ann", "bob", "eve"]
    ann, bob, eve = found["workers"].values()
    assert ann["honeypots"]["images"] == 1
    assert ann["honeypots"]["sensitivity"] == {
        "hits": 1, "of": 1, "value": 1.0, "ci": list(quality.wilson(1, 1)),
    }  # fmt: skip
    assert ann["repeats"] is None
    assert bob["repeats"]["answers"] == 6
    assert set(bob["repeats"]["labels"]) == set(NAMES)
    assert eve == {
        "pace": {"answered": 1, "median_active_s": None, "images_per_active_hour": None},
        "honeypots": None,
        "repeats": None,
    }
