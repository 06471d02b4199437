"""Answers of the published sample's page, and manifests that hold nothing else."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_site import event
from specimens import LABELS, form

from cxr.contract import annotation, consolidate, foreign, labels, manifest
from cxr.contract.labels import State
from cxr.errors import AnnotationError, LabelError
from cxr.labeling import Job, output

NAMES = event("pre_annotation_public_sample")["dataObject"]["labels"]
SAMPLE = labels.from_data_object({"labels": NAMES})
RECTANGLE = {"start": {"x": 10.5, "y": 20}, "end": {"x": 30, "y": 40.25}, "boundingBox": {}}
RING = {"vertices": [{"x": 1, "y": 2, "lines": []}, {"x": 3, "y": 2}, {"x": 3, "y": 9}]}


def sample(*ticked, roi=None, names=SAMPLE.names):
    """What the sample's page submits: boxes by name, and its own JSON as a string."""
    drawn = {"label": list(ticked), "imageurl": "https://orthanc.example/instances/5/file"}
    if roi is not None:
        drawn["ROI"] = roi
    boxes = {name: name in ticked for name in names}
    return {"disease": boxes, "labels": json.dumps(drawn)}


def line(*answers, **more):
    held = [
        {"workerId": f"w{i}", "annotationData": {"content": json.dumps(answer)}}
        for i, answer in enumerate(answers)
    ]
    return {
        "source": "502b0a4b-5cb43965-7f092716-bd6fe6d6-4f7fc3ce",
        "labels": NAMES,
        "AnnotateDICOM-2": {"annotationsFromAllWorkers": held},
        "AnnotateDICOM-2-metadata": {
            "type": "groundtruth/custom", "job-name": "labeling-job/annotatedicom-2",
            "human-annotated": "yes", "creation-date": "2021-01-15T05:22:56.000000",
        },
    } | more  # fmt: skip


def states(given):
    return {k: str(v) for k, v in manifest.labelled(consolidate.completed(given)).states.items()}


def test_what_is_ticked_is_present_and_the_rest_is_not_mentioned():
    found = foreign.read(sample("Edema", "Support Devices"), SAMPLE)

    assert found.findings == {
        name: State.PRESENT if name in ("Edema", "Support Devices") else State.NOT_MENTIONED
        for name in SAMPLE.names
    }


def test_no_finding_alone_denies_what_it_excludes():
    found = foreign.read(sample("No Finding"), SAMPLE).findings

    assert found["No Finding"] is State.PRESENT
    assert {found[name] for name in SAMPLE.excluded} == {State.ABSENT}
    assert found["Support Devices"] is State.NOT_MENTIONED


def test_what_was_seen_counts_for_more_than_no_finding():
    found = foreign.read(sample("No Finding", "Edema"), SAMPLE).findings

    assert (found["Edema"], found["No Finding"]) == (State.PRESENT, State.ABSENT)
    assert found["Fracture"] is State.NOT_MENTIONED


def test_nothing_ticked_is_no_answer():
    assert foreign.read(sample(), SAMPLE).skipped
    assert foreign.read(sample(), SAMPLE).reason == "nothing ticked"


@pytest.mark.parametrize(
    "said",
    [
        {"disease": "Edema"},
        {"disease": "edema, "},
        {"disease": ["Edema"]},
        {"disease": {"Edema": {"on": True}, "Fracture": {"on": False}}},
        {"disease": {" Edema": True}},
        {"disease": {"Edema": "on"}, "labels": ""},
        {"labels": '{"label": ["Edema"]}'},
        {"labels": '{"label": "Edema"}'},
        {"disease": {"Edema": True}, "labels": {"label": ["Edema"]}},
    ],
)
def test_a_finding_may_be_named_in_many_ways(said):
    assert foreign.is_one(said)
    found = foreign.read(said, SAMPLE).findings
    assert [name for name, state in found.items() if state is State.PRESENT] == ["Edema"]


@pytest.mark.parametrize(
    ("roi", "shape"),
    [
        (RECTANGLE, ("rectangle", ((10.5, 20.0), (30.0, 40.25)))),
        (RING, ("polygon", ((1.0, 2.0), (3.0, 2.0), (3.0, 9.0)))),
        ({"vertices": {"points": RING["vertices"]}},
         ("polygon", ((1.0, 2.0), (3.0, 2.0), (3.0, 9.0)))),
        ({"vertices": [*RING["vertices"], RING["vertices"][0]]},
         ("polygon", ((1.0, 2.0), (3.0, 2.0), (3.0, 9.0)))),
        ({"vertices": RING["vertices"][:2]}, None),
        ({"start": {"x": 1, "y": 1}, "end": {"x": 1, "y": 1}}, None),
        ({"start": {"x": "1", "y": 1}, "end": {"x": 2, "y": 2}}, None),
        ({"start": {"x": 1e9, "y": 1}, "end": {"x": 2, "y": 2}}, None),
        ({}, None), ("ROI", None), (None, None),
    ],
)  # fmt: skip
def test_a_region_is_read_where_it_can_be_understood(roi, shape):
    rois = foreign.read(sample("Edema", roi=roi), SAMPLE).rois

    assert [(one.type, one.points) for one in rois] == ([shape] if shape else [])
    assert {one.label for one in rois} <= {"Edema"}


