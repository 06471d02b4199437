"""What metrics.json says, and what it keeps quiet about."""

import csv
import json
import os
import re
import resource
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cxr.errors import DataError
from cxr.learning import metrics, predictions, score, table

NAMES = ["Edema", "Hernia", "Pneumonia", "No Finding"]


def images(seed=0, n=200, patients=120):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, 4)) < [0.3, 0.01, 0.4, 0.4]).astype(np.float32)
    targets[:, 1] = 0
    targets[:2, 1] = 1
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=(n, 4)) + 1.5 * targets - 1)))
    mask = rng.random((n, 4)) < 0.95
    mask[:2] = True
    return probabilities, targets, mask, [f"p{i}" for i in rng.integers(0, patients, n)]


def scored(thresholds=None, **changed):
    probabilities, targets, mask, patient_ids = images()
    asked = {
        "names": NAMES, "patient_ids": patient_ids, "no_finding": "No Finding",
        "thresholds": thresholds or {}, "label_source": "report-text-mined",
        "human_annotated": False, "draws": 100,
    }  # fmt: skip
    return score.score(probabilities, targets, mask, **(asked | changed))


def test_every_label_is_scored_on_its_unmasked_images():
    probabilities, targets, mask, patient_ids = images()

    said = scored()["labels"]

    for k, name in enumerate(NAMES):
        keep = mask[:, k]
        y, p = targets[keep, k], predictions.rounded(probabilities[keep, k])
        label = said[name]
        assert (label["n"], label["masked"]) == (keep.sum(), (~keep).sum())
        assert (label["positives"], label["negatives"]) == (y.sum(), (1 - y).sum())
        ids = np.array(patient_ids)[keep]
        assert label["positive_patients"] == len(set(ids[y == 1]))
        assert label["auroc"] == pytest.approx(sk.roc_auc_score(y, p))
        assert label["ap"] == pytest.approx(sk.average_precision_score(y, p))


def test_interval_is_that_of_the_bootstrap():
    probabilities, targets, mask, patient_ids = images()

    said = scored(draws=150, seed=3)

    draws = metrics.bootstrap(
        predictions.rounded(probabilities), targets, mask, patient_ids, draws=150, seed=3
    )
    assert said["labels"]["Edema"]["auroc_ci"] == list(metrics.interval(draws.auroc[:, 0]))
    assert said["labels"]["Edema"]["ap_ci"] == list(metrics.interval(draws.ap[:, 0]))
    both = draws.auroc[:, [0, 2]].mean(axis=1)
    assert said["auroc_macro_ci"] == list(metrics.interval(both))
    assert said["bootstrap"]["draws"] == 150


def test_no_finding_is_reported_and_never_averaged():
    said = scored()

    assert said["averaged"] == ["Edema", "Pneumonia"]
    assert said["labels"]["No Finding"]["auroc"] is not None
    assert said["left_out"]["No Finding"] == "not a finding"
    pair = [said["labels"][name]["auroc"] for name in said["averaged"]]
    assert said["auroc_macro"] == pytest.approx(np.mean(pair))


def test_finding_with_few_positives_is_left_out_of_the_average_and_says_why():
    said = scored()

    assert said["left_out"]["Hernia"] == "2 positives, 5 needed"
    assert "Hernia" in scored(enough=2)["averaged"]


def test_below_ten_positive_patients_there_is_no_interval():
    said = scored()["labels"]["Hernia"]

    assert said["auroc"] is not None
    assert said["auroc_ci"] is None
    assert said["ap_ci"] is None
    assert said["ci_reason"] == "no interval: 2 positive patients, 10 needed"
    assert said["one_class_draws"] > 0


def test_draws_without_an_averaged_finding_are_left_out_and_counted():
    said = scored(enough=2)

    missing = said["labels"]["Hernia"]["one_class_draws"]
    assert said["macro_one_class_draws"] == missing > 0
    assert said["auroc_macro_ci"] is not None


def test_nothing_to_average_leaves_no_headline_but_stays_json():
    said = scored(enough=1000)

    assert said["auroc_macro"] is None
    assert said["auroc_macro_ci"] is None
    assert said["averaged"] == []
    assert set(said["left_out"]) == set(NAMES)
    json.dumps(said, allow_nan=False)
    assert "no finding to average" in table.render(said)


def test_operating_point_comes_from_the_given_threshold():
    probabilities, targets, mask, _ = images()
    chosen = {"Edema": {"threshold": 0.4, "split": "val", "reason": None}}

    said = scored(thresholds=chosen)["labels"]

    keep = mask[:, 0]
    called = probabilities[keep, 0] > 0.4
    edema = said["Edema"]
    assert edema["sensitivity"] == pytest.approx(sk.recall_score(targets[keep, 0], called))
    assert edema["specificity"] == pytest.approx(sk.recall_score(1 - targets[keep, 0], ~called))
    assert edema["sensitivity_ci"][0] < edema["sensitivity"] < edema["sensitivity_ci"][1]
    assert said["Pneumonia"]["threshold"] is None
    assert said["Pneumonia"]["threshold_reason"] == "none was chosen"
    assert said["Pneumonia"]["sensitivity"] is None


