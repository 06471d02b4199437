"""Whoever decided a split is taken at their word, or asked again."""

import csv
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import DataError
from cxr.learning import divided, folds
from cxr.learning.examples import Example


def example(image, study="", patient="P"):
    return Example(image, "", patient, study, ())


FOUR = [
    example("1.1", "2.1", "10000032"),
    example("1.2", "2.1", "10000032"),
    example("1.3", "2.2", "10000764"),
    example("1.4", "2.3", "10000898"),
]


def damaged(text):
    """A gzip file of which a few bytes in the middle were lost."""
    whole = bytearray(gzip.compress(text.encode()))
    whole[20:40] = b"\xff" * 20
    return bytes(whole)


def written(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_the_split_of_a_run_is_taken(tmp_path):
    roles = ["train", "train", "val", "test"]
    folds.save(tmp_path / "split.csv", [e.sop_instance_uid for e in FOUR], roles)

    assert divided.read(tmp_path / "split.csv", FOUR).tolist() == roles


MIMIC = """dicom_id,study_id,subject_id,split
02aa804e-bde0afdd-112c0b34-7bc16630-4e384014,50414267,10000032,train
174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962,50414267,10000032,train
2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab,53189527,10000764,validate
68b5c4b1-227d0485-9cc38c3f-7b84ab51-4b472714,53911762,10000898,test
096052b7-d256dc40-453a102b-fa7d01c6-1b22c6b4,56699142,10000935,test
"""


@pytest.mark.parametrize("name", ["mimic-cxr-2.0.0-split.csv", "mimic-cxr-2.0.0-split.csv.gz"])
def test_the_split_of_mimic_cxr_is_taken_by_its_patients(tmp_path, name):
    path = tmp_path / name
    (gzip.open if name.endswith("gz") else open)(path, "wt").write(MIMIC)

    assert divided.read(path, FOUR).tolist() == ["train", "train", "val", "test"]


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,split\n10000032,train\n10000764,val\n10000898,test\n",
        "Split,Study_Instance_UID\nTRAIN,2.1\nvalidation,2.2\ntest,2.3\n",
        "\ufeffsplit,site,subject_id\ntrain,a,10000032\nval,b,10000764\n\ntest,,10000898\n",
        # an image of its own row, the rest by patient
        "sop_instance_uid,patient_id,split\n,10000032,train\n1.3,,val\n1.4,10000764,test\n",
    ],
)
def test_tables_by_image_study_or_patient_are_taken(tmp_path, text):
    found = divided.read(written(tmp_path, text), FOUR)

    assert found.tolist() == ["train", "train", "val", "test"]


def test_the_most_particular_column_that_knows_an_image_decides(tmp_path):
    text = "patient_id,sop_instance_uid,split\n10000032,1.1,test\n10000032,1.2,train\n"

    assert divided.read(written(tmp_path, text), FOUR[:2]).tolist() == ["test", "train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "patient_id,split\n10000032,train\n",
            r"says nothing of 2 of 4 images by patient_id; give them a row, leave them out of the "
            "job, or let data.split=null",
        ),
        ("image,split\n1.1,train\n", "columns split and sop_instance_uid or .*, met image, split"),
        ("patient_id,fold\n1,train\n", "columns split and .*, met patient_id, fold"),
        ("", "columns split and .*, met none"),
        ("10000032,Mueller Hans,train\n", "columns split and .*, met 3 others$"),
        ("patient_id,split\n1,train\n2,training\n", "row 3: expected split as train, .*'training'"),
        ("patient_id,split\n1\n", "row 2: expected split as train, .* met ''"),
        (
            "patient_id,split\n10000032,train\n10000032,test\n",
            "row 3: expected one split for each patient_id, met test after train",
        ),
        (
            "dicom_id,subject_id,split\na,10000032,train\nb,10000032,test\nc,10000764,val\n"
            "d,10000898,val\n",
            "puts the patient or study of 2 of 4 images into several splits",
        ),
    ],
)
def test_tables_that_do_not_say_it_are_refused_and_name_nobody(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as met:
        divided.read(written(tmp_path, text), FOUR)

    assert str(met.value).startswith("data.split: ")
    assert "10000032" not in str(met.value)
    assert "Mueller" not in str(met.value)
    assert "\n" not in str(met.value)


@pytest.mark.parametrize("name", ["absent.csv", "picture.csv", "torn.csv.gz", "damaged.csv.gz"])
def test_files_that_are_no_tables_are_refused(tmp_path, name):
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(MIMIC.encode())[:60])
    (tmp_path / "damaged.csv.gz").write_bytes(damaged(MIMIC))

    with pytest.raises(DataError, match="data.split: expected a CSV file, met .*" + name):
        divided.read(tmp_path / name, FOUR)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.text("0123456789", min_size=1), st.sampled_from(folds.SPLITS)),
             min_size=1, unique_by=lambda row: row[0]),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_order_of_rows_and_images_changes_nothing(tmp_path_factory, rows, shuffles):
    path = tmp_path_factory.mktemp("split") / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("patient_id", "split"), *shuffles.sample(rows, len(rows))])
    asked = shuffles.choices(rows, k=7)

    found = divided.read(path, [example(str(n), patient=p) for n, (p, _) in enumerate(asked)])

    assert found.tolist() == [role for _, role in asked]


@given(st.text())
def test_any_text_is_taken_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    with pytest.raises(DataError, match=r"^data\.split: [^\n]*$"):
        divided.read(path, FOUR)
