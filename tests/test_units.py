"""Studies and patients are made of their images, whatever the order, and doubt has two sides."""

import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from cxr.learning import metrics, predictions
from cxr.learning.evaluation import doubt, units


def test_a_study_has_its_images_mean_and_any_finding_in_them():
    images = samples.made(
        np.array([[0.2, 0.4, 0.1], [0.6, 0.8, 0.3], [0.5, 0.5, 0.5]]),
        np.array([[0, 1, 0], [0, 0, 0], [0, 1, 1]]),
        np.array([[True, True, False], [True, False, False], [True, True, True]]),
        uncertain=np.array([[False, False, True], [False, True, False], [False] * 3]),
        patients=["000000000", "000000000", "000000001"],
        columns={
            "view": ["PA", "LL", ""], "age": ["60–79", "80–89", "0–17"], "sex": ["F", "F", "M"],
        },
        ages=[79, 82, np.nan],
    )  # fmt: skip

    studies = units.pool(images, ["b", "b", "a"], "study")

    assert studies.probabilities.tolist() == [[0.4, 0.6, 0.2], [0.5, 0.5, 0.5]]
    assert studies.truth.tolist() == [[0, 1, 0], [0, 1, 1]]
    assert studies.mask.tolist() == [[True, True, False], [True, True, True]]
    assert studies.uncertain.tolist() == [[False, False, True], [False, False, False]]
    assert studies.patients.tolist() == ["000000000", "000000001"]
    assert studies.columns["view"].tolist() == ["LL + PA", ""]
    assert studies.columns["sex"].tolist() == ["F", "M"]
    assert studies.columns["age"].tolist() == ["80–89", "0–17"]
    assert studies.ages[0] == 80.5
    assert np.isnan(studies.ages[1])
    assert studies.unit == "study"


@given(st.integers(0, 2**31))
def test_units_are_the_same_in_any_order_of_their_images(seed):
    rng = np.random.default_rng(seed)
    images = samples.drawn(seed, count=30, patients=12)
    order = rng.permutation(30)
    shuffled = samples.made(
        images.probabilities[order], images.truth[order], images.mask[order],
        patients=images.patients[order],
    )  # fmt: skip

    one = units.pool(images, images.patients, "patient")
    other = units.pool(shuffled, shuffled.patients, "patient")

    place = [other.patients.tolist().index(p) for p in one.patients]
    assert sorted(one.patients) == sorted(set(images.patients))
    np.testing.assert_allclose(one.probabilities, other.probabilities[place], rtol=1e-5)
    assert (one.truth == other.truth[place]).all()
    assert (one.mask == other.mask[place]).all()
    for k, patient in enumerate(one.patients):
        rows = images.patients == patient
        mean = predictions.rounded(images.probabilities[rows].mean(axis=0))
        np.testing.assert_allclose(one.probabilities[k], mean, rtol=1e-5)


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_uncertain_truths_are_scored_on_either_side(side):
    sample = samples.drawn(1)
    doubted = ~sample.mask & (np.arange(200) % 2 == 0)[:, None]
    sample = samples.made(
        sample.probabilities, sample.truth, sample.mask, uncertain=doubted, patients=sample.patients
    )

    taken = doubt.decided(sample, side)

    for k in range(3):
        keep = sample.mask[:, k] | doubted[:, k]
        y = np.where(doubted[:, k], side, sample.truth[:, k])[keep]
        p = sample.probabilities[keep, k]
        met = taken.probabilities[:, k], taken.truth[:, k], taken.mask[:, k]
        assert metrics.auroc(*met) == pytest.approx(sk.roc_auc_score(y, p))
        assert metrics.average_precision(*met) == pytest.approx(sk.average_precision_score(y, p))