def test_figures_are_those_of_the_written_predictions(tmp_path):
    probabilities, targets, mask, patient_ids = images()
    probabilities = probabilities**12  # small, and close together
    uids = [f"1.2.{i}" for i in range(200)]
    predictions.write(tmp_path / "predictions.csv", uids, NAMES, probabilities)
    again = predictions.read(tmp_path / "predictions.csv")

    asked = {
        "names": NAMES, "patient_ids": patient_ids, "no_finding": None, "thresholds": {},
        "label_source": "readers", "human_annotated": True, "draws": 20,
    }  # fmt: skip

    assert score.score(probabilities, targets, mask, **asked) == score.score(
        again.probabilities, targets, mask, **asked
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_any_images_give_plain_json_without_nan(seed, n, prevalence, answered):
    rng = np.random.default_rng(seed)
    shape = (n, 3)
    targets = (rng.random(shape) < prevalence).astype(np.float32)
    mask = rng.random(shape) < answered
    patient_ids = [str(i) for i in rng.integers(0, n, n)]

    said = score.score(
        rng.random(shape).round(1), targets, mask, names=["a", "b", "c"], patient_ids=patient_ids,
        no_finding="c", thresholds={"a": {"threshold": 0.5, "split": "val"}}, draws=10,
        label_source="readers", human_annotated=True, enough=1,
    )  # fmt: skip

    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert all(np.isfinite(value) for value in score.flat(said).values())
    assert table.render(said)


def test_same_seed_gives_the_same_figures():
    assert scored(seed=1) == scored(seed=1) != scored(seed=2)


def test_note_and_label_source_are_in_metrics():
    said = scored()

    assert said["note"] == "Research use only. Not for clinical decisions."
    assert (said["label_source"], said["human_annotated"]) == ("report-text-mined", False)
    assert (said["images"], said["patients"]) == (200, len(set(images()[3])))


def test_patients_are_not_named_in_metrics():
    said = scored(patient_ids=[f"SECRET{i}" for i in range(200)])

    assert "SECRET" not in json.dumps(said)


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1, np.inf])
def test_what_is_no_probability_is_refused_by_name(bad):
    probabilities, targets, mask, patient_ids = images()
    probabilities[7, 2] = bad

    with pytest.raises(DataError, match=r"for 'Pneumonia' \(1 of 200 images\)"):
        score.score(
            probabilities, targets, mask, names=NAMES, patient_ids=patient_ids, no_finding=None,
            thresholds={}, label_source="readers", human_annotated=True,
        )  # fmt: skip


def test_wrong_width_is_a_programmers_error():
    probabilities, targets, mask, _ = images()

    with pytest.raises(ValueError, match=r"expected \(N, 1\) three times"):
        score.curves(probabilities, targets, mask, names=["Edema"])


def test_mlflow_takes_every_metric_name():
    validation = pytest.importorskip("mlflow.utils.validation")
    probabilities, targets, mask, patient_ids = images()
    hostile = ["a/b (c)", "..", "Ödem", "<b>"]

    figures = score.flat(
        score.score(
            probabilities, targets, mask, names=hostile, patient_ids=patient_ids,
            no_finding=None, thresholds={}, label_source="readers", human_annotated=True, draws=5,
        )
    )  # fmt: skip

    for name in figures:
        validation._validate_metric_name(name)
    assert len(figures) == 2 * 3 + 2 * 4
    assert {"test/auroc/a_b _c_", "test/auroc/Ödem"} <= figures.keys()


def test_mlflow_metrics_leave_out_what_is_missing():
    figures = score.flat(scored())

    assert figures["test/auroc/Edema"] == scored()["labels"]["Edema"]["auroc"]
    assert "test/auroc_macro" in figures
    assert "test/sensitivity/Edema" not in figures


def test_mlflow_has_what_stands_beside_the_headline_and_every_interval():
    beside = {
        "within_view": {"auroc_macro": 0.6, "auroc_macro_ci": [0.5, 0.7], "reason": None},
        "metadata_only": {"auroc_macro": 0.58, "auroc_macro_ci": None, "difference": 0.1},
    }

    figures = score.flat(scored() | {"auroc_macro_ci": [0.71, 0.83]} | beside)

    assert (figures["test/auroc_macro_ci_low"], figures["test/auroc_macro_ci_high"]) == (0.71, 0.83)
    within = {k: v for k, v in figures.items() if k.startswith("test/within_view/")}
    assert within == {
        "test/within_view/auroc_macro": 0.6,
        "test/within_view/auroc_macro_ci_low": 0.5,
        "test/within_view/auroc_macro_ci_high": 0.7,
    }
    assert {k: v for k, v in figures.items() if "metadata" in k} == {
        "test/metadata_only/auroc_macro": 0.58
    }
    unknown = score.flat(scored() | {"metadata_only": {"reason": "view is not known"}})
    assert not any("metadata" in name for name in unknown)


