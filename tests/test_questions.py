"""An evaluation asks its questions of the right images, and leaves out what was not asked."""

import html
from dataclasses import replace

import numpy as np
import pytest
from test_evaluation import material
from test_fit import NET
from test_predictor import RECORD

from cxr.learning import evaluation
from cxr.learning.evaluation import headers, questions
from cxr.learning.evaluation.columns import Columns
from cxr.learning.evaluation.scene import OUT_OF_FOLD, Settings
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor


@pytest.fixture(scope="module")
def predictor():
    return Predictor(RECORD, build_net(NET, 3), "cpu")


@pytest.fixture(scope="module")
def given():
    made = material(160)
    instances = tuple(
        replace(
            i, view_position="AP" if k % 3 else "PA", sex="F" if k % 5 > 1 else "M",
            age_years=20.0 + k % 70,
        )
        for k, i in enumerate(made.cohort.instances)
    )  # fmt: skip
    return replace(made, cohort=replace(made.cohort, instances=instances))


SPLITS = np.array(["train"] * 80 + ["test"] * 80)


def scored(root, predictor, given, *, settings=None, split="test", elsewhere=None, splits=SPLITS):
    context = evaluation.context(
        root, given, job="ward", config_yaml="", warnings=[], policies={}, pictures=False,
        draws=20, seed=0, settings=settings or Settings(), splits=splits,
    )  # fmt: skip
    context = replace(context, elsewhere=elsewhere)
    chosen = np.arange(80, 160)
    made = evaluation.evaluate(root / "out", predictor, given, chosen, split, context)
    return made.scored, made.report.read_text()


def test_every_question_is_answered_and_shown(tmp_path, predictor, given):
    said, page = scored(tmp_path, predictor, given)

    assert [group["value"] for group in said["subgroups"]["columns"]["sex"]["groups"]] == ["F", "M"]
    assert said["within_view"]["views"].keys() == {"AP", "PA"}
    assert said["metadata_only"]["trained_images"] == 80
    assert said["probe"]["trained_images"] == 80
    assert said["probe"]["columns"]["view"]["auroc"] is not None
    assert "readers" not in said
    for heading in ("Subgroups", "Within one view", "Without looking", "What the net knows"):
        assert heading in page
    assert sorted(path.name for path in (tmp_path / "out" / "figures").glob("sub*")) == [
        "subgroups.svg"
    ]


def test_shortcuts_and_subgroups_are_left_out_where_they_are_not_asked(tmp_path, predictor, given):
    said, _ = scored(tmp_path, predictor, given, settings=Settings(shortcuts=False, subgroups=()))

    assert {"metadata_only", "probe", "subgroups"}.isdisjoint(said)
    assert "within_view" in said


def test_out_of_fold_metadata_are_fitted_on_the_other_patients_in_turn(tmp_path, predictor, given):
    said, page = scored(tmp_path, predictor, given, split=OUT_OF_FOLD, splits=None)

    assert said["metadata_only"]["reason"] is None
    assert said["metadata_only"]["fitted_on"] in " ".join(page.split())
    assert said["probe"]["reason"] == "each image was trained on by some members"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_metadata_of_patients_are_fitted_on_patients(tmp_path, predictor, given, elsewhere):
    settings, splits, told = Settings(unit="patient"), SPLITS, None
    if elsewhere:
        known = dict(zip(given.sop_instance_uids, SPLITS, strict=True))
        told = headers.trained_among(given.cohort, known, RECORD, Columns(), "patient")
        splits = None

    said, _ = scored(
        tmp_path, predictor, given, settings=settings, splits=splits, elsewhere=told,
        split="external" if elsewhere else "test",
    )  # fmt: skip

    alone = said["metadata_only"]
    assert alone["trained_images"] == len(set(given.patient_ids[:80])) == 40
    assert alone["fitted_on"] == "the 40 patients this run was trained on"


def test_on_another_job_metadata_are_fitted_where_the_run_was_trained(tmp_path, predictor, given):
    splits = {e.sop_instance_uid: s for e, s in zip(given.cohort.examples, SPLITS, strict=True)}
    told = headers.trained_among(given.cohort, splits, RECORD, Columns())

    said, known = scored(tmp_path, predictor, given, split="external", splits=None, elsewhere=told)
    gone, page = scored(tmp_path, predictor, given, split="external", splits=None)

    assert said["metadata_only"]["trained_images"] == 80
    assert said["probe"]["reason"] == questions.NOT_DECODED
    assert "ask the run's own job" in html.unescape(known)
    assert gone["probe"]["reason"].endswith("not at hand")
    assert gone["metadata_only"]["reason"].endswith("not at hand")
    assert "is not known here" in page
