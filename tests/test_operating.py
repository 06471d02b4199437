"""A threshold is chosen where there is enough to choose it from, and does what it says."""

import dataclasses
import json

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cxr.errors import DataError
from cxr.learning import points
from cxr.learning.evaluation import operating
from cxr.learning.evaluation.scene import Settings


def test_no_threshold_is_chosen_from_few_positives():
    sample = samples.drawn()
    sample.truth[:, 1] = 0
    sample.truth[np.flatnonzero(sample.mask[:, 1])[:2], 1] = 1

    chosen = operating.choose(sample, Settings())

    few = chosen["finding 1"]
    assert few["threshold"] is None
    assert few["reason"] == "2 positives on val, 20 needed"
    assert (few["positives"], few["method"], few["unit"]) == (2, "youden", "image")
    assert chosen["finding 0"]["threshold"] == points.youden_threshold(
        sample.probabilities[:, 0], sample.truth[:, 0], sample.mask[:, 0]
    )
    json.dumps(chosen, allow_nan=False)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(), "no better than chance on val"),
        (
            Settings(threshold="sensitivity", at=0.9),
            "sensitivity 0.9 is not reached better than by chance on val",
        ),
    ],
)
def test_no_threshold_is_chosen_where_none_is_better_than_chance(settings, reason):
    truth = np.tile([0.0, 1.0], 30)[:, None]

    chosen = operating.choose(samples.made(np.full((60, 1), 0.5), truth), settings)

    assert chosen["finding 0"]["threshold"] is None
    assert chosen["finding 0"]["reason"] == reason


def test_no_images_are_refused():
    with pytest.raises(DataError, match="expected images to score, met none"):
        operating.choose(samples.made(np.empty((0, 1)), np.empty((0, 1))), Settings())


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([0, 5, 20]), st.floats(0.05, 0.95))
def test_a_target_is_reached_at_the_least_cost(seed, levels, at):
    rng = np.random.default_rng(seed)
    truth = (rng.random(80) < 0.4).astype(float)
    p = 1 / (1 + np.exp(-rng.normal(size=80) - 2 * truth))
    p = np.round(p * levels) / levels if levels else p
    if not 0 < truth.sum() < truth.size:
        return
    fpr, tpr, cuts = sk.roc_curve(truth, p, drop_intermediate=False)
    inner = (cuts <= p.max()) & (cuts > p.min())

    for of, reached, cost in (
        ("sensitivity", tpr >= at - 1e-12, fpr),
        ("specificity", 1 - fpr >= at - 1e-12, 1 - tpr),
    ):
        threshold = points.target_threshold(p, truth, of=of, at=at)

        fit = inner & reached
        best = cost[fit].min() if fit.any() else None
        if threshold is None:
            assert best is None or (tpr - fpr)[fit & (cost == best)].max() <= 1e-12
            continue
        found = sk.recall_score(truth, p > threshold)
        spared = sk.recall_score(1 - truth, p <= threshold)
        assert (found if of == "sensitivity" else spared) >= at - 1e-9
        assert (1 - spared if of == "sensitivity" else 1 - found) == pytest.approx(best)


def test_a_share_is_reached_exactly_where_it_can_be():
    p = np.linspace(0.05, 0.95, 20)
    truth = (np.arange(20) % 2 == 1).astype(float)

    threshold = points.target_threshold(p, truth, of="sensitivity", at=0.7)

    assert (p[truth == 1] > threshold).sum() == 7


def test_thresholds_of_another_kind_are_not_those_asked_for():
    asked = Settings(threshold="sensitivity", at=0.9)
    chosen = operating.choose(samples.drawn(), asked)

    assert operating.fits(chosen, asked)
    assert not operating.fits(chosen, Settings())
    assert not operating.fits(chosen, dataclasses.replace(asked, unit="study"))
    assert not operating.fits({}, asked)
    refused = operating.refused(chosen, dataclasses.replace(asked, unit="study"))
    assert {one["threshold"] for one in refused.values()} == {None}
    assert "chose none by sensitivity 0.9 for one study" in refused["finding 0"]["reason"]


def shares(found, positives, spared, negatives):
    return (
        operating.Share(found / positives, positives, certain=True),
        operating.Share(spared / negatives, negatives, certain=True),
    )


def test_predictive_values_follow_from_bayes_and_not_from_the_sample():
    said = operating.predictive(*shares(45, 50, 80, 100), prevalence=0.02)

    assert said["ppv"] == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.2 * 0.98))
    assert said["npv"] == pytest.approx(0.8 * 0.98 / (0.8 * 0.98 + 0.1 * 0.02))
    even = operating.predictive(*shares(45, 50, 80, 100), prevalence=50 / 150)
    called, truth = np.repeat([1, 0, 1, 0], [45, 5, 20, 80]), np.repeat([1, 0], [50, 100])
    assert even["ppv"] == pytest.approx(sk.precision_score(truth, called))
    assert even["npv"] == pytest.approx(sk.precision_score(1 - truth, 1 - called))


def test_intervals_of_predictive_values_cover_what_they_say():
    rng = np.random.default_rng(0)
    se, sp, share = 0.85, 0.9, 0.1
    truth = {
        "ppv": se * share / (se * share + (1 - sp) * (1 - share)),
        "npv": sp * (1 - share) / (sp * (1 - share) + (1 - se) * share),
    }

    met = [
        operating.predictive(
            *shares(rng.binomial(60, se), 60, rng.binomial(120, sp), 120), prevalence=share
        )
        for _ in range(1000)
    ]

    for key, value in truth.items():
        covered = np.mean([one[f"{key}_ci"][0] <= value <= one[f"{key}_ci"][1] for one in met])
        assert 0.93 <= covered <= 0.98


def test_no_false_call_does_not_make_a_predictive_value_certain():
    said = operating.predictive(*shares(30, 30, 100, 100), prevalence=0.1)

    assert said["ppv"] == said["npv"] == 1
    assert said["ppv_ci"][0] < 0.99
    assert said["ppv_ci"][1] == said["npv_ci"][1] == 1


def test_without_patients_enough_there_is_no_interval_and_without_calls_no_value():
    few = operating.Share(0.5, 8, certain=False)

    said = operating.predictive(few, operating.Share(0.9, 100, certain=True), prevalence=0.2)

    assert said["ppv"] is not None
    assert said["ppv_ci"] is None
    never = operating.predictive(
        operating.Share(0.0, 30, certain=True), operating.Share(1.0, 30, certain=True),
        prevalence=0.2,
    )  # fmt: skip
    assert never["ppv"] is None
    assert operating.predictive(operating.Share(None, 0, certain=False), few, prevalence=0.5) == {
        "ppv": None, "ppv_ci": None, "npv": None, "npv_ci": None,
    }  # fmt: skip