def test_metrics_file_holds_what_was_scored(tmp_path):
    said = scored()

    score.write_metrics(tmp_path / "metrics.json", said)

    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == said
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_predictions_have_a_column_per_label_named_as_the_label(tmp_path):
    path = tmp_path / "predictions.csv"
    names = ["Edema", 'odd "name" ', "=1+1"]

    predictions.write(path, ["1.2.3"], names, np.array([[0.123456789, 1.0, 1e-9]]))

    with path.open(encoding="utf-8", newline="") as lines:
        header, row = csv.reader(lines)
    assert header == ["sop_instance_uid", *names]
    assert row == ["1.2.3", "0.123457", "1", "1e-09"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_rounding_twice_changes_nothing(values):
    once = predictions.rounded(np.array(values))

    assert (predictions.rounded(once) == once).all()
    np.testing.assert_allclose(once, values, rtol=1e-5, atol=1e-320)


def test_failed_write_leaves_the_old_predictions(tmp_path):
    path = tmp_path / "predictions.csv"
    predictions.write(path, ["1"], ["Edema"], np.array([[0.5]]))

    with pytest.raises(ValueError, match="zip"):
        predictions.write(path, ["1", "2"], ["Edema"], np.array([[0.7]]))

    assert predictions.read(path).probabilities.tolist() == [[0.5]]


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(tmp_path):
    path = tmp_path / "run.json"
    predictions.replace_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        with pytest.raises(OSError, match="File too large"):
            predictions.replace_text(path, "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: expected sop_instance_uid"),
        ("uid,Edema\n1,0.5\n", r":1: expected sop_instance_uid"),
        ("sop_instance_uid,Edema\n1\n", r":2: expected 2 columns, met 1"),
        ("sop_instance_uid,Edema\n1,0.5\n1,0.6\n", r":3: the image of this row stands there twice"),
        ("sop_instance_uid,Edema\n1,high\n", r":2: expected a probability .* met 'high'"),
        ("sop_instance_uid,Edema\n1,nan\n", r":2: expected a probability .* met 'nan'"),
        ("sop_instance_uid,Edema\n1,2\n", r":2: expected a probability .* met '2'"),
    ],
)
def test_broken_predictions_are_refused_with_their_place(tmp_path, text, message):
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        predictions.read(path)


def test_predictions_that_a_spreadsheet_saved_are_read_and_another_code_is_refused(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("sop_instance_uid,Überblähung\n1,0.5\n", encoding="utf-8-sig")
    assert predictions.read(path).names == ("Überblähung",)

    path.write_text("sop_instance_uid,Überblähung\n1,0.5\n", encoding="latin-1")
    with pytest.raises(DataError, match="expected predictions, met a file not in UTF-8"):
        predictions.read(path)


def test_missing_predictions_are_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        predictions.read(tmp_path / "predictions.csv")


def test_table_shows_each_finding_and_the_average():
    said = scored()

    rows = table.rows(said)
    text = table.render(said)

    assert [row.label for row in rows] == [*NAMES, "macro"]
    assert rows[-1].auroc == said["auroc_macro"]
    low, high = said["labels"]["Edema"]["auroc_ci"]
    line = next(line for line in text.splitlines() if line.strip().startswith("Edema"))
    assert f"{said['labels']['Edema']['auroc']:.3f}   {low:.3f}–{high:.3f}" in line
    assert "not averaged: 2 positives, 5 needed" in text
    assert "labels: report-text-mined, not read by radiologists" in text
    assert text.endswith("Research use only. Not for clinical decisions.")


def test_label_names_neither_style_nor_steer_the_terminal():
    probabilities, targets, mask, patient_ids = images()

    text = table.render(
        score.score(
            probabilities, targets, mask, names=["[red]", "\x1b[2J", "a\nb", "c"],
            patient_ids=patient_ids, no_finding=None, thresholds={}, label_source="readers",
            human_annotated=True, draws=5,
        )
    )  # fmt: skip

    assert "[red]" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)
    assert "labels: readers\n" in text


@pytest.mark.slow
def test_fourteen_findings_of_five_thousand_images_take_seconds():
    if os.cpu_count() == 1:
        pytest.skip("one core shared with others says nothing")
    rng = np.random.default_rng(0)
    targets = (rng.random((5000, 14)) < 0.1).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=(5000, 14)) + targets)))
    patient_ids = rng.integers(0, 2500, 5000).astype(str)

    start = time.process_time()
    metrics.bootstrap(probabilities, targets, None, patient_ids, draws=1000)

    assert time.process_time() - start < 5
