"""What the page sends is read whole, or refused with the place of the first thing wrong."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS, document, roi

from cxr.contract import annotation
from cxr.contract.annotation import Annotation, Roi
from cxr.contract.labels import LabelSet, State
from cxr.errors import AnnotationError

coordinates = st.floats(-9e5, 9e5, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def rois(draw):
    kind = draw(st.sampled_from(sorted(annotation.POINTS)))
    fewest, most = annotation.POINTS[kind]
    points = st.lists(
        st.tuples(coordinates, coordinates), min_size=fewest, max_size=min(most, fewest + 9)
    )
    measures = [State.ABSENT] if kind in ("length", "point") else []
    state = draw(st.sampled_from([State.PRESENT, State.UNCERTAIN, *measures]))
    label = draw(st.sampled_from(LABELS.names))
    return Roi(draw(texts), kind, label, tuple(draw(points)), state, draw(texts))


@st.composite
def annotations(draw):
    states = {name: draw(st.sampled_from(annotation.ANSWERS)) for name in LABELS.names}
    if any(states[name] is State.PRESENT for name in LABELS.excluded):
        states["No Finding"] = State.ABSENT
    comments = draw(st.dictionaries(st.sampled_from(LABELS.names), texts.filter(bool)))
    return Annotation(
        states,
        tuple(draw(st.lists(rois(), max_size=3))),
        usable=draw(st.booleans()),
        reason=draw(st.none() | texts),
        comment=draw(texts),
        comments=comments,
    )


def changed(**changes):
    return json.dumps(document("aaap", **changes))


def finding(**changes):
    first = {"label": "Edema", "state": "absent", "comment": ""} | changes
    return changed(findings=[first, *document("aaap")["findings"][1:]])


@given(annotations())
def test_an_annotation_survives_its_json(given_one):
    text = json.dumps(annotation.to_document(given_one))

    read = annotation.parse(text, LABELS)

    assert annotation.to_document(read) == annotation.to_document(given_one)
    assert read.document == json.loads(text)


def test_findings_come_in_the_order_of_the_label_set():
    said = document("paua")["findings"]

    read = annotation.parse(changed(findings=said[::-1]), LABELS)

    assert list(read.findings.items()) == [
        ("Edema", State.PRESENT),
        ("Lung Opacity", State.ABSENT),
        ("Support Devices", State.UNCERTAIN),
        ("No Finding", State.ABSENT),
    ]


def test_an_answer_may_use_an_alias_and_lands_on_the_label():
    nih = LabelSet("nih", ("Pleural_Thickening",), aliases={"Thickening": "Pleural_Thickening"})

    read = annotation.parse(json.dumps(document("p", nih, rois=[roi(label="thickening")])), nih)

    assert read.findings == {"Pleural_Thickening": State.PRESENT}
    assert read.rois[0].label == "Pleural_Thickening"


@pytest.mark.parametrize(("kind", "points"), [("length", [[1, 2], [3, 4]]), ("point", [[1, 2]])])
def test_a_measurement_may_be_on_an_absent_finding(kind, points):
    drawn = roi(type=kind, points=points, state="absent")

    read = annotation.parse(changed(rois=[drawn]), LABELS)

    assert read.rois[0].state is State.ABSENT
    assert annotation.roi_document(read.rois[0])["state"] == "absent"


def test_a_skip_needs_no_findings_but_a_reason():
    skipped = {"skipped": True, "findings": [], "comment": "try again"}

    read = annotation.parse(
        changed(**skipped, quality={"usable": False, "reason": "rotated"}), LABELS
    )

    assert (read.skipped, read.usable, read.reason) == (True, False, "rotated")
    assert (read.findings, read.rois, read.comment) == ({}, (), "try again")
    with pytest.raises(AnnotationError, match=r"^quality.reason: expected a reason for the skip"):
        annotation.parse(changed(**skipped), LABELS)


def test_what_the_class_does_not_name_is_kept_in_the_document():
    read = annotation.parse(changed(timing={"activeMs": 5}), LABELS)

    assert read.document["timing"] == {"activeMs": 5}


@pytest.mark.parametrize(
    ("text", "field", "met"),
    [
        ("", "", "expected JSON, met ''"),
        ("{", "", "expected JSON"),
        ("[]", "schema", r'expected "cxr-annotation/1", met \[\]'),
        ("null", "schema", "met None"),
        ("{}", "schema", "met None"),
        (changed(schema="cxr-annotation/2"), "schema", "met 'cxr-annotation/2'"),
        (changed(quality=3), "quality", "expected dict, met 3"),
        (changed(quality={"usable": "yes"}), "quality.usable", "expected bool, met 'yes'"),
        (changed(quality={"reason": 3}), "quality.reason", "expected text or null, met 3"),
        (changed(skipped="no"), "skipped", "expected bool"),
        (changed(comment=None), "comment", "expected str, met None"),
        (changed(findings=None), "findings", "expected list, met None"),
        (changed(findings=[]), "findings", "expected an answer for 'Edema', met none"),
        (changed(findings=["p"]), "findings[0]", "expected an object, met 'p'"),
        (finding(label="Mass"), "findings[0].label", "no label 'Mass'"),
        (finding(label=None), "findings[0].label", "expected str"),
        (finding(label="Lung Opacity"), "findings[1]", "'Lung Opacity' is answered twice"),
        (finding(state="unanswered"), "findings[0].state", "for 'Edema', met 'unanswered'"),
        (finding(state="not_asked"), "findings[0].state", "met 'not_asked'"),
        (finding(state=["present"]), "findings[0].state", "met .'present'"),
        (finding(state=1), "findings[0].state", "met 1"),
        (finding(state="present"), "findings", "'No Finding' excludes 'Edema'"),
        (finding(comment=3), "findings[0].comment", "expected str, met 3"),
        (changed(rois={}), "rois", "expected list"),
        (changed(rois=[None]), "rois[0]", "expected an object, met None"),
        (changed(rois=[roi(type="circle")]), "rois[0].type", "expected one of rectangle, ellipse"),
        (changed(rois=[roi(type=["x"])]), "rois[0].type", "expected str"),
        (changed(rois=[roi(), roi(points=None)]), "rois[1].points", "expected list"),
        (changed(rois=[roi(points=[[1, 2]])]), "rois[0].points", "2 to 2 points for a rectangle"),
        (changed(rois=[roi(points=[[1, 2], [3]])]), "rois[0].points[1]", r"met \[3\]"),
        (changed(rois=[roi(points=[[1, "2"], [3, 4]])]), "rois[0].points[0]", "expected .x, y"),
        (changed(rois=[roi(points=[[1, True], [3, 4]])]), "rois[0].points[0]", "expected .x, y"),
        (changed(rois=[roi(points=[[1, 1e7], [3, 4]])]), "rois[0].points[0]", "expected .x, y"),
        (changed(rois=[roi(points=[[1, 10**400], [3, 4]])]), "rois[0].points[0]", "expected .x,"),
        (changed(rois=[roi(points=[[1, float("nan")], [3, 4]])]), "rois[0].points[0]", "met .1, n"),
        (changed(rois=[roi(points=[[1, 2], [3, -float("inf")]])]), "rois[0].points[1]", "met .3, "),
        (changed(rois=[roi(label="Mass")]), "rois[0].label", "no label 'Mass'"),
        (changed(rois=[roi(state="absent")]), "rois[0].state", "expected present or uncertain"),
        (changed(rois=[roi(type="length", state="no")]), "rois[0].state", "absent or uncertain"),
        (changed(rois=[roi(type="length", state=["absent"])]), "rois[0].state", "met .'absent'"),
        (changed(rois=[roi(id=3)]), "rois[0].id", "expected str, met 3"),
        (changed(rois=[roi(comment=[])]), "rois[0].comment", "expected str"),
        (changed(comment="\ud800"), "", "expected JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(text, field, met):
    with pytest.raises(AnnotationError, match=met) as caught:
        annotation.parse(text, LABELS)

    assert caught.value.field == field
    assert str(caught.value).startswith(field)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": ' + "9" * 5000 + "}"], ids=len)
def test_json_too_deep_or_too_long_is_refused(text):
    with pytest.raises(AnnotationError, match=r"^expected JSON, met "):
        annotation.parse(text, LABELS)


keys = st.sampled_from(["label", "state", "usable", "reason", "points", "x"])
json_values = st.recursive(
    st.sampled_from([None, True, 0, -1, 1e300, 10**400, "", "present", "Edema", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["findings", "rois", "quality", "skipped", "comment", "schema"]),
        json_values,
        max_size=3,
    )
)
def test_hostile_json_is_refused_or_read_and_nothing_else(changes):
    text = json.dumps(document("aaap") | changes)

    with contextlib.suppress(AnnotationError):
        read = annotation.parse(text, LABELS)
        assert read.skipped or list(read.findings) == list(LABELS.names)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_noise_is_refused(text):
    with pytest.raises(AnnotationError, match="expected"):
        annotation.parse(text, LABELS)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("id", "type", "label", "points", "state", "comment"), json_values)
    )
)
def test_a_hostile_roi_is_refused(hostile):
    with pytest.raises(AnnotationError, match=r"^rois\[0\]\.|^expected JSON"):
        annotation.parse(changed(rois=[hostile]), LABELS)


def test_more_regions_than_anybody_draws_are_refused():
    most = [roi(id=f"r{i}") for i in range(annotation.MOST_ROIS)]

    assert len(annotation.parse(changed(rois=most), LABELS).rois) == 500
    with pytest.raises(AnnotationError, match=r"^rois: expected at most 500 ROIs, met 501$"):
        annotation.parse(changed(rois=[*most, roi(id="one more")]), LABELS)
