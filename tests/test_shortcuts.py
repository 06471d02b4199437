"""What view, age and sex alone predict, and what of them is in the net's last layer."""

import json
from dataclasses import replace

import numpy as np
import pytest
from radiographs import sample
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from cxr.learning import metrics
from cxr.learning.evaluation import shortcuts

AVERAGED = ("Edema", "Pneumonia")


def alone(made, trained, **changed):
    common = {"averaged": AVERAGED, "draws": 100, "seed": 1}
    return shortcuts.metadata_only(made, trained, **(common | changed))


def told(made, embedding, trained, trained_embedding, *columns):
    return shortcuts.probe(
        made, embedding, trained, trained_embedding, columns=columns, draws=100, seed=1
    )


def test_metadata_predict_what_the_view_gives_away():
    said = alone(sample(seed=1, shortcut=3), sample(seed=2, shortcut=3))

    assert said["asked"] == ["view", "age", "sex"]
    assert said["trained_images"] == 400
    assert said["auroc_macro"] > 0.7
    assert said["auroc_macro_ci"][0] > 0.6


def test_metadata_predict_nothing_where_they_say_nothing():
    said = alone(sample(seed=1, shortcut=0), sample(seed=2, shortcut=0))

    assert said["auroc_macro_ci"][0] < 0.5 < said["auroc_macro_ci"][1] < 0.65
    assert said["difference"] > 0.2
    assert said["difference_ci"][0] > 0.1


def test_view_alone_is_the_logistic_regression_one_would_write_by_hand():
    made, trained = (
        replace(one, ages=np.full(400, np.nan), columns={"view": one.columns["view"]})
        for one in (sample(seed=1), sample(seed=2))
    )

    said = alone(made, trained)

    keep = trained.mask[:, 0]
    byhand = LogisticRegression().fit(
        (trained.columns["view"] == "AP")[keep, None], trained.truth[keep, 0]
    )
    p = byhand.predict_proba((made.columns["view"] == "AP")[:, None])[:, 1]
    keep = made.mask[:, 0]
    assert said["asked"] == ["view"]
    expected = sk.roc_auc_score(made.truth[keep, 0], p[keep])
    assert said["labels"]["Edema"]["auroc"] == pytest.approx(expected)
    model = sk.roc_auc_score(made.truth[keep, 0], made.probabilities[keep, 0])
    assert said["labels"]["Edema"]["difference"] == pytest.approx(model - expected)


def test_difference_is_drawn_on_the_same_patients():
    made, trained = sample(seed=1), sample(seed=2)
    copied = alone(made, trained)
    p = np.full(made.truth.shape, 0.5)

    # a model that says what the metadata say differs in no draw
    known, _ = shortcuts._predict(trained, made, ["view", "age", "sex"])
    said = alone(replace(made, probabilities=known), trained)

    assert said["difference"] == 0
    assert said["difference_ci"] == [0, 0]
    assert copied["difference_ci"] != [0, 0]
    assert alone(replace(made, probabilities=p), trained)["difference"] < 0


def test_unknown_age_and_new_values_are_taken_as_they_are():
    made, trained = sample(seed=1), sample(seed=2)
    ages = np.where(np.arange(400) % 2 == 0, np.nan, trained.ages)
    odd = {**made.columns, "view": np.full(400, "LL"), "sex": np.full(400, "")}

    said = alone(replace(made, columns=odd, ages=np.full(400, np.nan)), replace(trained, ages=ages))

    assert said["auroc_macro"] == pytest.approx(0.5)


def test_finding_hardly_met_in_training_is_guessed_alike_for_all_and_says_so():
    trained = sample(seed=2)
    truth = trained.truth.copy()
    truth[:, 0] = 0

    said = alone(sample(seed=1), replace(trained, truth=truth))

    assert said["labels"]["Edema"]["auroc"] == 0.5
    assert said["labels"]["Edema"]["reason"] == "fewer than 5 images of a class in training"


@pytest.mark.parametrize("trained", [None, "blank"])
def test_without_metadata_the_section_says_why(trained):
    if trained:
        empty = {name: np.full(400, "") for name in ("sex", "age", "view")}
        trained = replace(sample(), columns=empty, ages=np.full(400, np.nan))

    said = alone(sample(), trained)

    assert said["auroc_macro"] is None
    expected = "are not known" if trained else "are not at hand"
    assert said["reason"].endswith(expected)
    json.dumps(said, allow_nan=False)


def crossed(made, **changed):
    common = {"averaged": AVERAGED, "draws": 20, "seed": 1}
    return shortcuts.crossed(made, **(common | changed))


def blank(seed, positives, count=300):
    """Patients whose view, age and sex say nothing of a finding."""
    rng = np.random.default_rng(seed)
    made = sample(n=count, patients=10 * count, seed=seed)
    truth = np.zeros((count, 3))
    for k in range(3):
        truth[rng.permutation(count)[:positives], k] = 1
    return replace(made, truth=truth, mask=np.ones((count, 3), bool))


