"""A label set keeps its order, refuses contradictions, and survives the manifest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract import jobs, labels
from cxr.contract.labels import LabelSet, State
from cxr.errors import LabelError

# the `labels` string of the published manifest
PUBLISHED = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,"
    "Lung Lesion,Lung Opacity,Pleural Effusion,Pneumonia,Pneumothorax,Pleural Other,"
    "Support Devices,No Finding"
)
PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN
NOT_MENTIONED, NOT_ASKED = State.NOT_MENTIONED, State.NOT_ASKED
FEW = LabelSet(
    "few",
    ("Edema", "Lung Opacity", "Support Devices", "No Finding"),
    no_finding="No Finding",
    compatible=("Support Devices",),
    parents={"Lung Opacity": ("Edema",)},
    aliases={"Airspace Opacity": "Lung Opacity"},
)
names = st.lists(
    st.text(st.characters(exclude_characters=",_", categories=["L", "N", "P", "Zs"]), min_size=1)
    .map(lambda text: " ".join(text.split())[:80].strip())
    .filter(bool),
    min_size=1,
    max_size=9,
    unique_by=str.casefold,
)


@given(names)
def test_a_label_set_survives_the_manifest_line(drawn):
    given_set = labels.from_names(drawn, "drawn")

    line = labels.to_data_object(given_set)

    assert labels.from_data_object(line) == given_set


def test_parents_compatible_and_aliases_survive_the_manifest_line():
    line = labels.to_data_object(FEW)

    assert labels.from_data_object(line) == FEW


@pytest.mark.parametrize("value", [PUBLISHED, PUBLISHED.replace(",", ", "), PUBLISHED.split(",")])
def test_the_published_labels_are_read_as_text_and_as_list(value):
    found = labels.from_data_object({"labels": value})

    assert found.names == tuple(PUBLISHED.split(","))
    assert found.no_finding == "No Finding"
    assert found.compatible == ("Support Devices",)


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ({}, "met None"),
        ({"labels": 3}, "met 3"),
        ({"labels": ["Edema", 3]}, r"met \['Edema', 3\]"),
        ({"labels": ""}, "expected a name of 1 to 80 characters without a comma, met ''"),
        ({"labels": []}, "expected at least one name, met none"),
        ({"labels": "Edema,,Mass"}, "met ''"),
        ({"labels": "Edema,edema"}, "'Edema' stands there twice"),
        ({"labels": ["Lung Mass", "lung_mass"]}, "'Lung Mass' stands there twice"),
        ({"labels": ["a,b"]}, "without a comma, met 'a,b'"),
        ({"labels": "x" * 81}, "1 to 80 characters"),
        ({"labels": "Edema", "label-parents": ["Edema"]}, 'expected "label-parents"'),
        ({"labels": "Edema", "label-parents": {"Mass": ["Edema"]}}, "'Mass' is not one of"),
        ({"labels": "Edema", "label-compatible": "Edema"}, 'expected "label-compatible"'),
        ({"labels": "Edema", "label-compatible": ["Mass"]}, "'Mass' is not one of its names"),
    ],
)
def test_a_line_without_a_label_set_is_refused(line, met):
    with pytest.raises(LabelError, match=met):
        labels.from_data_object(line)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Edema", "Edema"),
        ("edema", "Edema"),
        ("lung_opacity", "Lung Opacity"),
        ("Airspace  Opacity", "Lung Opacity"),
    ],
)
def test_case_underscores_and_aliases_are_one_label(written, canonical):
    assert FEW.canonical(written) == canonical


def test_a_name_spelled_with_an_underscore_is_its_own():
    nih = labels.from_names(["Pleural_Thickening", "No Finding"])

    assert nih.canonical("Pleural_Thickening") == "Pleural_Thickening"
    assert nih.canonical("pleural thickening") == "Pleural_Thickening"


def test_an_alias_never_hides_a_name():
    both = LabelSet("both", ("Mass", "Nodule"), aliases={"mass": "Nodule"})

    assert both.canonical("Mass") == "Mass"


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(LabelError, match="no label 'Edemma' in label set 'few'; did you mean 'Ede"):
        FEW.canonical("Edemma")


def test_support_devices_may_stand_beside_no_finding():
    assert FEW.excluded == ("Edema", "Lung Opacity")
    assert FEW.findings == ("Edema", "Lung Opacity", "Support Devices")


@pytest.mark.parametrize(
    ("edema", "opacity", "follows"),
    [
        (ABSENT, ABSENT, PRESENT),
        (PRESENT, UNCERTAIN, ABSENT),
        (UNCERTAIN, ABSENT, UNCERTAIN),
        (UNCERTAIN, NOT_ASKED, UNCERTAIN),
        (NOT_MENTIONED, ABSENT, NOT_MENTIONED),
        (NOT_ASKED, NOT_MENTIONED, NOT_ASKED),
    ],
)
def test_no_finding_follows_from_what_it_excludes(edema, opacity, follows):
    states = {"Edema": edema, "Lung Opacity": opacity, "Support Devices": PRESENT}

    assert labels.follow_no_finding(FEW, states) is follows


def test_only_a_present_child_of_an_absent_parent_contradicts():
    assert FEW.contradictions({"Edema": PRESENT, "Lung Opacity": UNCERTAIN}) == []
    assert FEW.contradictions({"Edema": UNCERTAIN, "Lung Opacity": ABSENT}) == []
    assert FEW.contradictions({"Edema": PRESENT, "Lung Opacity": ABSENT}) == [
        "Edema is present but its parent Lung Opacity is absent"
    ]


@pytest.mark.parametrize(
    "unusual",
    [
        labels.LabelSet("a", ("Edema", "Normal"), no_finding="Normal"),
        labels.LabelSet("b", ("Edema", "Support Devices", "No Finding"), "No Finding", ()),
        labels.LabelSet("c", ("Edema", "No Finding")),
        labels.LabelSet("d", ("Edema",), not_mentioned="ignore"),
    ],
)
def test_a_label_set_survives_its_manifest_line_and_a_jobs_settings(unusual):
    line = json.loads(json.dumps(labels.to_data_object(unusual)))
    document = json.loads(json.dumps(jobs.label_set_document(unusual)))

    assert labels.from_data_object(line) == unusual
    assert jobs.label_set_from(document) == unusual


def test_silence_that_is_neither_absent_nor_unknown_is_refused():
    with pytest.raises(LabelError, match="expected not_mentioned as zeros or ignore, met 'ones'"):
        labels.from_data_object({"labels": "Edema", "label-not-mentioned": "ones"})
    assert "label-not-mentioned" not in labels.to_data_object(labels.from_names(["Edema"]))
