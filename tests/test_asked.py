"""All that an evaluation can be asked, of one small net: what it answers, and what it writes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score
from test_evaluation import material
from test_fit import NAMES, NET
from test_predictor import RECORD
from test_report import HOSTILE, Page

from cxr.learning import evaluation, predictions, report, score, table
from cxr.learning.evaluation import tuning
from cxr.learning.evaluation.scene import Settings
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor

VAL, TEST = np.arange(0, 90), np.arange(90, 240)
FIRST, SECOND = NAMES[0], NAMES[-1]


@pytest.fixture(scope="module")
def given():
    whole = material(240)
    doubt = np.random.default_rng(5).random(whole.mask.shape) < 0.1
    instances = tuple(
        replace(instance, view_position="AP" if k % 3 else "PA", age_years=float(k % 90), sex="F")
        for k, instance in enumerate(whole.cohort.instances)
    )
    # patients have two images each, in one study
    examples = tuple(
        replace(e, study_instance_uid=f"1.3.{k // 2}") for k, e in enumerate(whole.cohort.examples)
    )
    cohort = replace(whole.cohort, instances=instances, examples=examples)
    # what this net says is true, but it is far too unsure of it
    logits = tuning.logits(asker(), whole, np.arange(240))
    certain = 2 * (logits - logits.mean(axis=0)) / logits.std(axis=0)
    truth = np.random.default_rng(6).random(logits.shape) < 1 / (1 + np.exp(-certain))
    return replace(
        whole, cohort=cohort, truth=truth.astype(np.float32), uncertain=doubt, mask=~doubt
    )


def asker():
    return Predictor(RECORD, build_net(NET, 3, seed=1), "cpu")


def asked(root, given, settings, **changed):
    predictor = asker()
    tuning.tune(predictor, given, VAL, settings)
    context = evaluation.context(
        root, given, job="ward", config_yaml="", warnings=[], policies={}, pictures=False,
        draws=100, seed=0, settings=settings,
    )  # fmt: skip
    folder = root / settings.unit / settings.calibration
    made = evaluation.evaluate(folder, predictor, given, TEST, "test", context, **changed)
    return predictor, made


@pytest.fixture(scope="module")
def platt(tmp_path_factory, given):
    settings = Settings(
        calibration="platt", threshold="sensitivity", at=0.8, prevalence={FIRST: 0.1}
    )
    return asked(tmp_path_factory.mktemp("platt"), given, settings)


def test_probabilities_are_calibrated_before_they_are_written_and_scored(platt, given):
    predictor, made = platt
    section = made.scored["calibration"]["labels"][FIRST]

    written = predictions.read(made.predictions).probabilities[:, 0]

    logits = tuning.logits(predictor, given, TEST)[:, 0]
    fitted = predictor.record.calibration[FIRST]
    by_hand = 1 / (1 + np.exp(-(fitted["slope"] * logits + fitted["intercept"])))
    assert fitted["method"] == "platt"
    np.testing.assert_allclose(written, by_hand, rtol=1e-4)
    keep = given.mask[TEST, 0]
    truth = given.truth[TEST, 0][keep]
    for key, p in (("before", 1 / (1 + np.exp(-logits))), ("after", by_hand)):
        assert section[key]["brier"] == pytest.approx(brier_score_loss(truth, p[keep]), rel=1e-4)
        count = len(section[key]["bins"])
        observed, _ = calibration_curve(truth, p[keep], n_bins=count, strategy="quantile")
        assert [b["observed"] for b in section[key]["bins"]] == pytest.approx(observed.tolist())
    assert section["after"]["brier"] < section["before"]["brier"]


def test_a_target_sensitivity_is_reached_on_val_with_calibrated_probabilities(platt, given):
    predictor, made = platt
    chosen = predictor.record.thresholds[FIRST]

    said = made.scored["labels"][FIRST]

    keep = given.mask[VAL, 0] & (given.truth[VAL, 0] == 1)
    p = tuning.probabilities(predictor, given, VAL)[keep, 0]
    assert (p > chosen["threshold"]).mean() >= 0.8
    assert (said["threshold_method"], said["threshold_at"]) == ("sensitivity", 0.8)


def test_doubt_is_scored_on_either_side_and_counted(platt, given):
    _, made = platt
    section = made.scored["uncertain"]

    written = predictions.read(made.predictions).probabilities

    doubted = given.uncertain[TEST]
    assert section["masked"] == doubted.sum()
    for k, name in enumerate(NAMES):
        label = section["labels"][name]
        assert label["masked"] == doubted[:, k].sum()
        for key, side in (("as_absent", 0), ("as_present", 1)):
            truth = np.where(doubted[:, k], side, given.truth[TEST, k])
            assert label[key]["auroc"] == pytest.approx(roc_auc_score(truth, written[:, k]))
            assert label[key]["auroc_ci"][0] < label[key]["auroc"] < label[key]["auroc_ci"][1]
    averaged = [section["labels"][name]["as_present"]["auroc"] for name in made.scored["averaged"]]
    assert section["as_present"]["auroc_macro"] == pytest.approx(np.mean(averaged))


def test_predictive_values_are_told_at_the_stated_prevalence_alone(platt):
    _, made = platt

    said = made.scored["operating"]["labels"]

    assert list(said) == [FIRST]
    label = made.scored["labels"][FIRST]
    found, false = label["sensitivity"] * 0.1, (1 - label["specificity"]) * 0.9
    assert said[FIRST]["ppv"] == pytest.approx(found / (found + false))


@pytest.mark.parametrize("unit", ["study", "patient"])
def test_units_are_scored_and_thresholds_chosen_for_the_same_unit(tmp_path, given, unit):
    predictor, made = asked(tmp_path, given, Settings(unit=unit, calibration="temperature"))

    scored = made.scored
    assert (scored["unit"], scored["units"], scored["images"]) == (unit, 75, 150)
    assert {one["unit"] for one in predictor.record.thresholds.values()} == {unit}
    counts = [one["positives"] + one["negatives"] for one in predictor.record.thresholds.values()]
    assert set(counts) <= {43, 44, 45}
    written = predictions.read(made.predictions).probabilities
    assert written.shape == (150, 3)
    pooled = written.reshape(75, 2, 3).mean(axis=1)
    known = given.mask[TEST].reshape(75, 2, 3).any(axis=1)
    truth = (given.mask & (given.truth == 1))[TEST].reshape(75, 2, 3).any(axis=1)
    for k, name in enumerate(NAMES):
        area = roc_auc_score(truth[known[:, k], k], predictions.rounded(pooled[known[:, k], k]))
        assert scored["labels"][name]["auroc"] == pytest.approx(area)
    text = Page(made.report.read_text()).text
    assert f"by {unit}: mean probability of its images" in text
    assert "75 studies (150 images)" in text or "75 patients (150 images)" in text


def test_the_runs_thresholds_stay_unless_others_are_asked_for(platt, given):
    predictor, _ = platt
    same = Settings(threshold="sensitivity", at=0.8)

    kept = tuning.retune(predictor, given, VAL, same)
    other = tuning.retune(predictor, given, VAL, Settings())
    elsewhere = tuning.retune(predictor, given, None, Settings())

    assert kept == predictor.record
    assert {one["method"] for one in other.thresholds.values()} == {"youden"}
    assert other.calibration == predictor.record.calibration
    assert {one["threshold"] for one in elsewhere.thresholds.values()} == {None}
    assert "ask its own job" in elsewhere.thresholds[FIRST]["reason"]


def test_the_report_tells_calibration_doubt_and_why_nothing_is_told(platt):
    _, made = platt

    text = Page(made.report.read_text()).text

    section = made.scored["calibration"]["labels"][FIRST]
    assert "Reliability curves" in text
    assert f"platt: slope {section['fitted']['slope']:.3f}".replace("-", "−") in text
    assert f"{section['after']['brier']:.3f}" in text
    assert f"{made.scored['uncertain']['masked']} uncertain labels were left out" in text
    assert "PPV and NPV at a prevalence of" in text
    ppv, (low, high) = (made.scored["operating"]["labels"][FIRST][key] for key in ("ppv", "ppv_ci"))
    assert f"PPV {ppv:.3f} {low:.3f}–{high:.3f}" in text
    assert [p.name for p in made.figures if p.name == "reliability.svg"]
    json.dumps(made.scored, allow_nan=False)


def test_hostile_labels_stay_text_in_every_section(tmp_path, given, platt):
    _, made = platt
    names = dict(zip(NAMES, HOSTILE, strict=False))

    def renamed(value):
        if isinstance(value, dict):
            return {names.get(key, key): renamed(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [renamed(inner) for inner in value]
        return names.get(value, value) if isinstance(value, str) else value

    scored = renamed(made.scored)
    curves = dict.fromkeys(scored["labels"])

    page = Page(report.render(report.Report("r", "2026", scored, curves)))

    assert "script" not in page.tags
    assert not page.loads
    assert all(name in page.text for name in HOSTILE[:3])


def test_one_class_draws_are_shown_beside_the_interval_they_are_left_out_of(platt):
    _, made = platt
    scored = json.loads(json.dumps(made.scored))
    scored["labels"][FIRST]["one_class_draws"] = 7
    scored["macro_one_class_draws"] = 9

    text = table.render(scored)

    assert "7 one-class draws left out" in text
    assert "9 one-class draws left out" in " ".join(text.split())
    assert score.flat(scored)
