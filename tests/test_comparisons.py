"""Two runs are compared on images both held out, and the page says all that it must."""

import dataclasses
import json
import stat
from xml.etree import ElementTree

import numpy as np
import pytest
from specimens import dicom
from test_predictor import RECORD

from cxr.contract.labels import LabelSet, State
from cxr.errors import DataError, RunError
from cxr.images.dicom import Instance
from cxr.learning import comparison_page, comparisons, folds, predictions
from cxr.learning.examples import Cohort, Example
from cxr.learning.predictor import save_run
from cxr.pacs.folder import FolderPacs

NAMES = ("Edema", "Mass", "No Finding")
SET = LabelSet("few", NAMES, "No Finding")
STATES = (State.ABSENT, State.PRESENT)


def cohort(count=240, patients=160, seed=0):
    rng = np.random.default_rng(seed)
    whose = rng.integers(0, patients, count)
    present = rng.random((count, 2)) < 0.4
    uids = [f"1.2.{k}" for k in range(count)]
    return Cohort(
        SET, "readers", True,
        tuple(
            Example(
                uid, uid, f"PATIENT-{p}", f"1.3.{p}",
                (*(STATES[int(v)] for v in row), STATES[int(not row.any())]),
            )
            for uid, p, row in zip(uids, whose, present, strict=True)
        ),
        tuple(
            Instance(
                f"PATIENT-{p}", f"1.3.{p}", "", uid, view_position="AP" if k % 2 else "PA",
                sex="F" if p % 2 else "M", age_years=float(20 + p % 60),
            )
            for k, (uid, p) in enumerate(zip(uids, whose, strict=True))
        ),
    )  # fmt: skip


def run(folder, name, given, rows, *, skill=1.0, splits=None, names=NAMES, **changed):
    """A run's folder that said something of some images of a job."""
    rng = np.random.default_rng(len(name))
    record = dataclasses.replace(
        RECORD, name=name, label_names=names, no_finding="No Finding", job="ward", **changed
    )
    place = folder / name
    save_run(place, record)
    truth = np.array([[s is State.PRESENT for s in given.examples[k].states] for k in rows])
    noise = rng.normal(size=truth.shape) + skill * (2 * truth - 1)
    order = [NAMES.index(n) if n in NAMES else 0 for n in names]
    predictions.write(
        place / "predictions.csv", [given.examples[k].sop_instance_uid for k in rows], names,
        1 / (1 + np.exp(-noise[:, order])),
    )  # fmt: skip
    if splits is not None:
        uids = [e.sop_instance_uid for e in given.examples]
        folds.save(place / "split.csv", uids, splits)
    return comparisons.load(place, "ward")


def by_patient(given, held_out, role="test"):
    """Split a job: these patients are tested on, the others trained on."""
    return [
        role if int(e.patient_id.partition("-")[2]) in held_out else "train" for e in given.examples
    ]


def rows_of(splits, role="test"):
    return [k for k, split in enumerate(splits) if split == role]


def documents(first, second, given, **changed):
    common = {"unit": "image", "draws": 100, "seed": 1}
    with FolderPacs(first.folder.parent / "pacs") as pacs:
        return comparisons.document(first, second, given, pacs, "ward", **(common | changed))


def paired(first, second, given):
    with FolderPacs(first.folder.parent / "pacs") as pacs:
        return comparisons.pair(first, second, given, pacs)


@pytest.fixture
def given():
    return cohort()


@pytest.fixture
def two(tmp_path, given):
    splits = by_patient(given, range(80))
    return (
        run(tmp_path, "plain", given, rows_of(splits), splits=splits, skill=0.2),
        run(tmp_path, "better", given, rows_of(splits)[::-1], splits=splits, skill=1.5),
    )


def test_runs_with_one_test_split_are_compared_on_all_of_it(two, given):
    said = documents(*two, given)

    assert said["images"] == len(two[0].said.sop_instance_uids)
    assert said["left_out"] == {}
    assert said["macro"]["auroc"]["ci"][0] > 0
    assert said["within_view"]["ci"][0] > 0
    assert said["averaged"] == ["Edema", "Mass"]


def test_rows_are_joined_by_image_whatever_their_order(two, given):
    pair = paired(*two, given)

    for run, sample in zip(two, (pair.first, pair.second), strict=True):
        here = dict(zip(run.said.sop_instance_uids, run.said.probabilities, strict=True))
        uids = [e.sop_instance_uid for e in given.examples if e.sop_instance_uid in here]
        assert (sample.probabilities == np.array([here[uid] for uid in uids])).all()
    assert (pair.first.truth == pair.second.truth).all()


def test_columns_are_joined_by_label(tmp_path, given):
    splits = by_patient(given, range(80))
    first = run(tmp_path, "one", given, rows_of(splits), splits=splits)
    turned = ("No Finding", "Mass", "Edema")
    second = run(tmp_path, "two", given, rows_of(splits), splits=splits, names=turned)

    pair = paired(first, second, given)

    assert pair.second.names == NAMES
    assert (pair.second.probabilities == second.said.probabilities[:, ::-1]).all()
    assert documents(first, second, given)["macro"]["auroc"]["second"] > 0.7


