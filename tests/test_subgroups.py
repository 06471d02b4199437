"""Groups are scored as scikit-learn would, and small ones point at nobody."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from radiographs import sample
from sklearn import metrics as sk

from cxr.learning import metrics
from cxr.learning.evaluation import cells
from cxr.learning.evaluation.subgroups import subgroups

AVERAGED = ("Edema", "Pneumonia")
CHOSEN = {"Edema": {"threshold": 0.5}, "Pneumonia": {"threshold": 0.4}}


def asked(made, *columns, **changed):
    common = {"averaged": AVERAGED, "thresholds": CHOSEN, "draws": 120, "seed": 5}
    return subgroups(made, columns, **(common | changed))


def with_column(made, texts):
    return replace(made, columns={**made.columns, "site": np.array(texts)})


def test_figures_of_a_group_are_scikit_learns_on_its_images():
    made = sample()

    women = asked(made, "sex")["columns"]["sex"]["groups"][0]

    rows = made.columns["sex"] == "F"
    assert (women["value"], women["images"]) == ("F", rows.sum())
    assert women["patients"] == len(set(made.patients[rows]))
    areas = []
    for k, name in enumerate(made.names):
        keep = rows & made.mask[:, k]
        y, p, figures = made.truth[keep, k], made.probabilities[keep, k], women["labels"][name]
        areas.append(sk.roc_auc_score(y, p))
        assert figures["auroc"] == pytest.approx(areas[-1], abs=1e-4)
        assert (figures["n"], figures["positives"]) == (keep.sum(), y.sum())
    edema = women["labels"]["Edema"]
    keep = rows & made.mask[:, 0]
    called = made.probabilities[keep, 0] > 0.5
    expected = sk.recall_score(made.truth[keep, 0], called)
    assert edema["sensitivity"] == pytest.approx(expected, abs=1e-4)
    expected = sk.recall_score(made.truth[keep, 0], called, pos_label=0)
    assert edema["specificity"] == pytest.approx(expected, abs=1e-4)
    assert women["labels"]["No Finding"]["sensitivity"] is None
    assert women["findings"] == list(AVERAGED)
    assert women["auroc_macro"] == pytest.approx(np.mean(areas[:2]), abs=1e-4)


def test_interval_of_a_group_is_of_the_same_draws_as_the_headline():
    made = sample()

    women = asked(made, "sex")["columns"]["sex"]["groups"][0]

    keep = made.mask & (made.columns["sex"] == "F")[:, None]
    drawn = metrics.bootstrap(
        made.probabilities, made.truth, keep, made.patients, draws=120, seed=5
    ).auroc
    low, high = metrics.interval(drawn[:, 0])
    assert women["labels"]["Edema"]["auroc_ci"] == pytest.approx([low, high], abs=1e-4)
    low, high = metrics.interval(drawn[:, :2].mean(axis=1))
    assert women["auroc_macro_ci"] == pytest.approx([low, high], abs=1e-4)


def test_group_that_is_read_worse_is_named_with_a_gap_that_chance_hardly_makes():
    made = sample(n=800, patients=600)
    men = made.columns["sex"] == "M"
    guessed = made.probabilities.copy()
    guessed[men] = np.random.default_rng(1).random((men.sum(), 3)).round(6)

    worst = asked(replace(made, probabilities=guessed), "view", "sex")["worst"]

    area = worst["auroc_macro"]
    assert (area["column"], area["better"], area["worse"]) == ("sex", "F", "M")
    assert area["findings"] == list(AVERAGED)
    assert 0 < area["ci"][0] < area["difference"] < area["ci"][1]
    assert area["looks"] == 2
    assert area["by_chance"] < 0.02
    assert worst["sensitivity"]["looks"] == 2 * 2


def test_gap_in_sensitivity_is_that_of_the_figures_shown():
    made = sample(n=800, patients=600)

    answer = asked(made, "sex", "age")

    gaps = [
        abs(one["labels"][name]["sensitivity"] - other["labels"][name]["sensitivity"])
        for column in answer["columns"].values()
        for one, other in combinations(column["groups"], 2)
        for name in AVERAGED
        if name in one["labels"] and name in other["labels"]
        and one["labels"][name]["sensitivity"] is not None
        and other["labels"][name]["sensitivity"] is not None
    ]  # fmt: skip
    assert answer["worst"]["sensitivity"]["difference"] == pytest.approx(max(gaps), abs=2e-3)
    assert answer["worst"]["sensitivity"]["looks"] == len(gaps)


def test_without_a_difference_the_largest_of_many_gaps_is_not_surprising():
    rng = np.random.default_rng(3)
    small = []
    for seed in range(12):
        made = sample(n=300, patients=300, seed=seed, shortcut=0)
        texts = rng.choice(["a", "b", "c", "d", "e"], 300)
        worst = asked(with_column(made, texts), "site", draws=100)["worst"]["auroc_macro"]
        assert worst["looks"] == 10
        small.append(worst["by_chance"] < 0.05)

    assert sum(small) <= 2


def test_group_of_nine_patients_is_withheld_and_so_is_the_size_of_the_next_smallest():
    made = sample(n=300, patients=300)
    made = replace(made, patients=np.arange(300).astype(str))
    texts = np.array(["a"] * 9 + ["b"] * 40 + ["c"] * 251)

    next_one, many, few = asked(with_column(made, texts), "site")["columns"]["site"]["groups"]

    assert few == {
        "value": "other", "withheld": cells.FEW, "images": None, "patients": None, "findings": [],
        "auroc_macro": None, "auroc_macro_ci": None, "labels": {},
    }  # fmt: skip
    assert (next_one["images"], next_one["patients"]) == (None, None)
    assert next_one["withheld"] == cells.TELLING
    assert next_one["auroc_macro"] == round(next_one["auroc_macro"], 2)
    assert all(label["positives"] is None for label in next_one["labels"].values())
    assert many["images"] == 251


def test_ten_patients_are_shown():
    made = sample(n=100, patients=100)
    made = replace(made, patients=np.arange(100).astype(str))
    texts = np.array(["a"] * 10 + ["b"] * 90)

    groups = asked(with_column(made, texts), "site")["columns"]["site"]["groups"]

    assert [group["images"] for group in groups] == [10, 90]


def test_finding_of_few_patients_has_no_figures_and_no_count_that_follows_from_another():
    made = sample(n=400, patients=400)
    made = replace(made, patients=np.arange(400).astype(str), mask=np.ones((400, 3), bool))
    truth = made.truth.copy()
    truth[:, 0] = 0
    truth[:4, 0] = truth[200:260, 0] = 1
    texts = np.array(["a"] * 200 + ["b"] * 200)

    a, b = asked(with_column(replace(made, truth=truth), texts), "site")["columns"]["site"][
        "groups"
    ]

    assert a["images"] == b["images"] == 200
    assert a["labels"]["Edema"]["positives"] is None
    assert a["labels"]["Edema"]["auroc"] is None
    assert a["labels"]["Edema"]["reason"] == cells.FEW_EITHER
    assert b["labels"]["Edema"]["positives"] is None
    assert b["labels"]["Edema"]["auroc"] is not None
    assert a["findings"] == ["Pneumonia"]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_no_small_size_follows_from_the_others(sizes):
    groups = [np.arange(n) + 1000 * k for k, n in enumerate(sizes)]

    said = cells.withheld(groups)

    for n, why in zip(sizes, said, strict=True):
        assert why == cells.FEW if 0 < n < 10 else why != cells.FEW
    hidden = [n for n, why in zip(sizes, said, strict=True) if why]
    # what can be had by subtraction is their sum alone
    assert not hidden or len(hidden) == len(sizes) or (len(hidden) > 1 and sum(hidden) >= 10)


def test_all_over_89_are_one_band_after_the_others():
    groups = asked(sample(n=900, patients=800), "age")["columns"]["age"]["groups"]

    assert [group["value"] for group in groups] == [
        "0–17", "18–39", "40–59", "60–79", "80–89", "over 89",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["x"] * 400, "site is x in all"),
        ([""] * 400, "site is not known of any"),
        ([str(k) for k in range(400)], "site has 400 values, and at most 20"),
    ],
)
def test_column_that_divides_nothing_is_told_in_a_sentence(texts, said):
    answer = asked(with_column(sample(), texts), "site")

    assert answer["columns"]["site"]["said"].startswith(said)
    assert answer["columns"]["site"]["groups"] == []
    assert answer["worst"] == {"auroc_macro": None, "sensitivity": None}


def test_column_that_is_not_there_is_told_too():
    assert asked(sample(), "scanner")["columns"]["scanner"]["said"] == "there is no column scanner"


def test_what_is_not_known_is_a_group_of_its_own_and_last():
    texts = np.where(np.arange(400) % 3 == 0, "", "z")

    groups = asked(with_column(sample(), texts), "site")["columns"]["site"]["groups"]

    assert [group["value"] for group in groups] == ["z", "not known"]


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_any_sample_gives_plain_json(seed, n):
    made = sample(n=n, patients=max(1, n // 2), seed=seed)

    said = asked(made, "sex", "age", "view", draws=5)

    assert json.loads(json.dumps(said, allow_nan=False)) == said


def one_site_with_few_positives():
    """Give 400 patients at sites a and b; four of 64 with Edema are at a."""
    made = sample(n=400, patients=400)
    truth = made.truth.copy()
    truth[:, 0] = 0
    truth[:7, 0] = truth[200:260, 0] = 1
    whole = np.ones((400, 3), bool)
    made = replace(made, patients=np.arange(400).astype(str), truth=truth, mask=whole)
    return with_column(made, ["a"] * 200 + ["b"] * 200)


def test_mean_of_one_withheld_finding_is_withheld_with_it():
    a, b = asked(one_site_with_few_positives(), "site", averaged=["Edema"])["columns"]["site"][
        "groups"
    ]

    assert a["labels"]["Edema"]["auroc"] is None
    assert (a["findings"], a["auroc_macro"], a["auroc_macro_ci"]) == ([], None, None)
    assert b["auroc_macro"] == b["labels"]["Edema"]["auroc"]


def test_mean_and_gap_over_a_withheld_finding_have_two_digits():
    answer = asked(one_site_with_few_positives(), "site")

    a, b = answer["columns"]["site"]["groups"]
    gap = answer["worst"]["auroc_macro"]
    assert a["findings"] == ["Edema", "Pneumonia"]
    for figure in (a["auroc_macro"], b["auroc_macro"], gap["difference"], *gap["ci"]):
        assert figure == round(figure, 2)
    assert a["labels"]["Pneumonia"]["auroc"] != round(a["labels"]["Pneumonia"]["auroc"], 2)


def test_certain_gap_is_named_beside_a_larger_one_of_few():
    made = sample(n=3000, patients=3000)
    rng = np.random.default_rng(4)
    worse = rng.random(3000) < 0.5
    few = np.arange(3000) < 30
    guessed = made.probabilities.copy()
    shaken = worse & (rng.random(3000) < 0.4)
    guessed[shaken] = rng.random((shaken.sum(), 3)).round(6)
    guessed[few] = rng.random((30, 3)).round(6)
    made = replace(
        made, probabilities=guessed,
        columns={"site": np.where(few, "x", "y"), "machine": np.where(worse, "old", "new")},
    )  # fmt: skip

    area = asked(made, "site", "machine")["worst"]["auroc_macro"]

    assert (area["column"], area["worse"]) == ("site", "x")
    assert (area["surest"]["column"], area["surest"]["worse"]) == ("machine", "old")
    assert area["surest"]["difference"] < area["difference"]
    assert area["surest"]["by_chance"] < area["by_chance"]


def test_a_value_of_few_patients_stands_nowhere_but_a_sex_a_view_or_a_band_of_age():
    made = sample(n=300, patients=300)
    made = replace(made, patients=np.arange(300).astype(str))
    texts = np.array([*(f"MRN-{k}" for k in range(12)), *["north"] * 200, *["south"] * 88])
    rare = np.array(["O"] * 3 + ["F"] * 200 + ["M"] * 97)
    made = replace(made, columns={"site": texts, "sex": rare})

    said = asked(made, "site", "sex")["columns"]

    assert [group["value"] for group in said["site"]["groups"]] == ["north", "other", "south"]
    together = said["site"]["groups"][1]
    assert (together["patients"], together["withheld"]) == (12, None)
    assert "MRN-" not in json.dumps(said)
    assert [(g["value"], g["withheld"] == cells.FEW) for g in said["sex"]["groups"]] == [
        ("F", False), ("M", False), ("O", True),
    ]  # fmt: skip


@pytest.mark.parametrize("texts", [["MRN-1"] * 9, [f"MRN-{k}" for k in range(9)]])
def test_a_column_that_few_patients_fill_is_not_quoted(texts):
    made = sample(n=9, patients=9)

    answer = asked(with_column(made, texts), "site", draws=5)

    assert answer["columns"]["site"] == {
        "said": "site has no value that 10 patients have", "groups": [],
    }  # fmt: skip
