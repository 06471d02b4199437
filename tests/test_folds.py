"""Splits are made of patients, alike in findings, and the same every time."""

import csv
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import DataError
from cxr.learning import folds


def made(patients=100, images=300, labels=6, seed=0):
    rng = np.random.default_rng(seed)
    ids = [f"P{n:03}" for n in rng.integers(patients, size=images)]
    targets = (rng.random((images, labels)) < np.linspace(0.05, 0.4, labels)).astype(np.float32)
    return ids, targets, np.ones(targets.shape, bool)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(3, 6),
    st.data(),
    st.sampled_from(["fold", "list", "none"]),
)
def test_patients_never_straddle_splits(seed, count, data, test):
    ids, targets, mask = made(patients=20, images=60, labels=3, seed=seed)
    fold = data.draw(st.integers(0, count - 1))

    splits = folds.split(
        ids, targets, mask, folds=count, fold=fold, test=test, test_patients=ids[:4], seed=seed
    )

    folds.check_leaks(splits, ids, [f"study of {p}" for p in ids])
    assert set(splits) == ({"train", "val"} if test == "none" else {"train", "val", "test"})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_row_order_does_not_matter(seed):
    ids, targets, mask = made(patients=30, images=60, labels=3)
    order = np.random.default_rng(seed).permutation(len(ids))

    straight = folds.split(ids, targets, mask)
    shuffled = folds.split([ids[i] for i in order], targets[order], mask[order])

    assert (shuffled == straight[order]).all()


def test_another_seed_gives_other_folds():
    ids, targets, mask = made()

    assert (folds.split(ids, targets, mask, seed=1) != folds.split(ids, targets, mask)).any()


def test_every_patient_is_tested_once_over_all_folds():
    ids, targets, mask = made()

    tested = [folds.split(ids, targets, mask, fold=k) == "test" for k in range(5)]

    assert (np.sum(tested, axis=0) == 1).all()


def test_val_of_one_fold_is_test_of_the_next():
    ids, targets, mask = made()

    first, second = (folds.split(ids, targets, mask, fold=k) for k in (4, 0))

    assert ((first == "val") == (second == "test")).all()


def test_findings_are_shared_out_evenly_among_patients():
    ids, targets, mask = made(patients=1000, images=1000)

    had = {p: targets[[i for i, q in enumerate(ids) if q == p]].max(axis=0) for p in set(ids)}
    splits = dict(zip(ids, folds.split(ids, targets, mask), strict=True))
    shares = {
        name: np.mean([had[p] for p in had if splits[p] == name], axis=0)
        for name in ("train", "test")
    }

    assert np.abs(shares["train"] - shares["test"]).max() < 0.02


def test_listed_patients_are_the_test_split():
    ids, targets, mask = made()

    splits = folds.split(ids, targets, mask, test="list", test_patients=["P001", "not here"])

    assert {p for p, s in zip(ids, splits, strict=True) if s == "test"} == {"P001"}


def test_one_label_and_patients_without_any_finding_can_be_split():
    ids, targets, mask = made(labels=1)

    splits = folds.split(ids, targets * 0, mask)

    assert set(splits) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 2}, "at least 3 folds .* met folds=2 fold=0"),
        ({"fold": 5}, "a fold from 0 to folds - 1, met folds=5 fold=5"),
        ({"folds": 500}, "at least 500 patients for 500 folds, met"),
        (
            {"test": "list", "test_patients": ["X"]},
            "data.test_list: expected PatientIDs of this data, one a line, met none",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        folds.split(*made(), **given)


@pytest.mark.parametrize(
    ("patients", "studies", "pixels", "what"),
    [
        (["A", "A"], ["1", "2"], None, "patient"),
        (["A", "B"], ["1", "1"], None, "study"),
        (["A", "B"], ["1", "2"], ["x", "x"], "picture"),
    ],
)
def test_leaks_are_refused_with_both_sides_under_pseudonyms(patients, studies, pixels, what):
    pseudonyms = {"A": "aaaa", "B": "bbbb", "9.1": "1111", "9.2": "2222"}

    with pytest.raises(DataError, match=r"^leak: 1 of 1 \w+ are in two splits: ") as met:
        folds.check_leaks(
            ["train", "test"], patients, studies, pixels,
            sop_instance_uids=["9.1", "9.2"], pseudonym=pseudonyms.__getitem__,
        )  # fmt: skip

    first, second = (pseudonyms[patient] for patient in patients)
    told = f"image 2222 of patient {second} in test and image 1111 of patient {first} in train; "
    assert told in str(met.value)
    assert str(met.value).startswith(f"leak: 1 of 1 {what[:4]}")


def test_several_leaks_are_named_and_a_table_for_the_user_alone_tells_which_images(tmp_path):
    patients = [p for k in range(5) for p in (f"=P{k}", f"=P{k}")]
    images = [f"9.{k}" for k in range(10)]
    table = tmp_path / "leaks" / "run.csv"

    with pytest.raises(DataError, match="leak: 5 of 5 patients") as met:
        folds.check_leaks(
            ["train", "val"] * 5, patients, [""] * 10, [*"abcdefgh", "x", "x"],
            sop_instance_uids=images, pseudonym=lambda name: f"<{name}>", table=table,
        )  # fmt: skip

    assert str(met.value).count("<9.") == 6
    assert "; and 2 more; " in str(met.value)
    assert str(met.value).endswith(
        f"{table} says which images these are; give each patient one split in the table of "
        "data.split"
    )
    rows = list(csv.DictReader(table.open(newline="")))
    assert [row["shared"] for row in rows] == ["patient"] * 10 + ["picture"] * 2
    assert [row["sop_instance_uid"] for row in rows] == [*images, *images[8:]]
    assert rows[3] == {
        "shared": "patient", "split": "val", "patient": "<=P1>", "image": "<9.3>",
        "patient_id": "'=P1", "study_instance_uid": "", "sop_instance_uid": "9.3",
    }  # fmt: skip
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert stat.S_IMODE(table.parent.stat().st_mode) == 0o700


def test_splits_come_back_from_their_file(tmp_path):
    folds.save(tmp_path / "split.csv", ["1.2", "1.3"], np.array(["train", "val"]))

    assert folds.load(tmp_path / "split.csv") == {"1.2": "train", "1.3": "val"}


def test_a_split_file_of_another_form_is_refused(tmp_path):
    (tmp_path / "split.csv").write_text("sop_instance_uid,split\n1.2,training\n")

    with pytest.raises(DataError, match="expected train, val or test, met 'training'"):
        folds.load(tmp_path / "split.csv")
    with pytest.raises(DataError, match="expected columns sop_instance_uid and split"):
        folds.load(tmp_path / "absent.csv")
    (tmp_path / "split.csv").write_text("sop_instance_uid,split\n1.2,train\n1.2,test\n")
    with pytest.raises(DataError, match="expected each image once, met 1 again"):
        folds.load(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_text("Überblähung\n", encoding="latin-1")
    with pytest.raises(DataError, match="expected columns sop_instance_uid and split"):
        folds.load(tmp_path / "split.csv")


def test_a_split_file_that_a_spreadsheet_saved_is_read(tmp_path):
    text = "sop_instance_uid,split\r\n1.2,train\r\n"
    (tmp_path / "split.csv").write_text(text, encoding="utf-8-sig")

    assert folds.load(tmp_path / "split.csv") == {"1.2": "train"}
