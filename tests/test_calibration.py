"""Calibration against scikit-learn and scipy: what is fitted, and how it is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from statsmodels import api as statsmodels
from test_evaluation import evaluated, material
from test_fit import NET
from test_predictor import FULL

from cxr.learning import points, resampling
from cxr.learning.evaluation import calibration
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor


def overconfident(seed=0, n=400, factor=3.0, shift=1.0):
    rng = np.random.default_rng(seed)
    honest = rng.normal(-1, 1.5, n)
    present = rng.random(n) < 1 / (1 + np.exp(-honest))
    return factor * honest + shift, present


def platts(present):
    count = present.sum()
    return np.where(present, (count + 1) / (count + 2), 1 / (present.size - count + 2))


@pytest.mark.parametrize("shift", [True, False])
def test_what_is_fitted_is_scikit_learns_logistic_regression(shift):
    z, present = overconfident()
    wanted = platts(present)

    slope, intercept = calibration.optimum(z, present, shift=shift)

    model = LogisticRegression(C=np.inf, fit_intercept=shift, tol=1e-10, max_iter=1000)
    model.fit(
        np.concatenate([z, z])[:, None],
        np.repeat([1, 0], z.size),
        sample_weight=np.concatenate([wanted, 1 - wanted]),
    )
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-5)
    assert intercept == pytest.approx(model.intercept_[0] if shift else 0, rel=1e-4)


def test_what_is_fitted_is_statsmodels_binomial_model():
    z, present = overconfident(1)

    slope, intercept = calibration.optimum(z, present, shift=True)

    model = statsmodels.GLM(
        platts(present), statsmodels.add_constant(z), family=statsmodels.families.Binomial()
    )
    assert (intercept, slope) == pytest.approx(tuple(model.fit(tol=1e-12).params))


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.1, 30), st.floats(-5, 5))
def test_the_temperature_is_scipys_optimum(seed, factor, shift):
    z, present = overconfident(seed, 120, factor, shift)
    wanted = platts(present)

    slope, _ = calibration.optimum(z, present, shift=False)

    def loss(s):
        return (np.logaddexp(0, s * z) - wanted * s * z).sum()

    found = optimize.minimize_scalar(loss, bracket=(slope - 1, slope + 1))
    assert loss(slope) <= found.fun + 1e-8 * abs(found.fun)


def test_classes_that_val_separates_leave_the_slope_finite():
    present = np.arange(60) < 25

    slope, intercept = calibration.optimum(np.where(present, 4.0, -4.0), present, shift=True)

    assert np.isfinite([slope, intercept]).all()
    assert 1 / (1 + np.exp(-(4 * slope + intercept))) == pytest.approx(26 / 27)


def test_a_constant_logit_is_moved_to_the_prevalence():
    present = np.arange(200) < 60

    slope, intercept = calibration.optimum(np.full(200, 2.0), present, shift=True)

    assert 1 / (1 + np.exp(-(2 * slope + intercept))) == pytest.approx(0.3, abs=0.005)


def test_labels_with_few_of_a_class_stay_as_they_are_and_say_so():
    z, present = overconfident()
    few = np.zeros(400, bool)
    few[:19] = True
    masked = np.ones((400, 4), bool)
    masked[:, 3] = False
    masked[np.flatnonzero(present)[:19], 3] = True

    fitted = calibration.fit(
        np.stack([z, z, -z, z], axis=1),
        np.stack([present, few, present, present], axis=1).astype(float),
        masked, ("sure", "few", "backwards", "masked"), "temperature",
    )  # fmt: skip

    assert fitted["sure"]["method"] == "temperature"
    assert fitted["sure"]["slope"] == pytest.approx(1 / 3, rel=0.35)
    assert fitted["sure"]["intercept"] == 0
    assert fitted["few"]["reason"] == "19 positives on val, 20 needed"
    assert fitted["few"]["split"] == "val"
    assert fitted["backwards"]["reason"] == "no better than chance on val"
    assert fitted["masked"]["reason"] == "19 positives on val, 20 needed"
    for name in ("few", "backwards", "masked"):
        unchanged = fitted[name]
        assert (unchanged["method"], unchanged["slope"], unchanged["intercept"]) == ("none", 1, 0)
    json.dumps(fitted, allow_nan=False)
    assert calibration.fit(z[:, None], present[:, None], masked[:, :1], ("a",), "none") == {}


def test_the_report_says_whose_ranking_calibration_can_change(tmp_path):
    fitted = {
        name: one | {"split": "out-of-fold", "reason": None}
        for name, one in FULL.calibration.items()
    }
    record = replace(FULL, tta=(), calibration=fitted)
    literal = replace(record, policy={"consistent": False})
    net = build_net(NET, 3)

    made, pages = [], []
    for one in (record, literal, replace(record, calibration={})):
        done = evaluated(tmp_path, Predictor(one, net, "cpu"), material(20), pictures=False)
        made.append(done.scored["calibration"])
        pages.append(done.report.read_text())
    said, bare, plain = made

    assert said["reranked"] == ["Top", "No Finding"]
    assert bare["reranked"] == plain["reranked"] == []
    assert "as it is, but for Top and No Finding" in " ".join(pages[0].split())
    assert "ranking as it is.</p>" in pages[1]


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([5, 60, 137, 1000]), st.sampled_from([0, 7]))
def test_bins_and_scores_equal_scikit_learns(seed, n, levels):
    rng = np.random.default_rng(seed)
    p = rng.random(n) ** 3
    p = np.round(p * levels) / levels if levels else p
    truth = (rng.random(n) < p).astype(float)
    patients = [f"{k:09d}" for k in rng.integers(0, n, n)]
    sample = samples.made(p[:, None], truth[:, None], patients=patients)
    p = sample.probabilities[:, 0]

    said = calibration.describe(sample, draws=20, seed=1)["finding 0"]

    count = max(1, min(calibration.MOST_BINS, n // calibration.IN_A_BIN))
    observed, predicted = calibration_curve(truth, p, n_bins=count, strategy="quantile")
    bins = said["bins"]
    assert [b["observed"] for b in bins] == pytest.approx(observed.tolist())
    assert [b["predicted"] for b in bins] == pytest.approx(predicted.tolist())
    assert (sum(b["n"] for b in bins), sum(b["positives"] for b in bins)) == (n, truth.sum())
    shares = np.array([b["n"] for b in bins]) / n
    assert said["ece"] == pytest.approx((shares * np.abs(observed - predicted)).sum())
    assert said["brier"] == pytest.approx(brier_score_loss(truth, p, labels=[0, 1]))
    for b in bins:
        rows = (p >= b["low"]) & (p <= b["high"])
        assert rows.sum() == b["n"]
        if b["observed_ci"] is None:
            assert len({patients[k] for k in np.flatnonzero(rows)}) < 10
        else:
            hits, whose = truth[rows] == 1, np.array(patients)[rows]
            assert b["observed_ci"] == list(points.proportion_interval(hits, whose))


def test_the_briers_interval_is_that_of_patients_drawn_again():
    sample = samples.drawn(3)
    said = calibration.describe(sample, draws=60, seed=5)

    chunks = list(resampling.weights(sample.patients, draws=60, seed=5))
    for k, name in enumerate(sample.names):
        keep = sample.mask[:, k]
        scores = [
            brier_score_loss(sample.truth[keep, k], sample.probabilities[keep, k], sample_weight=w)
            for chunk in chunks
            for w in chunk[keep].T
        ]
        expected = np.quantile(scores, [0.025, 0.975]).tolist()
        assert said[name]["brier_ci"] == pytest.approx(expected)


def test_few_patients_have_no_interval_and_nobody_has_no_answer():
    rng = np.random.default_rng(0)
    truth = np.zeros((50, 2))
    truth[:5] = 1
    mask = np.ones((50, 2), bool)
    mask[:, 1] = False
    sample = samples.made(rng.random((50, 2)), truth, mask)

    said = calibration.describe(sample, draws=20, seed=0)

    assert said["finding 0"]["brier_ci"] is None
    assert said["finding 0"]["brier"] > 0
    assert said["finding 1"] is None
