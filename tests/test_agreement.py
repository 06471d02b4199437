"""Agreement against the krippendorff package and against counting pairs by hand."""

import json
from itertools import permutations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    document = agreement.to_document([only(job("pa", "aa")), only({})])

    again = json.loads(json.dumps(document, allow_nan=False))

    assert again == document
    assert again["note"] == "Research use only. Not for clinical decisions."
    assert again["scale"] == ["absent", "uncertain", "present"]