def test_different_test_splits_leave_what_neither_learned_from(tmp_path, given):
    one, other = by_patient(given, range(80)), by_patient(given, range(40, 120))
    first = run(tmp_path, "one", given, rows_of(one), splits=one)
    second = run(tmp_path, "two", given, rows_of(other), splits=other)

    said = documents(first, second, given)

    both = [a == b == "test" for a, b in zip(one, other, strict=True)]
    assert said["images"] == sum(both)
    either = sum("test" in pair for pair in zip(one, other, strict=True))
    assert said["left_out"] == {"only one of the runs predicted it": either - sum(both)}


def test_image_of_a_patient_that_one_learned_from_is_left_out_and_counted(tmp_path, given):
    splits = by_patient(given, range(80))
    leaked = [*splits]
    row = rows_of(splits)[0]
    patient = given.examples[row].patient_id
    leaked[row] = "train"
    first = run(tmp_path, "one", given, rows_of(splits), splits=splits)
    second = run(tmp_path, "two", given, rows_of(splits), splits=leaked)

    said = documents(first, second, given)

    of_patient = sum(given.examples[k].patient_id == patient for k in rows_of(splits))
    assert said["left_out"] == {"one of the runs learned from its patient": of_patient}


def test_on_another_job_patients_are_known_by_any_image_that_a_run_or_one_before_it_saw(
    tmp_path, given
):
    with FolderPacs(tmp_path / "pacs") as pacs:
        for number, patient in enumerate((3, 5, 7)):
            pacs.store(dicom(number, patient=f"PATIENT-{patient}"))
    splits = {
        "one": {"1.2.3.0": "val", "9.9": "train", "1.2.3.2": "test"},
        "two": {"9.8": "test"},
        "before": {"1.2.3.1": "train"},
    }
    for name, split in splits.items():
        began = {"source": "before"} if name == "two" else {}
        run(tmp_path, name, given, range(len(given.examples)), weights=began)
        folds.save(tmp_path / name / "split.csv", list(split), list(split.values()))
    runs = [comparisons.load(tmp_path / name, "ward") for name in ("one", "two")]

    said = documents(*runs, given)

    seen = sum(e.patient_id in ("PATIENT-3", "PATIENT-5") for e in given.examples)
    assert said["left_out"] == {"one of the runs learned from its patient": seen}
    assert said["warnings"] == [
        "1 of 2 images that one learned from are in the PACS no more: whether these patients are "
        "among theirs cannot be told; they are compared"
    ]


def test_image_whose_label_is_gone_is_left_out_and_counted(two, given):
    uid = two[0].said.sop_instance_uids[0]

    said = documents(*two, given.without([uid]))

    assert said["left_out"] == {"without label now, or not in the PACS": 1}


def test_runs_that_share_no_image_are_refused(tmp_path, given):
    one, other = by_patient(given, range(40)), by_patient(given, range(40, 80))
    first = run(tmp_path, "one", given, rows_of(one), splits=one)
    second = run(tmp_path, "two", given, rows_of(other), splits=other)

    with pytest.raises(RunError, match=r"no image was kept from both 'one' and 'two'; train both"):
        paired(first, second, given)


def test_other_labels_are_refused_by_name(tmp_path, given):
    splits = by_patient(given, range(80))
    first = run(tmp_path, "one", given, rows_of(splits), splits=splits)
    second = run(tmp_path, "two", given, rows_of(splits), splits=splits, names=("Edema", "Nodule"))

    with pytest.raises(RunError, match=r"same labels, but 'Mass' is only in 'one'"):
        paired(first, second, given)


def test_runs_of_different_jobs_are_refused(two):
    other = dataclasses.replace(two[1].record, job="clinic")

    with pytest.raises(RunError, match=r"'plain' of 'ward' and 'better' of 'clinic'; score both"):
        comparisons.same_job(two[0].record, other)
    assert comparisons.same_job(two[0].record, two[1].record) == "ward"


def test_run_that_was_not_scored_on_the_job_says_how_to(tmp_path, given, two):
    with pytest.raises(RunError, match=r"cxr.evaluate run=plain data.job=clinic"):
        comparisons.load(tmp_path / "plain", "clinic")
    (tmp_path / "plain" / "predictions.csv").unlink()
    with pytest.raises(RunError, match=r"no predictions of job 'ward'; the run did not finish"):
        comparisons.load(tmp_path / "plain", "ward")


def test_predictions_of_another_job_are_found_where_evaluate_put_them(tmp_path, two):
    place = tmp_path / "plain" / "evaluations" / "clinic"
    place.mkdir(parents=True)
    predictions.write(place / "predictions.csv", ["9.9"], NAMES, np.full((1, 3), 0.5))

    assert comparisons.load(tmp_path / "plain", "clinic").said.sop_instance_uids == ("9.9",)