def test_a_region_of_two_findings_belongs_to_neither():
    assert not foreign.read(sample("Edema", "Fracture", roi=RECTANGLE), SAMPLE).rois
    assert foreign.read(sample("Edema", "No Finding", roi=RECTANGLE), SAMPLE).rois


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"disease": {"Scoliosis": True}}, "disease"),
        ({"disease": 3}, "disease"),
        ({"disease": [3]}, "disease"),
        ({"disease": {}, "labels": "{"}, "labels"),
        ({"disease": {}, "labels": "[]"}, "labels"),
        ({"labels": '{"label": ["Scoliosis"]}'}, "labels.label"),
    ],
)
def test_what_is_no_answer_says_where(said, field):
    with pytest.raises(AnnotationError, match=rf"^{field}: ") as met:
        foreign.read(said, SAMPLE)

    assert met.value.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(SAMPLE.names),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "ROI", "start", "end", "x", "y", "vertices", "Edema"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"disease": JSON, "labels": JSON.map(json.dumps) | JSON}))
def test_a_hostile_form_is_refused_or_read_and_nothing_else(hostile):
    try:
        found = foreign.read(hostile, SAMPLE)
    except AnnotationError:
        return
    assert found.skipped or set(found.findings) == set(SAMPLE.names)
    # whatever was read, our own reader takes its regions
    document = annotation.to_document(found) | {
        "findings": [{"label": name, "state": "absent"} for name in SAMPLE.names]
    }
    assert annotation.parse(json.dumps(document), SAMPLE).rois == found.rois or found.skipped


@given(st.lists(st.sets(st.sampled_from(SAMPLE.findings), min_size=1), min_size=1, max_size=5))
def test_more_than_half_who_ticked_it_make_it_present(said):
    found = states(line(*(sample(*ticked) for ticked in said)))

    for name in SAMPLE.findings:
        count = sum(name in ticked for ticked in said)
        wins = "present" if 2 * count > len(said) else "not_mentioned"
        assert found[name] == ("uncertain" if 2 * count == len(said) else wins)


def test_our_own_answers_and_the_samples_stand_side_by_side():
    ours = json.loads(form("paaa"))
    theirs = sample("Edema", names=LABELS.names)

    found = states(line(ours, theirs, labels=",".join(LABELS.names)))

    assert found["Edema"] == "present"
    assert found["Lung Opacity"] == "uncertain"


@pytest.mark.parametrize("answer", [sample("Edema"), json.loads(form("paaa"))])
def test_a_line_without_labels_is_read_by_what_was_answered(answer):
    given = line(answer)
    del given["labels"]

    assert states(given)["Edema"] == "present"


def test_a_line_that_nothing_explains_is_refused():
    given = line({"disease": "Edema"})
    del given["labels"]

    with pytest.raises(LabelError, match=r"^502b0a4b-.*: AnnotateDICOM-2: expected .labels. in"):
        consolidate.completed(given)


@pytest.mark.parametrize(
    ("held", "met"),
    [
        ([{"workerId": "w"}], r"\[0\]: expected a worker and an answer"),
        ([{"annotationData": {"content": "{}"}}], r"\[0\]: expected a worker and an answer"),
        (
            [{"workerId": "w", "annotationData": {"s3Uri": "s3://b/k"}}],
            "expected the answer itself",
        ),
        (["x"], r"\[0\]: expected a worker and an answer"),
        ("x", "expected at least one worker's answer, met none"),
        ([{"workerId": "w", "annotationData": {"content": "<html>"}}], "content: expected a form"),
    ],
)
def test_collected_answers_that_are_none_name_their_image(held, met):
    given = line()
    given["AnnotateDICOM-2"]["annotationsFromAllWorkers"] = held

    with pytest.raises(AnnotationError, match=rf"^502b0a4b-.*: AnnotateDICOM-2: .*{met}"):
        consolidate.completed(given)


def test_of_several_attributes_only_the_wanted_one_is_read():
    given = line(sample("Edema"), other={"annotationsFromAllWorkers": ["x"]})
    given["other-metadata"] = {}

    read = consolidate.completed(given, "AnnotateDICOM-2")

    assert manifest.labelled(read, "AnnotateDICOM-2").states["Edema"] is State.PRESENT
    with pytest.raises(AnnotationError, match="other"):
        consolidate.completed(given)


def test_the_portals_page_is_never_taken_for_the_samples():
    with pytest.raises(AnnotationError, match=r"expected a form with .annotation."):
        consolidate.read_content(json.dumps(sample("Edema")), SAMPLE)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_job_that_goes_on_where_the_sample_ended_tables_its_answers_too(tmp_path):
    job = Job("AnnotateDICOM-2", tmp_path, SAMPLE)
    old = line(sample("Edema", roi=RECTANGLE), sample("Edema", "Fracture"), sample("Fracture"))
    new = {"source": "another", "labels": NAMES}
    ours = consolidate.consolidate({"ann": form("p" + "a" * 13, SAMPLE)}, SAMPLE)

    path = output.write(
        job, [(old, None), (new, ours)], human_annotated=True, label_source="readers"
    )

    first, second = (manifest.labelled(read) for read in manifest.read(path))
    table = rows(tmp_path / "labels.csv")
    answers = rows(tmp_path / "answers.csv")
    (region,) = rows(tmp_path / "rois.csv")
    assert (first.states["Edema"], first.states["Pneumonia"]) == ("present", "not_mentioned")
    assert second.states["Atelectasis"] == "present"
    assert [row["Edema"] for row in table] == ["present", "absent"]
    assert {row["state"] for row in answers if row["worker_id"] == "w2"} == {
        "present", "not_mentioned"
    }  # fmt: skip
    assert (region["label"], region["x_min"], region["y_max"]) == ("Edema", "10.5", "40.25")
