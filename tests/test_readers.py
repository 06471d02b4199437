"""Readers are measured against the others, never against themselves, and never named."""

import json
from dataclasses import replace

import numpy as np
import pytest
from radiographs import sample
from sklearn import metrics as sk

from cxr.contract import consolidate, manifest
from cxr.contract.labels import LabelSet, State, to_data_object
from cxr.learning import answers
from cxr.learning.answers import ABSENT, MISSING, PRESENT, UNCERTAIN, Answers
from cxr.learning.evaluation.readers import consensus, readers

SET = LabelSet("few", ("Edema", "Pneumonia"), aliases={"Oedema": "Edema"})


def content(states, skipped=False):
    document = {
        "schema": "cxr-annotation/1", "rois": [], "skipped": skipped,
        "quality": {"usable": not skipped, "reason": "blurred" if skipped else None},
        "findings": [{"label": k, "state": v, "comment": ""} for k, v in states.items()],
    }  # fmt: skip
    return json.dumps({"annotation": json.dumps(document)})


def line(source, by_worker):
    made = consolidate.consolidate(by_worker, SET)
    return {"source": source, **to_data_object(SET), "job": made, "job-metadata": {}}


def panel(n=300, seed=0, wrong=(0.1, 0.2, 0.3)):
    rng = np.random.default_rng(seed + 1000)
    made = sample(n=n, patients=n, seed=seed)
    values = np.full((len(wrong), n, 3), MISSING, np.int8)
    for w, share in enumerate(wrong):
        flipped = rng.random((n, 3)) < share
        values[w] = np.where((made.truth == 1) != flipped, PRESENT, ABSENT)
    return made, Answers(tuple("ABCDE"[: len(wrong)]), values)


def test_reader_is_scored_against_the_agreement_of_the_others():
    made, said = panel()

    found = readers(made, said)["labels"]["Edema"]["A"]

    b, c = said.values[1, :, 0], said.values[2, :, 0]
    rows = b == c
    y, mine = b[rows] == PRESENT, said.values[0, rows, 0] == PRESENT
    assert (found["n"], found["positives"]) == (rows.sum(), y.sum())
    assert found["sensitivity"] == pytest.approx(sk.recall_score(y, mine))
    assert found["specificity"] == pytest.approx(sk.recall_score(y, mine, pos_label=0))
    assert found["sensitivity_ci"][0] < found["sensitivity"] < found["sensitivity_ci"][1]
    p = made.probabilities[rows, 0]
    assert found["model_auroc"] == pytest.approx(sk.roc_auc_score(y, p))
    fpr, tpr, _ = sk.roc_curve(y, p, drop_intermediate=False)
    assert found["model_sensitivity"] == tpr[fpr <= 1 - found["specificity"] + 1e-9].max()


def test_better_reader_is_found_better():
    made, said = panel(n=1000, wrong=(0.02, 0.1, 0.1, 0.1, 0.3))

    found = readers(made, said)["labels"]["Pneumonia"]

    assert found["A"]["sensitivity"] > found["B"]["sensitivity"] > found["E"]["sensitivity"]
    assert found["A"]["specificity"] > found["B"]["specificity"] > found["E"]["specificity"]


def test_doubt_is_left_out_and_counted():
    made, said = panel()
    said.values[0, :50, 0] = UNCERTAIN

    found = readers(made, said)["labels"]["Edema"]["A"]

    agreed = said.values[1, :, 0] == said.values[2, :, 0]
    assert found["uncertain"] == agreed[:50].sum()
    assert found["n"] == agreed[50:].sum()


def test_majority_of_doubt_is_no_consensus_to_measure_by():
    votes = np.array([[UNCERTAIN, PRESENT, PRESENT], [UNCERTAIN, ABSENT, MISSING]], np.int8)

    assert consensus(votes).tolist() == [UNCERTAIN, MISSING, PRESENT]


def test_below_ten_patients_of_a_class_nothing_is_said_of_a_reader():
    made, said = panel()
    said.values[:, 9:, 0] = ABSENT
    said.values[:, :9, 0] = PRESENT

    found = readers(made, said)["labels"]["Edema"]["B"]

    assert found["reason"].startswith("fewer than 10 patients")
    assert {found[k] for k in ("n", "positives", "uncertain", "sensitivity", "model_auroc")} == {
        None
    }


def test_one_reader_alone_is_not_measured():
    made, said = panel(wrong=(0.1,))

    assert readers(made, said) is None


def test_no_finding_is_not_asked_of_readers():
    made, said = panel()

    assert set(readers(made, said)["labels"]) == {"Edema", "Pneumonia"}
    assert set(readers(replace(made, no_finding=None), said)["labels"]) == set(made.names)


def test_answers_are_read_from_the_output_manifest_by_image_and_label(tmp_path):
    yes, no = (
        {"Edema": "present", "Pneumonia": "absent"},
        {"Edema": "absent", "Pneumonia": "uncertain"},
    )
    path = tmp_path / "output.manifest"
    manifest.write(
        path,
        [
            line("b", {"ann": content(yes), "bob": content(no)}),
            line("a", {"ann": content(no), "cy": content({}, skipped=True), "bob": content(yes)}),
            line("elsewhere", {"dora": content(yes)}),
        ],
    )

    said = answers.read(path, ["a", "b", "c"], ["Pneumonia", "Oedema", "Hernia"])

    assert sorted(said.readers) == ["A", "B", "C"]
    by_rows = {tuple(map(tuple, one.tolist())) for one in said.values}
    none = (MISSING,) * 3
    assert by_rows == {
        ((UNCERTAIN, ABSENT, MISSING), (ABSENT, PRESENT, MISSING), none),
        ((ABSENT, PRESENT, MISSING), (UNCERTAIN, ABSENT, MISSING), none),
        (none, none, none),
    }


def test_manifest_without_single_answers_has_no_readers(tmp_path):
    path = tmp_path / "output.manifest"
    value = {"schema": "cxr-consolidated/1", "findings": [{"label": "Edema", "state": "present"}]}
    manifest.write(path, [{"source": "a", "labels": "Edema", "x": value, "x-metadata": {}}])

    said = answers.read(path, ["a"], ["Edema"])

    assert said.readers == ()
    assert said.values.shape == (0, 1, 1)
    assert readers(sample(n=1), said) is None


def test_more_readers_than_letters_have_two(tmp_path):
    path = tmp_path / "output.manifest"
    workers = {f"w{k}": content({"Edema": "absent", "Pneumonia": "absent"}) for k in range(28)}
    manifest.write(path, [line("a", workers)], max_line=None)

    assert answers.read(path, ["a"], ["Edema"]).readers[25:] == ("Z", "AA", "AB")


def test_states_of_the_contract_are_all_read():
    assert set(answers._CODES) == {State.PRESENT, State.ABSENT, State.UNCERTAIN}