def test_broken_predictions_are_refused(tmp_path, two):
    (tmp_path / "plain" / "predictions.csv").write_text("a,b\n")

    with pytest.raises(DataError, match="expected sop_instance_uid"):
        comparisons.load(tmp_path / "plain", "ward")


def test_pooled_folds_of_an_ensemble_are_compared_on_every_patient(tmp_path, given):
    splits = by_patient(given, range(80))
    rows = range(len(given.examples))
    first, second = (
        run(tmp_path, name, given, rows, splits=splits, members=("a", "b"), skill=skill)
        for name, skill in (("pool", 0.2), ("other pool", 1.5))
    )

    said = documents(first, second, given)

    assert said["images"] == len(rows)
    assert said["metadata_only"]["auroc_macro"] == pytest.approx(0.5, abs=0.12)
    assert "four fifths" in said["metadata_only"]["fitted_on"]


def test_metadata_are_fitted_on_other_patients(two, given):
    said = documents(*two, given)["metadata_only"]

    others = sum(split == "train" for split in by_patient(given, range(80)))
    assert said["fitted_on"] == f"{others} images of the job's other patients"
    assert said["asked"] == ["view", "age", "sex"]
    assert said["second"]["difference"] > said["first"]["difference"]
    assert said["second"]["ci"][0] > 0


def test_scored_on_val_is_compared_with_a_warning(tmp_path, given):
    splits = by_patient(given, range(80), role="val")
    runs = []
    for name in ("one", "two"):
        run(tmp_path, name, given, rows_of(splits, "val"), splits=splits)
        (tmp_path / name / "metrics.json").write_text('{"split": "val"}')
        runs.append(comparisons.load(tmp_path / name, "ward"))

    said = documents(*runs, given)

    assert said["images"] == splits.count("val")
    assert said["warnings"][0].startswith("one is scored on val, where")


def test_policies_that_differ_leave_what_both_call_known(tmp_path, given):
    splits = by_patient(given, range(80))
    silent = dataclasses.replace(
        given,
        examples=tuple(
            dataclasses.replace(e, states=(State.NOT_MENTIONED, *e.states[1:]))
            if k % 3 == 0 and e.states[2] is State.ABSENT else e
            for k, e in enumerate(given.examples)
        ),
    )  # fmt: skip
    first = run(tmp_path, "one", given, rows_of(splits), splits=splits)
    second = run(
        tmp_path, "two", given, rows_of(splits), splits=splits, policy={"not_mentioned": "ignore"}
    )

    kept = paired(first, second, silent).first.mask[:, 0].sum()

    asked = [silent.examples[k].states[0] for k in rows_of(splits)]
    assert kept == len(asked) - asked.count(State.NOT_MENTIONED) < len(asked)


def test_patients_are_compared_where_they_are_asked_for(two, given):
    said = documents(*two, given, unit="patient")

    assert said["units"] == said["patients"] < said["images"]


def test_no_identifier_is_in_what_is_written(two, given, tmp_path):
    said = documents(*two, given)

    page = comparison_page.write(tmp_path / "out", said)

    for path in (page, page.with_name("comparison.json")):
        text = path.read_text()
        assert "PATIENT-" not in text
        assert not any(e.sop_instance_uid + '"' in text for e in given.examples)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert json.loads(page.with_name("comparison.json").read_text()) == said


def test_page_and_table_say_the_differences(two, given):
    said = documents(*two, given)

    page, text = comparison_page.render(said), comparison_page.text(said)

    gained = f"+{said['macro']['auroc']['difference']:.3f}"
    low, high = said["macro"]["auroc"]["ci"]
    for shown in (page, text):
        assert gained in shown
        assert f"{low:+.3f} to {high:+.3f}" in shown
        assert said["note"] in shown
    assert "within AP, PA" in text
    assert "view, age and sex alone: 0." in text
    figure = comparison_page.draw(said)
    texts = [one.text for one in ElementTree.fromstring(figure).iter() if one.text]
    assert {"Edema", "Mass", "No Finding", "Macro average", "AUROC: better less plain"} <= {*texts}
    assert figure in page


def test_names_of_labels_stay_text(tmp_path, given):
    odd = LabelSet("odd", ("<b>Edema", "Mass", "No Finding"), "No Finding")
    strange = dataclasses.replace(given, labels=odd)
    splits = by_patient(given, range(80))
    runs = [
        run(tmp_path, name, given, rows_of(splits), splits=splits, names=odd.names)
        for name in ("one", "two")
    ]

    page = comparison_page.render(documents(*runs, strange))

    assert "<b>Edema" not in page
    assert "&lt;b&gt;Edema" in page


def test_too_few_patients_still_make_a_page(tmp_path, given):
    splits = by_patient(given, range(4))
    runs = [run(tmp_path, name, given, rows_of(splits), splits=splits) for name in ("one", "two")]

    said = documents(*runs, given)

    assert said["macro"]["auroc"]["ci"] is None
    assert "no finding has enough images of both classes" in comparison_page.render(said)
    assert comparison_page.text(said)