def test_out_of_fold_metadata_that_say_nothing_rank_by_chance_and_not_below():
    areas = [
        label["auroc"]
        for n in range(10)
        for label in crossed(blank(n, 90), draws=2)["labels"].values()
    ]

    # by probabilities of five regressions it would be .46
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


def test_out_of_fold_metadata_find_what_the_view_gives_away():
    made = sample(seed=1, shortcut=3)

    said = crossed(made)

    keep = made.mask[:, 0]
    view = sk.roc_auc_score(made.truth[keep, 0], (made.columns["view"] == "AP")[keep])
    assert said["labels"]["Edema"]["auroc"] == pytest.approx(view, abs=0.04)


def test_a_finding_too_rare_in_one_fifth_is_guessed_alike_in_all():
    # four fifths of six are five or four
    label = crossed(blank(0, 6))["labels"]["Edema"]

    assert label["auroc"] == 0.5
    assert label["reason"] == "fewer than 5 images of a class in training"


def test_fifths_share_no_patient_and_have_like_shares_of_findings():
    made = sample(n=600, patients=300, seed=3)

    fifth = shortcuts._fifths(made, seed=1)

    for patient in np.unique(made.patients):
        assert len(set(fifth[made.patients == patient])) == 1
    present = made.mask & (made.truth == 1)
    patients = [
        len(set(made.patients[(fifth == n) & present[:, 0]])) for n in range(5)
    ]  # fmt: skip
    assert max(patients) - min(patients) <= 2


def test_probe_finds_what_lies_in_the_embedding_and_nothing_else():
    made, trained = sample(seed=1), sample(seed=2)
    rng = np.random.default_rng(0)
    hold = [rng.normal(size=(400, 6)) for _ in range(2)]
    for embedding, one in zip(hold, (made, trained), strict=True):
        embedding[:, 2] += 2 * (one.columns["view"] == "AP")

    said = told(made, hold[0], trained, hold[1], "view", "sex")

    view, sex = said["columns"]["view"], said["columns"]["sex"]
    assert view["values"] == ["AP", "PA"]
    assert view["auroc"] > 0.85
    assert view["auroc_ci"][0] < view["auroc"] < view["auroc_ci"][1]
    assert sex["auroc_ci"][0] < 0.55
    assert (said["numbers"], said["trained_images"]) == (6, 400)


def test_probe_of_two_values_is_scikit_learns_area():
    made, trained = sample(seed=1), sample(seed=2)
    rng = np.random.default_rng(0)
    here, there = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    here[:, 0] += made.columns["sex"] == "M"
    there[:, 0] += trained.columns["sex"] == "M"

    said = told(made, here, trained, there, "sex")["columns"]["sex"]

    # one number ranks alike before and after the regression
    expected = sk.roc_auc_score(made.columns["sex"] == "M", here[:, 0])
    assert said["auroc"] == pytest.approx(expected)
    drawn = metrics.bootstrap(
        here, (made.columns["sex"] == "M")[:, None].astype(float), None, made.patients,
        draws=100, seed=1,
    )  # fmt: skip
    assert said["auroc_ci"] == pytest.approx(metrics.interval(drawn.auroc[:, 0]))


def test_probe_tells_several_sources_each_against_the_rest():
    made, trained = sample(seed=1), sample(seed=2)
    rng = np.random.default_rng(0)
    ones, embeddings = [], []
    for one in (made, trained):
        site = rng.choice(["x", "y", "z"], 400)
        ones.append(replace(one, columns={"site": site}))
        embeddings.append(np.eye(3)[np.searchsorted(["x", "y", "z"], site)])

    said = told(ones[0], embeddings[0], ones[1], embeddings[1], "site")["columns"]["site"]

    assert said["values"] == ["x", "y", "z"]
    assert said["auroc"] == 1


def test_probe_of_values_of_few_patients_says_why_not():
    made = sample()
    site = np.where(np.arange(400) < 5, "rare", "usual")
    made = replace(made, columns={"site": site})

    said = told(made, np.zeros((400, 2)), made, np.zeros((400, 2)), "site")["columns"]["site"]

    assert said["auroc"] is None
    assert said["reason"] == "fewer than two values of 10 patients or more"


def test_probe_without_the_images_trained_on_says_so():
    said = told(sample(), np.zeros((400, 2)), None, None, "view")

    assert said["reason"] == "the images the run was trained on are not at hand"


def test_probe_is_fitted_on_a_bounded_number_of_images():
    chosen = shortcuts.enough_for_probe(20_000, seed=3)

    assert len(set(chosen)) == shortcuts.MOST_IMAGES
    assert (chosen == shortcuts.enough_for_probe(20_000, seed=3)).all()
    assert shortcuts.enough_for_probe(7, seed=3).tolist() == list(range(7))
