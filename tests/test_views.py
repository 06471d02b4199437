"""Within a view, telling views apart is worth nothing."""

from dataclasses import replace

import numpy as np
import pytest
from radiographs import sample
from sklearn import metrics as sk

from cxr.learning import metrics
from cxr.learning.evaluation.views import within_view

AVERAGED = ("Edema", "Pneumonia")


def asked(made, averaged=AVERAGED):
    return within_view(made, averaged=averaged, draws=100, seed=2)


def area(made, rows, k):
    keep = rows & made.mask[:, k]
    return sk.roc_auc_score(made.truth[keep, k], made.probabilities[keep, k])


def test_mean_over_views_is_scikit_learns():
    made = sample()

    said = asked(made)

    per_view = [
        np.mean([area(made, made.columns["view"] == view, k) for k in (0, 1)])
        for view in ("AP", "PA")
    ]
    assert said["views"]["AP"]["auroc_macro"] == pytest.approx(per_view[0], abs=1e-4)
    assert said["views"]["PA"]["auroc_macro"] == pytest.approx(per_view[1], abs=1e-4)
    assert said["auroc_macro"] == pytest.approx(np.mean(per_view), abs=1e-4)
    everywhere = np.ones(400, bool)
    assert said["pooled"] == pytest.approx(np.mean([area(made, everywhere, k) for k in (0, 1)]))
    assert (said["findings"], said["missing"]) == (list(AVERAGED), [])


def test_interval_of_the_mean_is_of_paired_draws():
    made = sample()

    said = asked(made)

    halves = [
        metrics.bootstrap(
            made.probabilities, made.truth, made.mask & (made.columns["view"] == view)[:, None],
            made.patients, draws=100, seed=2,
        ).auroc[:, :2].mean(axis=1)
        for view in ("AP", "PA")
    ]  # fmt: skip
    expected = metrics.interval(np.mean(halves, axis=0))
    assert said["auroc_macro_ci"] == pytest.approx(expected, abs=1e-4)


def test_model_that_tells_views_alone_is_found_out():
    made = sample(n=2000, patients=2000, shortcut=3)
    seen = np.where(made.columns["view"] == "AP", 0.9, 0.1)[:, None].repeat(3, axis=1)

    said = asked(replace(made, probabilities=seen))

    assert said["pooled"] > 0.7
    assert said["auroc_macro"] == pytest.approx(0.5)


def test_finding_with_one_class_in_a_view_is_left_out_of_the_mean_and_named():
    made = sample()
    truth = made.truth.copy()
    truth[made.columns["view"] == "PA", 0] = 0

    said = asked(replace(made, truth=truth))

    assert said["findings"] == ["Pneumonia"]
    assert said["missing"] == ["Edema"]
    assert said["views"]["PA"]["missing"] == ["Edema"]
    assert said["views"]["AP"]["missing"] == []


def test_other_views_are_in_neither():
    made = sample()
    views = np.where(np.arange(400) % 4 == 0, "LL", made.columns["view"])

    said = asked(replace(made, columns={**made.columns, "view": views}))

    assert set(said["views"]) == {"AP", "PA"}
    assert said["views"]["AP"]["images"] == (views == "AP").sum()


def test_one_view_alone_gives_no_mean_and_says_why():
    made = sample()

    said = asked(replace(made, columns={**made.columns, "view": np.full(400, "PA")}))

    assert said["auroc_macro"] is None
    assert said["reason"] == "fewer than 10 patients in AP or in PA"
    assert said["views"]["PA"]["auroc_macro"] is not None


def test_without_frontal_views_there_is_nothing():
    made = sample()

    assert asked(replace(made, columns={**made.columns, "view": np.full(400, "LL")})) is None


def test_no_view_follows_from_the_mean_where_one_has_a_withheld_count():
    made = sample(n=600, patients=600)
    ap = made.columns["view"] == "AP"
    truth = made.truth.copy()
    truth[ap, 0] = 0
    truth[np.flatnonzero(ap)[:7], 0] = 1
    made = replace(
        made, truth=truth, mask=np.ones((600, 3), bool), patients=np.arange(600).astype(str)
    )

    said = asked(made)

    assert said["findings"] == list(AVERAGED)
    assert said["views"]["AP"]["labels"]["Edema"]["n"] is None
    for figure in (said["auroc_macro"], *said["auroc_macro_ci"]):
        assert figure == round(figure, 2)
