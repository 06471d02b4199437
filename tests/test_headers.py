"""What a run was trained on is found again by headers alone, or said to be gone."""

import dataclasses

import numpy as np
import pytest
from test_comparisons import NAMES, cohort
from test_evaluation import material
from test_examples import Shelf, line, written
from test_predictor import RECORD

from cxr.contract.labels import LabelSet, State
from cxr.errors import DataError
from cxr.learning import folds
from cxr.learning.evaluation import headers, sampling
from cxr.learning.evaluation.columns import Columns
from cxr.learning.targets import Policy

NAMES_THERE = ("Pleural Thickening", "Nodule", "Effusion")


def test_labels_are_found_by_name_and_those_not_asked_are_masked():
    given = cohort()

    known = headers.truth(given, [Policy()], ("Mass", "Nodule", "edema"))

    mass = [example.states[1] is State.PRESENT for example in given.examples]
    assert known.values[:, 0].tolist() == mass
    assert known.mask.all(axis=0).tolist() == [True, False, True]


def test_a_silent_parent_is_true_where_both_policies_complete_it_and_unknown_where_one_does():
    given = cohort()
    family = dataclasses.replace(given.labels, parents={"Mass": ("Edema",)})
    said = (State.PRESENT, State.NOT_MENTIONED, State.ABSENT)
    examples = tuple(dataclasses.replace(e, states=said) for e in given.examples)
    given = dataclasses.replace(given, labels=family, examples=examples)
    plain, literal = Policy(), Policy(consistent=False)

    both = headers.truth(given, [plain, plain], ("Mass", "Edema"))
    one = headers.truth(given, [literal, plain], ("Mass", "Edema"))

    assert (both.values == 1).all()
    assert both.mask.all()
    assert one.mask.all(axis=0).tolist() == [False, True]
    assert not one.mask[:, 0].any()


def test_evaluate_and_compare_find_a_runs_labels_in_a_job_by_the_same_rule():
    given = material(6)
    labels = LabelSet("theirs", NAMES_THERE, aliases={"Pleural Effusion": "Effusion"})
    given = dataclasses.replace(given, cohort=dataclasses.replace(given.cohort, labels=labels))
    names = ("effusion", "Pleural_Thickening", "Hernia")
    asked = dataclasses.replace(RECORD, label_names=names)

    aligned = sampling.align(given, asked)

    known = headers.truth(given.cohort, [Policy()], names)
    assert (aligned.truth[:, :2] == given.truth[:, [2, 0]]).all()
    assert (aligned.mask == known.mask).all()
    assert known.mask.all(axis=0).tolist() == [True, True, False]
    with pytest.raises(DataError, match=r"expected labels of the run .*met a job with"):
        sampling.align(given, dataclasses.replace(RECORD, label_names=("Hernia", "Mass", "Edema")))


def test_sample_has_what_the_headers_say():
    given = cohort()
    known = headers.truth(given, [Policy()], NAMES)

    said = headers.sample(given, known, NAMES, [5, 2])

    assert said.columns["view"].tolist() == ["AP", "PA"]
    assert said.ages.tolist() == [given.instances[k].age_years for k in (5, 2)]
    assert np.isnan(said.probabilities).all()
    assert not any("PATIENT" in one for one in said.patients)


def trained_on(root, splits):
    """What a run of job `ward` was trained on, six images of which are in the PACS."""
    uids = [f"1.2.{k}" for k in range(6)]
    folds.save(root / "split.csv", uids, splits)
    record = dataclasses.replace(
        RECORD, job="ward", label_names=("No Finding", "Edema"),
        settings={"data.attribute": "chest"},
    )  # fmt: skip
    return headers.trained_on(root, root, record, Shelf(*uids), Columns())


def test_images_trained_on_are_found_again_where_their_job_is(tmp_path):
    place = tmp_path / "jobs" / "ward" / "manifests" / "output"
    place.mkdir(parents=True)
    states = [("present", "absent"), ("absent", "present")]
    written(place, *(line(f"1.2.{k}", states[k % 2]) for k in range(6)))

    said = trained_on(tmp_path, ["train", "train", "test", "val", "train", "train"])

    assert said.names == ("No Finding", "Edema")
    assert said.truth[:, 1].tolist() == [1, 0, 1, 0]
    assert said.columns["sex"].tolist() == ["F"] * 4
    assert trained_on(tmp_path, ["test"] * 6) is None


def test_images_trained_on_are_gone_with_their_job(tmp_path):
    assert trained_on(tmp_path, ["train"] * 6) is None
