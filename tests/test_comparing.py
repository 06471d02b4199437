"""Two models are compared draw by draw on the same patients."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from radiographs import sample
from sklearn import metrics as sk
from statsmodels.stats.multitest import multipletests

from cxr.learning import metrics
from cxr.learning.evaluation import comparing


def better(made, by, seed=9):
    """Another model, whose logits are further apart by `by`."""
    noise = np.random.default_rng(seed).normal(scale=0.3, size=made.truth.shape)
    logits = np.log(made.probabilities / (1 - made.probabilities)) + by * made.truth + noise
    return replace(made, probabilities=np.round(1 / (1 + np.exp(-logits)), 6))


def asked(first, second, draws=200):
    return comparing.compare(first, second, draws=draws, seed=3)


def test_figures_of_each_finding_are_scikit_learns():
    first = sample()
    second = better(first, 1)

    said = asked(first, second)["labels"]["Edema"]

    keep = first.mask[:, 0]
    y = first.truth[keep, 0]
    for key, model in (("first", first), ("second", second)):
        p = model.probabilities[keep, 0]
        assert said["auroc"][key] == pytest.approx(sk.roc_auc_score(y, p))
        assert said["brier"][key] == pytest.approx(sk.brier_score_loss(y, p))
    assert (said["n"], said["positives"]) == (keep.sum(), y.sum())
    gap = said["auroc"]["second"] - said["auroc"]["first"]
    assert said["auroc"]["difference"] == pytest.approx(gap)


def test_interval_of_a_difference_is_of_paired_draws():
    first = sample()
    second = better(first, 0.5)

    said = asked(first, second)

    one, other = (
        metrics.bootstrap(m.probabilities, m.truth, m.mask, m.patients, draws=200, seed=3).auroc
        for m in (first, second)
    )
    expected = metrics.interval(other[:, 0] - one[:, 0])
    assert said["labels"]["Edema"]["auroc"]["ci"] == pytest.approx(expected)
    expected = metrics.interval((other[:, :2] - one[:, :2]).mean(axis=1))
    assert said["macro"]["auroc"]["ci"] == pytest.approx(expected)
    unpaired = metrics.interval(other[:, 0] - np.roll(one[:, 0], 1))
    low, high = said["labels"]["Edema"]["auroc"]["ci"]
    assert high - low < unpaired[1] - unpaired[0]


def test_brier_interval_is_of_the_same_draws():
    first = sample()
    second = better(first, 0.5)
    keep = first.mask[:, 0]

    low, high = asked(first, second, draws=1500)["labels"]["Edema"]["brier"]["ci"]

    gap = (second.probabilities - first.truth)[keep, 0] ** 2
    gap = gap - (first.probabilities - first.truth)[keep, 0] ** 2
    # the mean of patients' sums, by its usual standard error
    _, which = np.unique(first.patients[keep], return_inverse=True)
    spread = np.bincount(which, gap - gap.mean())
    error = np.sqrt((spread**2).sum()) / gap.size
    assert low == pytest.approx(gap.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(gap.mean() + 1.96 * error, abs=0.3 * error)


def test_clearly_better_model_is_told_from_chance_and_a_like_one_is_not():
    first = sample(n=600, patients=500)

    clear, alike = asked(first, better(first, 1.5)), asked(first, better(first, 0))

    assert clear["macro"]["auroc"]["ci"][0] > 0
    assert clear["macro"]["auroc"]["p"] == pytest.approx(2 / 201)
    assert clear["within_view"]["ci"][0] > 0
    assert clear["macro"]["brier"]["ci"][1] < 0
    assert alike["macro"]["auroc"]["p"] > 0.05


def test_swapping_the_models_turns_every_sign():
    first = sample()
    second = better(first, 0.5)

    there, back = asked(first, second), asked(second, first)

    for one, other in (
        (there["macro"]["auroc"], back["macro"]["auroc"]),
        (there["macro"]["brier"], back["macro"]["brier"]),
        (there["within_view"], back["within_view"]),
        (there["labels"]["Edema"]["auroc"], back["labels"]["Edema"]["auroc"]),
    ):
        assert one["difference"] == -other["difference"]
        assert one["ci"] == pytest.approx([-other["ci"][1], -other["ci"][0]])
        assert one["p"] == other["p"]


def test_a_model_does_not_differ_from_itself():
    made = sample()

    said = asked(made, made)

    assert said["macro"]["auroc"]["difference"] == 0
    assert said["macro"]["auroc"]["ci"] == [0, 0]
    assert said["macro"]["auroc"]["p"] == 1
    assert said["labels"]["Edema"]["auroc"]["p_holm"] == 1


def test_p_of_the_bootstrap_is_near_that_of_a_paired_test():
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    made = sample(n=500, patients=500, seed=4)
    made = replace(made, patients=np.arange(500).astype(str), mask=np.ones((500, 3), bool))
    other = np.clip(made.probabilities + rng.normal(0.01, 0.1, (500, 3)), 0, 1)

    said = asked(made, replace(made, probabilities=other), draws=4000)["labels"]["Edema"]["brier"]

    gap = (other - made.truth)[:, 0] ** 2 - (made.probabilities - made.truth)[:, 0] ** 2
    assert said["p"] == pytest.approx(scipy.ttest_1samp(gap, 0).pvalue, abs=0.03)


@pytest.mark.parametrize("count", [1, 2, 5, 14])
def test_correction_is_statsmodels_holm(count):
    p = np.random.default_rng(count).random(count) ** 3
    p[-1] = p[0]  # a tie

    assert comparing.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14))
def test_correction_keeps_the_order_and_lowers_no_p(p):
    corrected = comparing.holm(p)

    assert all(one <= other <= 1 for one, other in zip(p, corrected, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_only_averaged_findings_are_corrected_for_each_other():
    said = asked(sample(), better(sample(), 0.3))

    both = [said["labels"][name]["auroc"] for name in said["averaged"]]
    assert said["averaged"] == ["Edema", "Pneumonia"]
    assert [one["p_holm"] for one in both] == comparing.holm([one["p"] for one in both])
    assert said["labels"]["No Finding"]["auroc"]["p_holm"] is None
    assert said["left_out_labels"] == {"No Finding": "not a finding"}


def test_finding_of_few_patients_has_no_interval_and_says_why():
    made = sample()
    truth = made.truth.copy()
    truth[:, 0] = 0
    truth[:7, 0] = 1
    made = replace(made, truth=truth, mask=np.ones((400, 3), bool))

    said = asked(made, better(made, 1))

    edema = said["labels"]["Edema"]["auroc"]
    assert edema["difference"] is not None
    assert (edema["ci"], edema["p"], edema["p_holm"]) == (None, None, None)
    assert edema["reason"].endswith("positive patients, 10 needed")
    assert "Edema" in said["averaged"]


@given(st.integers(0, 2**31), st.integers(1, 50))
def test_any_two_models_give_plain_json(seed, n):
    made = sample(n=n, patients=max(1, n // 2), seed=seed)

    said = asked(made, better(made, 1), draws=5)

    assert json.loads(json.dumps(said, allow_nan=False)) == said
