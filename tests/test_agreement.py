"""Agreement against krippendorff, sklearn, and counting and resampling by hand."""

import json
from itertools import combinations, permutations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from cxr.contract.labels import State
from cxr.labeling import agreement

PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN
VALUE = {ABSENT: 0, UNCERTAIN: 1, PRESENT: 2}


def job(*images, label="Edema"):
    """Images as strings of answers, one letter a worker: p, u, a, or . for none."""
    states = {"p": PRESENT, "u": UNCERTAIN, "a": ABSENT}
    return {
        f"image-{i}": {
            f"worker-{w}": {label: states[letter]}
            for w, letter in enumerate(letters)
            if letter != "."
        }
        for i, letters in enumerate(images)
    }


def only(answers):
    (row,) = agreement.agreement(answers, ["Edema"])
    return row


def grid(answers):
    workers = sorted({w for by_worker in answers.values() for w in by_worker})
    return np.array(
        [
            [
                VALUE[by_worker[w]["Edema"]] if w in by_worker else np.nan
                for by_worker in answers.values()
            ]
            for w in workers
        ]
    )


def pairs_by_hand(answers, state):
    """Over ordered pairs of workers on an image: one says it, does the other?"""
    agreed = possible = 0.0
    for by_worker in answers.values():
        for one, other in permutations([said["Edema"] for said in by_worker.values()], 2):
            possible += one is state
            agreed += one is state and other is state
    return agreed / possible if possible else None


jobs = st.integers(2, 6).flatmap(
    lambda workers: st.lists(
        st.text("pua.", min_size=workers, max_size=workers), min_size=1, max_size=25
    )
)


@given(jobs)
def test_alpha_equals_the_krippendorff_package(images):
    answers = job(*images)

    row = only(answers)

    pairable = [list(by.values()) for by in answers.values() if len(by) > 1]
    values = {said["Edema"] for said_of in pairable for said in said_of}
    if len(values) < 2:
        assert row.alpha is None
        assert row.reason == (
            "all answers are the same" if pairable else "no image has two answers"
        )
        return
    expected = krippendorff.alpha(
        reliability_data=grid(answers), level_of_measurement="ordinal", value_domain=[0, 1, 2]
    )
    assert row.alpha == pytest.approx(expected, abs=1e-9)
    assert row.reason is None


@given(jobs)
def test_positive_and_negative_agreement_equal_counting_pairs(images):
    answers = job(*images)

    row = only(answers)

    assert row.positive == pytest.approx(pairs_by_hand(answers, PRESENT))
    assert row.negative == pytest.approx(pairs_by_hand(answers, ABSENT))


@given(jobs)
def test_kappa_of_every_pair_equals_sklearn(images):
    answers = job(*images)
    values = grid(answers)
    workers = sorted({w for by_worker in answers.values() for w in by_worker})

    row = agreement.agreement(answers, ["Edema"], draws=0)[0]

    found = {pair.workers: pair for pair in row.pairs}
    for (a, one), (b, other) in combinations(enumerate(workers), 2):
        both = np.isfinite(values[a]) & np.isfinite(values[b])
        assert ((one, other) in found) == both.any()
        if both.any():
            pair = found[one, other]
            said = values[a, both].astype(int), values[b, both].astype(int)
            assert pair.objects == both.sum()
            if len({*said[0], *said[1]}) == 1:
                assert (pair.kappa, pair.weighted) == (None, None)
                continue
            plain = cohen_kappa_score(*said, labels=[0, 1, 2])
            linear = cohen_kappa_score(*said, labels=[0, 1, 2], weights="linear")
            assert pair.kappa == pytest.approx(plain, abs=1e-9)
            assert pair.weighted == pytest.approx(linear, abs=1e-9)
    means = [[p.kappa for p in row.pairs], [p.weighted for p in row.pairs]]
    for mean, each in zip((row.kappa, row.weighted), means, strict=True):
        there = [value for value in each if value is not None]
        assert mean == (pytest.approx(np.mean(there)) if there else None)


def noisy(count, *, missing=0.3, seed=0):
    """Images that four workers read with errors."""
    chance = np.random.default_rng(seed)
    true = np.where(chance.random(count) < 0.3, "p", "a")
    letters = np.where(chance.random((count, 4)) < 0.25, "u", true[:, None])
    letters = np.where(chance.random((count, 4)) < 0.1, "p", letters)
    letters[chance.random((count, 4)) < missing] = "."
    return ["".join(row) for row in letters]


