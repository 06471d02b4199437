"""Whole patients are drawn, and alike for whatever is computed on them."""

import numpy as np
import pytest

from cxr.learning import metrics, resampling


def test_a_patient_comes_with_all_images_as_often_as_drawn():
    patients = ["b", "a", "b", "c"]

    drawn = np.concatenate(list(resampling.weights(patients, draws=300, seed=4)), axis=1)

    assert drawn.shape == (4, 300)
    assert (drawn[0] == drawn[2]).all()
    assert (drawn[[0, 1, 3]].sum(axis=0) == 3).all()
    assert drawn.mean() == pytest.approx(1, abs=0.1)


def test_draws_do_not_depend_on_the_order_of_rows():
    patients = np.array(["b", "a", "b", "c", "d"])
    order = np.array([3, 1, 0, 4, 2])

    drawn = next(resampling.weights(patients, draws=50, seed=1))
    again = next(resampling.weights(patients[order], draws=50, seed=1))

    assert (drawn[order] == again).all()


def test_means_are_numpys_of_the_repeated_rows_and_missing_where_nobody_was_drawn():
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 6, 9).astype(str)
    values, mask = rng.random((9, 2)), rng.random((9, 2)) < 0.8
    mask[:, 1] = patients == patients[0]

    got = resampling.means(values, mask, patients, draws=150, seed=2)

    drawn = np.concatenate(list(resampling.weights(patients, draws=150, seed=2)), axis=1)
    for d in range(150):
        times = drawn[:, d].astype(int)
        for k in range(2):
            rows = np.repeat(values[mask[:, k], k], times[mask[:, k]])
            assert np.isnan(got[d, k]) if not rows.size else got[d, k] == pytest.approx(rows.mean())
    assert np.isnan(got[:, 1]).any()


def test_the_bootstrap_of_areas_sees_the_same_draws():
    rng = np.random.default_rng(3)
    y = (rng.random((40, 1)) < 0.4).astype(float)
    p = rng.random((40, 1))
    patients = rng.integers(0, 25, 40).astype(str)

    areas = metrics.bootstrap(p, y, None, patients, draws=130, seed=9).auroc[:, 0]

    drawn = np.concatenate(list(resampling.weights(patients, draws=130, seed=9)), axis=1)
    for d in (0, 64, 129):
        rows = np.repeat(np.arange(40), drawn[:, d].astype(int))
        assert areas[d] == pytest.approx(metrics.auroc(p[rows, 0], y[rows, 0]))
