"""Several answers become one state a finding; nothing that was said is lost."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS, form, roi, skip

from cxr.contract import consolidate, labels
from cxr.contract.annotation import ANSWERS
from cxr.contract.labels import State
from cxr.errors import AnnotationError

PRESENT, ABSENT, UNCERTAIN = State.PRESENT, State.ABSENT, State.UNCERTAIN


def attribute(*forms):
    answers = {f"w{i}": content for i, content in enumerate(forms)}
    return consolidate.consolidate(answers, LABELS)


def finding(consolidated, label):
    (found,) = [item for item in consolidated["findings"] if item["label"] == label]
    return found


@pytest.mark.parametrize(
    ("votes", "wins"),
    [
        ([PRESENT], PRESENT),
        ([PRESENT, ABSENT], UNCERTAIN),
        ([PRESENT, PRESENT, ABSENT], PRESENT),
        ([PRESENT, UNCERTAIN, UNCERTAIN], UNCERTAIN),
        ([ABSENT, ABSENT, UNCERTAIN], ABSENT),
        ([PRESENT, ABSENT, UNCERTAIN], UNCERTAIN),
        ([PRESENT, PRESENT, ABSENT, ABSENT], UNCERTAIN),
        ([PRESENT, PRESENT, ABSENT, UNCERTAIN], UNCERTAIN),
    ],
)
def test_more_than_half_of_those_who_answered_win(votes, wins):
    assert consolidate.majority(votes) is wins


@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=9), st.randoms())
def test_the_order_of_the_votes_does_not_matter(votes, random):
    shuffled = votes[:]
    random.shuffle(shuffled)
    count = Counter(votes)

    winner = consolidate.majority(votes)

    assert winner is consolidate.majority(shuffled)
    assert winner is UNCERTAIN or count[winner] > len(votes) / 2


@pytest.mark.parametrize("rule", [consolidate.majority, consolidate.any_present])
@pytest.mark.parametrize("votes", [[], [State.NOT_ASKED], [PRESENT, State.NOT_MENTIONED]])
def test_only_answers_are_votes(votes, rule):
    with pytest.raises(AnnotationError, match="expected present, absent or uncertain votes, met"):
        rule(votes)


@pytest.mark.parametrize(
    ("votes", "state"),
    [
        ([ABSENT, ABSENT, PRESENT], PRESENT),
        ([UNCERTAIN, PRESENT], PRESENT),
        ([ABSENT, UNCERTAIN, ABSENT], UNCERTAIN),
        ([ABSENT, ABSENT], ABSENT),
    ],
)
def test_one_who_sees_it_is_enough_for_any_present(votes, state):
    assert consolidate.any_present(votes) is state


def test_no_majority_says_so_and_a_won_uncertain_does_not():
    tied = attribute(form("paaa"), form("aaap"), form("uaaa"))
    hedged = attribute(form("paaa"), form("uaaa"), form("uaaa"))

    assert finding(tied, "Edema") == {
        "label": "Edema",
        "state": "uncertain",
        "probability": None,
        "votes": {"present": 1, "absent": 1, "uncertain": 1},
        "reason": "no_majority",
    }
    assert finding(hedged, "Edema")["state"] == "uncertain"
    assert finding(hedged, "Edema")["reason"] is None


def test_findings_stand_in_the_order_of_the_label_set():
    assert [item["label"] for item in attribute(form("aaap"))["findings"]] == list(LABELS.names)


def test_no_finding_is_never_voted_on():
    found = attribute(form("paaa"), form("apaa"), form("aaaa"))

    assert finding(found, "No Finding")["state"] == "present"
    assert finding(found, "No Finding")["votes"] == {"present": 0, "absent": 3, "uncertain": 0}
    assert finding(found, "No Finding")["reason"] == "follows_from_findings"


def test_no_finding_is_absent_where_a_finding_won_against_its_votes():
    found = attribute(form("ppaa"), form("ppaa"), form("aaap"))

    assert finding(found, "No Finding")["state"] == "absent"


def test_support_devices_leave_no_finding_present():
    found = attribute(form("aapp"))

    assert finding(found, "Support Devices")["state"] == "present"
    assert finding(found, "No Finding")["state"] == "present"


def test_a_skip_is_no_answer():
    found = attribute(form("paaa"), skip("blurred"), form("paaa"))

    assert finding(found, "Edema")["votes"] == {"present": 2, "absent": 0, "uncertain": 0}
    assert found["usable"] is True
    assert found["reasons"] == ["blurred"]


def test_half_of_the_readers_skipping_makes_it_unusable():
    found = attribute(form("paaa"), skip("blurred"))

    assert found["usable"] is False
    assert finding(found, "Edema")["state"] == "present"


def test_a_reader_who_answers_and_calls_it_unfit_counts_as_one_who_skips():
    unfit = form("paaa", quality={"usable": False, "reason": "rotated"})

    found = attribute(unfit, form("aaap"))

    assert (found["usable"], found["reasons"]) == (False, ["rotated"])
    assert finding(found, "Edema")["votes"] == {"present": 1, "absent": 1, "uncertain": 0}


def test_where_all_skip_nobody_was_asked():
    found = attribute(skip(), skip())

    assert {item["state"] for item in found["findings"]} == {"not_asked"}
    assert found["usable"] is False


def test_a_consolidated_contradiction_is_a_warning():
    assert attribute(form("paaa"))["warnings"] == [
        "Edema is present but its parent Lung Opacity is absent"
    ]
    assert attribute(form("ppaa"))["warnings"] == []


def test_every_vote_and_roi_is_kept_as_submitted():
    forms = [form("paaa", rois=[roi()]), form("aaap"), form("paaa", rois=[roi(), roi(id="r2")])]

    found = attribute(*forms)

    assert [(r["workerId"], r["id"]) for r in found["rois"]] == [
        ("w0", "r1"), ("w2", "r1"), ("w2", "r2")
    ]  # fmt: skip
    assert found["rois"][0]["points"] == [[1.5, 2.25], [10.0, 20.0]]
    assert found["annotationsFromAllWorkers"] == [
        {"workerId": f"w{i}", "annotationData": {"content": content}}
        for i, content in enumerate(forms)
    ]
    json.dumps(found, allow_nan=False)


def test_nobody_is_an_error():
    with pytest.raises(AnnotationError, match="expected at least one worker's answer, met none"):
        consolidate.consolidate({}, LABELS)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '"annotation"', '{"annotation": {}}', "3", "[" * 100_000], ids=len
)
def test_a_form_without_our_json_is_refused(content):
    with pytest.raises(AnnotationError, match=r'expected a form with "annotation"|expected a JSON'):
        consolidate.read_content(content, LABELS)


@given(st.lists(st.text("pau", min_size=3, max_size=3), min_size=1, max_size=7))
def test_every_consolidated_line_obeys_the_label_set(answers):
    found = attribute(*(form(three + "a") for three in answers))

    states = {item["label"]: State(item["state"]) for item in found["findings"]}
    assert states["No Finding"] is labels.follow_no_finding(LABELS, states)
    assert all(sum(item["votes"].values()) == len(answers) for item in found["findings"])


def test_answers_that_were_only_collected_are_consolidated_on_reading():
    whole = attribute(form("papa"), form("ppaa"), form("pppa"))
    collected = {"annotationsFromAllWorkers": whole["annotationsFromAllWorkers"]}
    line = {"source": "a", **labels.to_data_object(LABELS), "job": collected, "job-metadata": {}}

    read = consolidate.completed(line)

    assert read["job"] == whole
    assert consolidate.completed(read) == read
    assert line["job"] == collected
