"""Weighing readers against crowd-kit, and against simulated jobs whose truth is known."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cxr.labeling import dawid_skene, votes
from cxr.labeling.votes import Votes

ABSENT, UNCERTAIN, PRESENT = range(3)
NO_PRIOR = np.zeros((3, 3))


def simulated(images, workers, *, prevalence=0.15, missing=0.3, hedging=0.1, seed=0):
    """Truth, votes, and each worker's sensitivity and specificity before hedging."""
    chance = np.random.default_rng(seed)
    true = np.where(chance.random(images) < prevalence, PRESENT, ABSENT)
    skill = np.stack([chance.uniform(0.55, 0.95, workers), chance.uniform(0.75, 0.99, workers)])
    right = chance.random((images, workers)) < np.where(true[:, None] == PRESENT, *skill)
    said = np.where(right, true[:, None], 2 - true[:, None])
    said[chance.random(said.shape) < hedging] = UNCERTAIN
    said[chance.random(said.shape) < missing] = votes.MISSING
    return true, said.astype(np.int8), skill


def by_majority(values):
    counts = np.stack([(values == c).sum(axis=1) for c in range(3)], axis=1)
    won = 2 * counts.max(axis=1) > counts.sum(axis=1)
    return np.where(won, counts.argmax(axis=1), UNCERTAIN)


def told(values):
    return Votes(
        ("Edema",), tuple(f"i{u}" for u in range(len(values))),
        tuple(f"w{w}" for w in range(values.shape[1])), values[None],
    )  # fmt: skip


# crowd-kit 1.4 calls pandas 3 in ways that pandas 4 will not know
@pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit")
@pytest.mark.parametrize("iterations", [1, 2, 5, 30])
@pytest.mark.parametrize(("workers", "missing"), [(3, 0.0), (5, 0.4), (12, 0.7)])
def test_without_a_prior_posterior_and_confusion_equal_crowd_kit(workers, missing, iterations):
    _, values, _ = simulated(300, workers, missing=missing, prevalence=0.3)
    rows = [
        {"task": u, "worker": w, "label": int(values[u, w])}
        for u, w in np.argwhere(values != votes.MISSING).tolist()
    ]
    theirs = DawidSkene(n_iter=iterations, tol=-np.inf).fit(pd.DataFrame(rows))

    posterior, prevalence, confusion, taken = dawid_skene.estimate(
        values, prior=NO_PRIOR, iterations=iterations, tolerance=0
    )

    assert taken == iterations
    answered = theirs.probas_.index.to_numpy()
    expected = theirs.probas_[[0, 1, 2]].to_numpy()
    np.testing.assert_allclose(posterior[answered], expected, atol=1e-6)
    np.testing.assert_allclose(prevalence, theirs.priors_[[0, 1, 2]], atol=1e-6)
    for (worker, label), row in theirs.errors_.iterrows():
        np.testing.assert_allclose(confusion[worker, :, label], row[[0, 1, 2]], atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("images", "workers", "prevalence"),
    [(400, 3, 0.15), (400, 5, 0.08), (3000, 5, 0.02), (3000, 8, 0.3)],
)
def test_it_errs_no_more_than_majority(images, workers, prevalence, seed):
    true, values, _ = simulated(images, workers, prevalence=prevalence, seed=seed)

    (fit,) = dawid_skene.fit(told(values))

    assert fit.fell_back is None
    there = (values != votes.MISSING).any(axis=1)
    mine = (fit.posterior.argmax(axis=1) != true)[there].mean()
    assert mine <= (by_majority(values) != true)[there].mean()


def test_it_finds_out_how_each_reader_errs():
    true, values, skill = simulated(20_000, 5, prevalence=0.3, hedging=0.0, missing=0.2)

    (fit,) = dawid_skene.fit(told(values))

    np.testing.assert_allclose(fit.confusion[:, PRESENT, PRESENT], skill[0], atol=0.03)
    np.testing.assert_allclose(fit.confusion[:, ABSENT, ABSENT], skill[1], atol=0.03)
    assert fit.prevalence[PRESENT] == pytest.approx((true == PRESENT).mean(), abs=0.02)


