"""Every figure against scikit-learn or scipy, ties and masks included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from statsmodels import api as statsmodels

from cxr.learning import metrics, points


def drawn(seed, n=300, levels=0, prevalence=0.2):
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < prevalence).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=n) + targets)))
    if levels:
        probabilities = np.round(probabilities * levels) / levels
    return probabilities, targets, rng.random(n) < 0.8


@st.composite
def label(draw):
    n = draw(st.integers(2, 40))
    few = st.integers(0, 4).map(lambda k: k / 4)
    any_probability = st.floats(0, 1, width=32)
    values = draw(st.sampled_from([few, any_probability]))
    probabilities = np.array(draw(st.lists(values, min_size=n, max_size=n)))
    targets = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return probabilities, targets, mask


@given(label())
def test_areas_equal_scikit_learn_with_ties_and_masks(case):
    probabilities, targets, mask = case

    area = metrics.auroc(probabilities, targets, mask)
    ap = metrics.average_precision(probabilities, targets, mask)

    if len(set(targets[mask])) < 2:
        assert area is None
        assert ap is None
    else:
        assert area == pytest.approx(sk.roc_auc_score(targets[mask], probabilities[mask]))
        assert ap == pytest.approx(sk.average_precision_score(targets[mask], probabilities[mask]))


@given(label(), st.integers(0, 2**32 - 1))
def test_weighted_areas_equal_scikit_learn_with_sample_weight(case, seed):
    probabilities, targets, _ = case
    weights = np.random.default_rng(seed).integers(0, 4, (targets.size, 3)).astype(np.float32)
    y = targets == 1
    if y.all() or not y.any():
        return

    area, ap = metrics._areas(metrics._rank(probabilities, y), weights)

    for k, w in enumerate(weights.T):
        if not w[y].any() or not w[~y].any():
            assert np.isnan(area[k])
            assert np.isnan(ap[k])
            continue
        assert area[k] == pytest.approx(sk.roc_auc_score(targets, probabilities, sample_weight=w))
        expected = sk.average_precision_score(targets, probabilities, sample_weight=w)
        assert ap[k] == pytest.approx(expected)


@given(label())
def test_curve_equals_scikit_learn(case):
    probabilities, targets, mask = case

    curve = points.roc_curve(probabilities, targets, mask)

    if len(set(targets[mask])) < 2:
        assert curve is None
        return
    fpr, tpr, thresholds = sk.roc_curve(targets[mask], probabilities[mask], drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr)
    np.testing.assert_allclose(curve.sensitivity, tpr)
    np.testing.assert_allclose(curve.thresholds, thresholds)


@given(label())
def test_youden_threshold_reaches_the_best_point_of_the_curve(case):
    probabilities, targets, mask = case

    threshold = points.youden_threshold(probabilities, targets, mask)

    curve = points.roc_curve(probabilities, targets, mask)
    best = 0.0 if curve is None else (curve.sensitivity - curve.false_positive_rate).max()
    if threshold is None:
        assert best <= 1e-12
        return
    found, spared = points.sensitivity_specificity(
        probabilities, targets, mask, threshold=threshold
    )
    assert found + spared - 1 == pytest.approx(best)
    assert threshold < probabilities[mask].max()
    called = probabilities[mask] > threshold
    assert found == pytest.approx(sk.recall_score(targets[mask], called))
    assert spared == pytest.approx(sk.recall_score(1 - targets[mask], ~called))


def test_among_equal_thresholds_the_lowest_is_chosen():
    probabilities = np.array([0.1, 0.2, 0.3, 0.4])
    targets = np.array([0.0, 1, 0, 1])

    threshold = points.youden_threshold(probabilities, targets)

    assert threshold == pytest.approx(0.15)


def test_threshold_between_neighbouring_floats_still_separates_them():
    low = 0.1
    high = np.nextafter(low, 1)

    threshold = points.youden_threshold(np.array([low, high]), np.array([0.0, 1]))

    assert low <= threshold < high


def test_useless_probabilities_get_no_threshold():
    assert points.youden_threshold(np.full(4, 0.5), np.array([0.0, 1, 0, 1])) is None
    assert points.youden_threshold(np.array([0.9, 0.1]), np.array([0.0, 1])) is None


def test_too_few_of_either_class_is_none():
    probabilities, targets = np.array([0.1, 0.2, 0.9]), np.array([0.0, 0, 1])

    assert metrics.auroc(probabilities, targets) == 1
    assert metrics.auroc(probabilities, targets, minimum=2) is None
    assert metrics.average_precision(probabilities, 1 - targets, minimum=2) is None
    assert metrics.auroc(probabilities, np.zeros(3)) is None


def test_masked_targets_may_be_anything():
    probabilities = np.array([0.1, 0.9, np.nan, 0.5])
    targets = np.array([0.0, 1, np.nan, 0.5])
    mask = np.array([True, True, False, False])

    assert metrics.auroc(probabilities, targets, mask) == 1


@pytest.mark.parametrize(
    ("probabilities", "targets", "mask", "message"),
    [
        ([0.1, np.nan], [0.0, 1.0], None, "met NaN"),
        ([0.1, 0.2], [0.0, 0.5], None, "targets of 0 and 1"),
        ([0.1, 0.2], [0.0, 1.0, 1.0], None, r"\(2,\) and \(3,\)"),
        ([0.1, 0.2], [0.0, 1.0], [1.0, 1.0], "bool mask"),
    ],
)
def test_nonsense_is_refused(probabilities, targets, mask, message):
    mask = None if mask is None else np.array(mask)

    with pytest.raises(ValueError, match=message):
        metrics.auroc(np.array(probabilities), np.array(targets), mask)


def test_macro_leaves_out_what_is_missing():
    assert metrics.macro([0.6, None, 0.8]) == pytest.approx(0.7)
    assert metrics.macro([None]) is None


def test_every_label_has_its_own_area():
    a, b = drawn(1), drawn(2, prevalence=0)

    areas = metrics.aurocs(*(np.stack(pair, axis=1) for pair in zip(a, b, strict=True)))

    assert areas == [metrics.auroc(*a), None]


def brute_force(probabilities, targets, mask, patients, draws, seed):
    """The same draws, resampled by copying rows, scored by scikit-learn."""
    rng, names = np.random.default_rng(seed), sorted(set(patients))
    rows = [np.flatnonzero(patients == name) for name in names]
    drawn = np.concatenate(
        [
            rng.integers(len(names), size=(min(128, draws - first), len(names)))
            for first in range(0, draws, 128)
        ]
    )
    values = []
    for patients_drawn in drawn:
        picked = np.concatenate([rows[k] for k in patients_drawn])
        picked = picked[mask[picked]]
        y, p = targets[picked], probabilities[picked]
        mixed = 0 < y.sum() < y.size
        values.append(
            (sk.roc_auc_score(y, p), sk.average_precision_score(y, p)) if mixed else (np.nan,) * 2
        )
    return np.array(values)


@pytest.mark.parametrize(("levels", "prevalence"), [(0, 0.2), (8, 0.2), (0, 0.03)])
def test_bootstrap_equals_resampling_patients_by_hand(levels, prevalence):
    probabilities, targets, mask = drawn(3, n=60, levels=levels, prevalence=prevalence)
    targets[0], mask[0] = 1, True
    patients = np.random.default_rng(4).integers(0, 25, 60).astype(str)

    draws = metrics.bootstrap(
        probabilities[:, None], targets[:, None], mask[:, None], patients, draws=150, seed=7
    )

    expected = brute_force(probabilities, targets, mask, patients, 150, 7)
    np.testing.assert_allclose(draws.auroc[:, 0], expected[:, 0])
    np.testing.assert_allclose(draws.ap[:, 0], expected[:, 1])


def test_draws_do_not_depend_on_row_order():
    probabilities, targets, mask = drawn(5)
    patients = np.random.default_rng(6).integers(0, 90, 300).astype(str)
    shuffled = np.random.default_rng(7).permutation(300)

    one = metrics.bootstrap(
        probabilities[:, None], targets[:, None], mask[:, None], patients, draws=50
    )
    other = metrics.bootstrap(
        probabilities[shuffled, None], targets[shuffled, None], mask[shuffled, None],
        patients[shuffled], draws=50,
    )  # fmt: skip

    np.testing.assert_allclose(one.auroc, other.auroc)
    np.testing.assert_allclose(one.ap, other.ap)


def test_label_with_one_class_has_no_draws_and_spoils_no_other():
    probabilities, targets, _ = drawn(8)
    both = np.stack([targets, np.zeros_like(targets)], axis=1)

    draws = metrics.bootstrap(
        np.stack([probabilities] * 2, axis=1), both, None, np.arange(300), draws=20
    )

    assert np.isfinite(draws.auroc[:, 0]).all()
    assert np.isnan(draws.auroc[:, 1]).all()


def test_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        targets = np.repeat([0.0, 1.0], 60)
        probabilities = rng.normal(size=120) + targets
        draws = metrics.bootstrap(
            probabilities[:, None], targets[:, None], None, np.arange(120), draws=200
        )
        low, high = metrics.interval(draws.auroc[:, 0])
        covered += low <= stats.norm.cdf(1 / np.sqrt(2)) <= high

    assert 87 <= covered <= 100


def test_missing_patients_are_refused():
    probabilities, targets, _ = drawn(9)

    with pytest.raises(ValueError, match="expected 300 patient IDs, met 3"):
        metrics.bootstrap(probabilities[:, None], targets[:, None], None, ["a", "b", "c"])


def test_interval_leaves_out_draws_without_value():
    values = np.array([np.nan, 0.1, 0.2, 0.3])

    assert metrics.interval(values) == pytest.approx(
        tuple(np.quantile([0.1, 0.2, 0.3], [0.025, 0.975]))
    )
    assert metrics.interval(np.array([np.nan])) is None


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_with_one_image_a_patient_the_interval_is_wilsons(case):
    hits, n = case

    met = points.proportion_interval(np.arange(n) < hits, np.arange(n))

    wilson = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert met == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_copies_of_each_patients_image_do_not_narrow_the_interval():
    hits, patients = np.arange(40) < 30, np.arange(40)

    once = points.proportion_interval(hits, patients)
    thrice = points.proportion_interval(np.tile(hits, 3), np.tile(patients, 3))

    assert thrice == pytest.approx(once)


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_proportion_interval_holds_the_proportion(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 50))
    hits, patients = rng.random(n) < rng.random(), rng.integers(0, 20, n)

    low, high = points.proportion_interval(hits, patients)

    assert 0 <= low <= hits.mean() <= high <= 1


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(20, 200))
def test_effective_images_vary_as_statsmodels_clustered_mean(seed, n):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, n // 2, n)
    hits = rng.random(n) < rng.random(n)[patients]  # alike within a patient
    if not 0 < hits.sum() < n:
        return

    met = points.effective(hits, patients)

    fit = statsmodels.OLS(hits.astype(float), np.ones(n)).fit(
        cov_type="cluster", cov_kwds={"groups": patients, "use_correction": False}
    )
    share, variance = hits.mean(), fit.cov_params()[0, 0]
    assert met == pytest.approx(min(share * (1 - share) / variance, n))
