"""A table of metadata is read as it stands, and refused where it cannot be."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import ConfigError, DataError
from cxr.images.dicom import Instance
from cxr.learning.evaluation import columns
from cxr.learning.evaluation.columns import Columns
from cxr.learning.evaluation.scene import Settings


def instance(uid, **known):
    return Instance("P", "1", "1", uid, **known)


INSTANCES = [
    instance("1.1", sex="F", age_years=44.0, view_position="AP"),
    instance("1.2", sex="", age_years=93.5, view_position="PA"),
    instance("1.3", sex="M", age_years=None),
    instance("1.4", sex="M", age_years=414.0),
]


def test_headers_give_sex_age_band_and_view():
    texts = Columns().texts(INSTANCES, ["sex"])

    assert {name: values.tolist() for name, values in texts.items()} == {
        "sex": ["F", "", "M", "M"], "age": ["40–59", "over 89", "", ""],
        "view": ["AP", "PA", "", ""],
    }  # fmt: skip
    np.testing.assert_equal(columns.ages(INSTANCES), [44, 90, np.nan, np.nan])


def test_a_table_adds_columns_and_goes_before_the_headers(tmp_path):
    path = tmp_path / "more.csv"
    path.write_text("site,sop_instance_uid,sex\nnorth,1.2,M\n south ,1.1,\n", encoding="utf-8")

    read = Columns.read(str(path))

    assert read.names == ("site", "sex")
    assert read.texts(INSTANCES, ["site", "sex"])["site"].tolist() == ["south", "north", "", ""]
    assert read.texts(INSTANCES, [])["sex"].tolist() == ["", "M", "", ""]
    assert "site" not in read.texts(INSTANCES, ["sex"])


def test_ages_of_a_table_are_in_bands_whatever_they_are_called():
    rows = [f"1.{k},{age},{age}" for k, age in enumerate(("44", "93", "104", "018M"), 1)]
    text = "\n".join(["sop_instance_uid,age,Patient_Age", *rows])

    texts = Columns.parsed("table", text).texts(INSTANCES, ["Patient_Age"])

    for name in ("age", "Patient_Age"):
        assert texts[name].tolist() == ["40–59", "over 89", "over 89", "0–17"]


@given(st.text("0123456789 .+-<>yYadm", max_size=6))
def test_no_text_for_an_age_tells_one_over_89(text):
    told = [float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", columns.banded(text))]

    assert not told or max(told) < 90


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(max_examples=40)
@given(st.lists(st.tuples(cells, cells), max_size=6))
def test_any_text_in_a_table_stays_that_text(rows):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sop_instance_uid", "a", "b"])
    writer.writerows([f"1.{k}", *row] for k, row in enumerate(rows))

    read = Columns.parsed("table", text.getvalue())

    assert {uid: tuple(v) for uid, v in read.values.items()} == {
        f"1.{k}": (a.strip(), b.strip()) for k, (a, b) in enumerate(rows)
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: expected different columns, sop_instance_uid among them, met nothing"),
        ("uid,site\n", ":1: expected different columns, .* met 2 others$"),
        ("sop_instance_uid,a,a\n", ":1: expected different columns"),
        ("sop_instance_uid,a\n1,2\n1\n", ":3: expected 2 columns, met 1"),
        ("sop_instance_uid,a\n1,2\n1,3\n", ":3: the image of this row stands there twice"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        Columns.read(str(path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_table_that_cannot_be_read_is_refused_by_its_key(tmp_path, content):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"evaluate\.metadata: expected a CSV, met "):
        Columns.read(str(path))


def test_an_unknown_column_or_finding_is_refused_before_anything_is_computed(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sop_instance_uid,site\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"subgroups: .* met 'scanner'; there are sex, age, view"):
        Settings(subgroups=["sex", "scanner"]).check(["Edema"])
    with pytest.raises(ConfigError, match=r"a column of .*table\.csv, met 'cite'; .* view, site$"):
        Settings(subgroups=["cite"], metadata=str(path)).check(["Edema"])
    with pytest.raises(ConfigError, match=r"prevalence: .* met 'Oedema'; the nearest is 'Edema'$"):
        Settings(prevalence={"Oedema": 0.1}).check(["Edema", "Hernia"])
    assert Settings(subgroups=["site"], metadata=str(path)).check(["Edema"]).names == ("site",)