def test_of_what_it_calls_80_percent_likely_80_percent_are_there():
    true, values, _ = simulated(40_000, 5, prevalence=0.3, hedging=0.0, missing=0.3)

    (fit,) = dawid_skene.fit(told(values))

    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        within = np.abs(fit.posterior[:, PRESENT] - low) < 0.1
        said = fit.posterior[within, PRESENT].mean()
        assert (true[within] == PRESENT).mean() == pytest.approx(said, abs=0.05)


def test_two_readers_are_too_few():
    (fit,) = dawid_skene.fit(told(np.full((50, 2), PRESENT, np.int8)))

    assert fit.fell_back == "2 readers"
    assert np.isnan(fit.posterior).all()


def test_readers_who_share_no_image_cannot_be_weighed():
    values = np.full((60, 3), votes.MISSING, np.int8)
    values[np.arange(60), np.arange(60) % 3] = PRESENT

    (fit,) = dawid_skene.fit(told(values))

    assert fit.fell_back == "0 readers"


@pytest.mark.parametrize(("positives", "reason"), [(0, "0 positives"), (1, "1 positive"),
                                                   (9, "9 positives"), (10, None)])  # fmt: skip
def test_fewer_than_ten_positives_are_too_few(positives, reason):
    values = np.zeros((50, 3), np.int8)
    values[:positives] = PRESENT
    values[49] = (PRESENT, UNCERTAIN, ABSENT)  # no positive by majority

    (fit,) = dawid_skene.fit(told(values))

    assert fit.fell_back == reason


def test_an_image_nobody_answered_has_no_probability():
    _, values, _ = simulated(200, 5, prevalence=0.4)
    values[7] = votes.MISSING

    (fit,) = dawid_skene.fit(told(values))

    assert np.isnan(fit.posterior[7]).all()
    assert np.isfinite(np.delete(fit.posterior, 7, axis=0)[:, 0]).sum() > 150


many_votes = arrays.arrays(
    np.int8, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=st.integers(-1, 2)
)


@given(many_votes, st.randoms(use_true_random=False))
def test_posteriors_are_chances_whatever_the_order(values, random):
    images, workers = (random.sample(range(n), n) for n in values.shape)

    posterior, prevalence, confusion, _ = dawid_skene.estimate(values, iterations=20)
    other, *_ = dawid_skene.estimate(values[images][:, workers], iterations=20)

    there = (values != votes.MISSING).any(axis=1)
    assert np.isnan(posterior[~there]).all()
    np.testing.assert_allclose(posterior[there].sum(axis=1), 1)
    np.testing.assert_allclose(prevalence.sum(), 1)
    np.testing.assert_allclose(confusion.sum(axis=2), 1)
    np.testing.assert_allclose(other, posterior[images], atol=1e-9)


def test_what_was_estimated_of_readers_is_plain_json():
    _, values, _ = simulated(200, 4, prevalence=0.4)
    values[:, 3] = votes.MISSING
    few = Votes(("Edema", "Fracture"), told(values).objects, told(values).workers,
                np.stack([values, np.zeros_like(values)]))  # fmt: skip

    document = dawid_skene.to_document(few, dawid_skene.fit(few))

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["labels"]["Fracture"] == {"fell_back": "0 positives"}
    edema = document["labels"]["Edema"]
    assert list(edema["workers"]) == ["w0", "w1", "w2"]
    assert edema["workers"]["w0"]["answers"] == (values[:, 0] != votes.MISSING).sum()
    for worker in edema["workers"].values():
        assert np.sum(worker["confusion"], axis=1) == pytest.approx([1, 1, 1], abs=1e-3)


def test_ten_thousand_images_take_less_than_three_seconds():
    values = np.stack([simulated(10_000, 5, missing=0.4, seed=k)[1] for k in range(14)])
    every = Votes(
        tuple(map(str, range(14))), tuple(map(str, range(10_000))), tuple("abcde"), values
    )

    begun = time.process_time()
    fits = dawid_skene.fit(every)

    assert time.process_time() - begun < 3
    assert all(fit.iterations < dawid_skene.MOST_ITERATIONS for fit in fits)
