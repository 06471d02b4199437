"""An ensemble is scored by those that never saw a patient, and never flatters in silence."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from test_evaluation import material
from test_fit import NAMES, NET
from test_predictor import RECORD

from cxr import config, schema
from cxr.errors import DataError, RunError
from cxr.learning import ensembling, evaluation, folds, predictor, served, withdrawal
from cxr.learning.evaluation import saliency, shortcuts
from cxr.learning.evaluation.scene import Settings
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor
from cxr.pacs.withdrawn import Images

READY = material(60)
UIDS = READY.sop_instance_uids
FOLD = np.arange(60) // 2 % 3  # two images a patient


def run(runs, name, fold=0, *, seed=1, splits=None, **changed):
    """A finished run that holds one fold out."""
    folder = runs / name
    given = {"name": name, "examples_sha256": READY.sha256} | changed
    predictor.save_run(folder, dataclasses.replace(RECORD, **given))
    net = build_net(NET, len(NAMES), seed=seed)
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state}, folder / "best.ckpt")
    if splits is None:
        splits = np.where(fold == FOLD, "test", np.where((fold + 1) % 3 == FOLD, "val", "train"))
    folds.save(folder / "split.csv", UIDS, splits)
    return folder


@pytest.fixture
def runs(tmp_path):
    for fold in range(3):
        run(tmp_path / "runs", f"cv-{fold}", fold, seed=fold)
    return tmp_path / "runs"


def logits(folder, rows):
    return Predictor.load(folder, "cpu").logits(READY.gather(rows))


def test_each_image_is_scored_by_the_run_that_never_saw_its_patient(runs):
    members = ensembling.members(ensembling.find(runs, ["cv"]))

    held = ensembling.held(members, READY)

    assert held.rows.tolist() == list(range(60))
    for fold in range(3):
        rows = np.flatnonzero(fold == FOLD)
        assert np.abs(held.logits[rows] - logits(runs / f"cv-{fold}", rows)).max() < 1e-6
    assert ensembling.of_folds(members)
    assert (held.split, held.tuned_on) == ("out-of-fold", "out-of-fold")
    assert held.warnings == [ensembling.TUNED, ensembling.ANOTHER]
    assert (held.by == (FOLD[:, None] == np.arange(3))).all()


def test_runs_on_one_fold_are_averaged_first(runs):
    run(runs, "again", 1, seed=7)
    names = ["cv-0", "cv-1", "again", "cv-2"]

    held = ensembling.held(ensembling.members(ensembling.find(runs, names)), READY)

    rows = np.flatnonzero(FOLD == 1)
    both = (logits(runs / "cv-1", rows) + logits(runs / "again", rows)) / 2
    assert np.abs(held.logits[rows] - both).max() < 1e-6
    rows = np.flatnonzero(FOLD == 2)
    assert np.abs(held.logits[rows] - logits(runs / "cv-2", rows)).max() < 1e-6


def test_seeds_on_one_fold_are_scored_on_its_test_and_tuned_on_its_val(runs):
    run(runs, "again", 0, seed=7)

    held = ensembling.held(ensembling.members(ensembling.find(runs, ["cv-0", "again"])), READY)

    assert held.rows.tolist() == np.flatnonzero(FOLD == 0).tolist()
    assert held.tuned.rows.tolist() == np.flatnonzero(FOLD == 1).tolist()
    assert held.by.all()
    assert (held.split, held.tuned_on, held.warnings) == ("test", "val", [])


def test_members_tuned_on_other_val_images_say_that_their_mean_is_another_model(runs):
    run(runs, "again", 0, seed=7, splits=np.array(["test", "train", "val"])[FOLD])

    held = ensembling.held(ensembling.members(ensembling.find(runs, ["cv-0", "again"])), READY)

    assert held.tuned.rows.tolist() == np.flatnonzero(FOLD > 0).tolist()
    assert held.warnings == [ensembling.ANOTHER]


def test_maps_and_pointing_are_of_the_members_that_held_an_image_out(runs, tmp_path):
    members = ensembling.members(ensembling.find(runs, ["cv"]))
    held = ensembling.held(members, READY)
    nets = [Predictor.load(m.folder, "cpu").net for m in members]
    asked = Predictor(RECORD, nets, "cpu")
    pairs = [(row, 0) for row in range(6)]

    found = list(saliency.maps(asked, READY, pairs, held.by[:6]))

    for row, one in enumerate(found):
        image = asked.inputs(READY.gather(np.array([row])))
        alone = saliency.grad_cam(nets[FOLD[row]], image, 0)[0]
        np.testing.assert_allclose(one, alone, rtol=1e-4, atol=1e-9)
    both = np.array([[True, False, True]])
    (one,) = saliency.maps(asked, READY, pairs[:1], both)
    image = asked.inputs(READY.gather(np.array([0])))
    expected = np.mean([saliency.grad_cam(nets[k], image, 0)[0] for k in (0, 2)], axis=0)
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-9)


def made(runs, names, settings):
    members = ensembling.members(ensembling.find(runs, names))
    held = ensembling.held(members, READY)
    place = runs / "all"
    place.mkdir()
    record = dataclasses.replace(
        RECORD, name="all", examples_sha256=READY.sha256, **ensembling.keep(place, members)
    )
    asked = Predictor(record, [Predictor.load(m.folder).net for m in members], "cpu")
    ensembling.tune(asked, READY, held, settings, calibrate=True)
    predictor.save_run(place, asked.record)
    return place, held, asked


def test_an_ensemble_is_a_run_that_averages_its_members_logits(runs):
    place, held, asked = made(runs, ["cv"], Settings(calibration="platt"))
    shutil.rmtree(runs / "cv-1")

    loaded = Predictor.load(place, "cpu")

    assert loaded.record == asked.record
    assert loaded.record.members == ("cv-0", "cv-1", "cv-2")
    rows = np.arange(5)
    each = [logits(place / "members" / name, rows) for name in loaded.record.members]
    assert np.abs(loaded.logits(READY.gather(rows)) - np.mean(each, axis=0)).max() < 1e-6
    assert set(loaded.record.calibration) == set(NAMES)
    # read again from its folder, for an evaluation of its own job
    again = ensembling.held(ensembling.inside(place, loaded.record), READY)
    assert np.array_equal(again.logits, held.logits)


def test_thresholds_are_those_of_the_pooled_predictions(runs):
    _, held, asked = made(runs, ["cv"], Settings())

    chosen = asked.record.thresholds

    p = 1 / (1 + np.exp(-held.logits))
    for k, name in enumerate(NAMES):
        y, t = READY.truth[:, k] == 1, chosen[name]["threshold"]
        assert (chosen[name]["split"], chosen[name]["positives"]) == ("out-of-fold", int(y.sum()))
        if t is not None:
            gains = [(p[y, k] > c).mean() - (p[~y, k] > c).mean() for c in (t, *p[:, k])]
            assert gains[0] == pytest.approx(max(gains))
    assert any(chosen[name]["threshold"] is not None for name in NAMES)


def test_an_ensemble_says_of_each_image_the_most_that_a_member_made_of_it(runs):
    place, _, asked = made(runs, ["cv"], Settings())

    assert set(folds.load(place / "split.csv").values()) == {"train"}
    assert asked.record.counts == {"train": 60, "val": 0, "test": 0}
    run(runs, "again", 0, seed=7)
    shutil.rmtree(place)
    _, _, asked = made(runs, ["cv-0", "again"], Settings())
    assert asked.record.counts == {"train": 20, "val": 20, "test": 20}


def test_an_evaluation_takes_what_is_known_already(runs, tmp_path):
    place, held, asked = made(runs, ["cv"], Settings(calibration="temperature"))
    context = evaluation.context(
        tmp_path, READY, job="ward", config_yaml="", warnings=held.warnings, policies={},
        pictures=False, draws=20, seed=0,
    )  # fmt: skip

    evaluated = evaluation.evaluate(
        place, asked, READY, held.rows, held.split, context, logits=held.logits
    )

    with evaluated.predictions.open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == UIDS
    expected = asked.probabilities(held.logits)
    assert np.abs(np.array([r[1:] for r in rows[1:]], float) - expected).max() < 1e-5
    scored = json.loads((place / "metrics.json").read_text())
    assert scored["split"] == "out-of-fold"
    assert scored["metadata_only"]["reason"] != shortcuts.NOT_AT_HAND
    assert "flatter" in evaluated.report.read_text()


def test_what_serves_an_ensemble_is_given_its_members(runs, tmp_path):
    place, _, asked = made(runs, ["cv"], Settings())
    (tmp_path / "served").mkdir()

    served.gather(place, tmp_path / "served")

    images = READY.gather(np.arange(3))
    given = served._load_pyfunc(str(tmp_path / "served")).predict(images)
    assert np.abs(given - asked.predict(images)).max() < 1e-6
    assert not list((tmp_path / "served").rglob("split.csv"))


def test_a_patient_who_withdraws_is_named_by_no_member(runs):
    place, _, _ = made(runs, ["cv"], Settings())
    images = Images("mark", READY.cohort.instances[:2])

    withdrawal.remove(runs.parent, images, lambda uid: f"{UIDS.index(uid):032x}")

    for table in [place / "split.csv", *place.glob("members/*/split.csv")]:
        lines = table.read_text().splitlines()
        assert len(lines) == 61
        assert not any(line.startswith((f"{UIDS[0]},", f"{UIDS[1]},")) for line in lines)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_names": ("A", "B", "C")}, "'cv-0' and 'odd' were trained with other labels"),
        ({"image_size": (8, 8)}, "with other image sizes"),
        ({"preset": "mimic_jpg"}, "with other presets"),
        ({"job": "elsewhere"}, "with other jobs"),
        ({"examples_sha256": "c" * 64}, "with other images or labels"),
        ({"standardize": True}, "with other data.standardize"),
        ({"policy": {"consistent": False}}, "with other targets.consistent"),
        ({"members": ("a", "b")}, "'odd' is an ensemble itself; name its runs instead"),
        ({"splits": np.where(FOLD == 0, "val", "train")}, "'odd' held no image out"),
        (
            {"splits": np.where(np.arange(60) < 10, "test", "train")},
            "test on images of which some are the same; divide both alike",
        ),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(runs, changed, message):
    run(runs, "odd", **changed)

    with pytest.raises(RunError, match=message):
        ensembling.members(ensembling.find(runs, ["cv-0", "odd"]))


def test_a_run_that_did_not_finish_is_refused(runs):
    (runs / "cv-1" / "best.ckpt").unlink()

    with pytest.raises(RunError, match="'cv-1' did not finish; resume it first"):
        ensembling.members(ensembling.find(runs, ["cv"]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cv-0"], "expected at least two runs, each once, met cv-0"),
        (["cv-0", "cv-0"], "expected at least two runs, each once, met cv-0, cv-0"),
        (["cv", "cv-2"], "each once, met cv-0, cv-1, cv-2, cv-2"),
        (["c"], "no run and no sweep called 'c' in .*; there are cv-0, cv-1, cv-2$"),
    ],
)
def test_names_that_are_no_runs_are_refused(runs, names, message):
    run(runs, "failed")
    (runs / "failed" / "best.ckpt").unlink()  # is not among those one may choose

    with pytest.raises(RunError, match=message):
        ensembling.find(runs, names)


def test_a_sweep_is_taken_in_the_order_of_its_trials(runs):
    for k in (10, 9):
        run(runs, f"cv-{k}")
    run(runs, "cv-extra")
    run(runs, "cv-x-1")

    found = ensembling.find(runs, ["cv"])

    assert [p.name for p in found] == ["cv-0", "cv-1", "cv-2", "cv-9", "cv-10"]


def test_labels_that_changed_since_are_refused(runs):
    members = ensembling.members(ensembling.find(runs, ["cv"]))
    other = dataclasses.replace(READY, truth=1 - READY.truth)

    with pytest.raises(RunError, match="images or labels changed since its runs were trained"):
        ensembling.held(members, other)


def test_a_patient_on_both_sides_of_a_member_is_a_leak(runs):
    splits = np.where(FOLD == 0, "test", "train")
    splits[1] = "train"  # the other image of the first patient
    run(runs, "leaky", splits=splits)
    run(runs, "other", splits=np.where(splits == "test", "train", "test"))
    members = ensembling.members(ensembling.find(runs, ["leaky", "other"]))

    with pytest.raises(DataError, match="leak: 1 patients of test are in another split of 'leaky'"):
        ensembling.held(members, READY)


def test_an_ensemble_may_be_asked_where_it_looks_and_shows_the_mean_of_its_members_maps(runs):
    asked = ["runs=[a,b]", "evaluate.saliency=true"]
    _, _, whole = made(runs, ["cv"], Settings())
    pairs = [(0, 0), (1, 0), (1, 1)]

    found = list(saliency.maps(whole, READY, pairs))

    assert config.check(config.compose("ensemble", asked), schema.Ensemble).evaluate.saliency
    each = [
        list(saliency.maps(Predictor.load(runs / f"cv-{fold}", "cpu"), READY, pairs))
        for fold in range(3)
    ]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4, atol=1e-9)
    assert np.max(found) > 0


def test_what_an_ensembles_runs_were_trained_with_is_told_of_each_where_it_differs(runs):
    for fold in range(2):
        run(runs, f"cv-{fold}", fold, settings={"data.fold": str(fold), "seed": "1"})
    place, _, asked = made(runs, ["cv-0", "cv-1"], Settings())

    assert ensembling.trained_with(place, asked.record) == {"data.fold": "0 | 1", "seed": "1"}
    one = predictor.load_run(runs / "cv-1")
    assert ensembling.trained_with(runs / "cv-1", one) == {"data.fold": "1", "seed": "1"}