def test_intervals_equal_resampling_images_one_by_one():
    images = noisy(40)
    drawn = agreement.resample(len(images), 200, 5)

    (row,) = agreement.agreement(job(*images), ["Edema"], draws=200, seed=5)

    again = []
    for d in range(200):
        sample = [
            i for image, times in zip(images, drawn[:, d], strict=True) for i in [image] * times
        ]
        again.append(agreement.agreement(job(*sample), ["Edema"], draws=0)[0])
    for figure in ("alpha", "positive", "negative", "kappa", "weighted"):
        values = [getattr(one, figure) for one in again]
        expected = np.percentile([v for v in values if v is not None], (2.5, 97.5))
        assert getattr(row, figure + "_ci") == pytest.approx(expected, abs=1e-9)
    pair = row.pairs[0]
    kappas = [p.kappa for one in again for p in one.pairs if p.workers == pair.workers]
    expected = np.percentile([v for v in kappas if v is not None], (2.5, 97.5))
    assert pair.kappa_ci == pytest.approx(expected, abs=1e-9)


def test_every_image_is_drawn_as_often_as_chance_has_it():
    drawn = agreement.resample(50, 400, 0)

    assert (drawn.sum(axis=0) == 50).all()
    assert drawn.mean() == 1
    assert drawn.std() == pytest.approx(np.sqrt(1 - 1 / 50), abs=0.02)


def test_intervals_hold_the_figure_shrink_with_more_images_and_come_out_the_same_again():
    few, many = (only(job(*noisy(count))) for count in (60, 2000))

    for row in (few, many):
        for figure in ("alpha", "positive", "negative", "kappa", "weighted"):
            low, high = getattr(row, figure + "_ci")
            assert low < getattr(row, figure) < high
    assert np.ptp(many.alpha_ci) < np.ptp(few.alpha_ci) / 3
    assert only(job(*noisy(60))) == few


def test_95_of_100_intervals_hold_what_is_true():
    true = only(job(*noisy(40_000, seed=1))).kappa
    held = 0
    for seed in range(100):
        low, high = agreement.agreement(
            job(*noisy(150, seed=100 + seed)), ["Edema"], draws=300, seed=seed
        )[0].kappa_ci
        held += low <= true <= high

    assert held >= 88


@given(jobs, st.randoms())
def test_neither_the_order_of_workers_nor_of_images_matters(images, random):
    answers = job(*images)
    mixed = [
        (image, dict(random.sample(list(by.items()), len(by)))) for image, by in answers.items()
    ]
    random.shuffle(mixed)

    one = agreement.agreement(answers, ["Edema"], draws=0)
    other = agreement.agreement(dict(mixed), ["Edema"], draws=0)

    assert one == other


def test_perfect_agreement_is_one():
    row = only(job("pp", "aa", "uu"))

    assert (row.alpha, row.positive, row.negative, row.disagreements) == (1, 1, 1, 0)


def test_present_against_absent_is_worse_than_present_against_uncertain():
    far = only(job("pp", "aa", "uu", "pa"))
    near = only(job("pp", "aa", "uu", "pu"))

    assert far.alpha < near.alpha < 1


def test_rare_finding_has_low_alpha_beside_high_negative_agreement():
    row = only(job(*["aaa"] * 40, "paa"))

    assert row.alpha < 0.1
    assert row.negative > 0.98
    assert row.positive == 0


def test_one_reader_gives_no_alpha_but_a_reason():
    row = only(job("p", "a"))

    assert (row.objects, row.answers, row.workers) == (0, 0, 0)
    assert (row.alpha, row.positive, row.negative) == (None, None, None)
    assert row.reason == "no image has two answers"


def test_no_variation_gives_no_alpha_but_a_reason():
    row = only(job("aaa", "aa."))

    assert row.alpha is None
    assert row.reason == "all answers are the same"
    assert row.negative == 1
    assert row.positive is None


def test_empty_job_is_no_error():
    row = only({})

    assert row.alpha is None
    assert row.objects == 0


def test_image_read_once_counts_nowhere():
    row = only(job("pp.", "ap.", "..u"))

    assert (row.objects, row.answers, row.workers, row.disagreements) == (2, 4, 2, 1)


def test_states_that_are_no_answers_are_passed_over():
    answers = job("pp", "aa")
    answers["image-0"]["mined"] = {"Edema": State.NOT_MENTIONED, "Not in the set": PRESENT}
    answers["image-1"]["other"] = {"Edema": State.NOT_ASKED}

    row = only(answers)

    assert (row.answers, row.workers, row.alpha) == (4, 2, 1)


def test_each_finding_is_compared_by_itself_in_order():
    answers = {
        "image": {"w1": {"A": PRESENT, "B": ABSENT}, "w2": {"B": PRESENT}},
    }

    rows = agreement.agreement(answers, ["B", "A"])

    assert [(row.label, row.objects) for row in rows] == [("B", 1), ("A", 0)]


def test_document_is_plain_json():
    document = agreement.to_document([only(job("pa", "aa", "ap", "pp")), only({})])

    again = json.loads(json.dumps(document, allow_nan=False))

    assert again == document
    assert again["note"] == "Research use only. Not for clinical decisions."
    assert again["scale"] == ["absent", "uncertain", "present"]
