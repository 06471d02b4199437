"""The rules that see a whole job, and what they leave untouched."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import LABELS, document, form, roi, skip

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import State
from cxr.errors import AnnotationError, JobError
from cxr.labeling import consolidation
from cxr.labeling.consolidation import RULES
from cxr.labeling.decisions import Decision

AT = 1_764_000_000.25  # 2025-11-24T16:00:00.250Z


def attribute(*forms, names="abcdefghi"):
    answers = dict(zip(names, forms, strict=False))
    return consolidate.consolidate(answers, LABELS)


def decided(content):
    return Decision("judge", content, AT)


def applied(rule, *forms, decision=None, names="abcdefghi"):
    decisions = {"image": decided(decision)} if decision else {}
    made = consolidation.apply({"image": attribute(*forms, names=names)}, rule, LABELS, decisions)
    return made.attributes["image"]


def finding(attribute, label):
    (found,) = [item for item in attribute["findings"] if item["label"] == label]
    return found


def states(attribute):
    return {item["label"]: State(item["state"]) for item in attribute["findings"]}


def letters(attribute):
    return "".join(str(state)[0] for state in states(attribute).values())


def many(images=200, workers=5, *, seed=0, names="abcde"):
    """A job that good and bad readers answered: truth of Edema, and label attributes."""
    chance = np.random.default_rng(seed)
    skill = np.linspace(0.95, 0.6, workers)
    made, true = {}, []
    for i in range(images):
        edema = chance.random() < 0.3
        true.append(edema)
        said = np.where(chance.random(workers) < skill, edema, not edema)
        forms = [form(("p" if yes else "a") + "aaa") for yes in said]
        made[f"i{i}"] = attribute(*forms, names=names)
    return true, made


answers = st.lists(
    st.one_of(st.text("pau", min_size=3, max_size=3), st.none()), min_size=1, max_size=6
)


def forms(told):
    return [form(three + "a") if three else skip() for three in told]


# --- every rule


@given(
    answers, st.sampled_from(RULES), st.one_of(st.none(), st.text("pau", min_size=3, max_size=3))
)
def test_every_rule_keeps_what_all_say_and_obeys_the_label_set(told, rule, judge):
    found = applied(rule, *forms(told), decision=form(judge + "a") if judge else None)

    said = states(found)
    for k, name in enumerate(LABELS.findings):
        votes = {three[k] for three in told if three}
        if len(votes) == 1 and None not in told:
            assert str(said[name])[0] in votes
    assert said["No Finding"] is labels.follow_no_finding(LABELS, said)
    assert found["warnings"][: len(LABELS.contradictions(said))] == LABELS.contradictions(said)
    for item in found["findings"]:
        assert item["probability"] is None or 0 <= item["probability"] <= 1
    line = {"source": "x", **labels.to_data_object(LABELS), "job": found, "job-metadata": {}}
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert manifest.labelled(line).states == said


@given(answers, st.sampled_from(RULES), st.randoms())
def test_the_order_of_workers_never_matters(told, rule, random):
    names = [chr(ord("a") + i) for i in range(len(told))]
    pairs = list(zip(names, forms(told), strict=True))
    random.shuffle(pairs)
    mixed = applied(rule, *(f for _, f in pairs), names=[n for n, _ in pairs],
                    decision=form("paua"))  # fmt: skip

    found = applied(rule, *forms(told), decision=form("paua"))

    for key in ("findings", "usable", "warnings", "consensus", "unmatched"):
        assert mixed[key] == found[key]


@given(answers, st.sampled_from(RULES), st.sampled_from(RULES))
def test_a_job_may_be_consolidated_again_by_another_rule(told, rule, other):
    decisions = {"image": decided(form("paua"))}
    once = consolidation.apply({"image": attribute(*forms(told))}, other, LABELS, decisions)

    again = consolidation.apply(once.attributes, rule, LABELS, decisions)

    assert again.attributes["image"] == applied(rule, *forms(told), decision=form("paua"))


@pytest.mark.parametrize("rule", RULES)
def test_every_answer_stays_as_submitted(rule):
    given_ = [form("paaa", rois=[roi()]), form("apaa"), skip("blurred")]

    found = applied(rule, *given_)

    kept = {a["workerId"]: a["annotationData"]["content"] for a in found[consolidation.ANSWERS]}
    assert kept == dict(zip("abc", given_, strict=True))
    assert finding(found, "Edema")["votes"] == {"present": 1, "absent": 1, "uncertain": 0}


@pytest.mark.parametrize("rule", RULES)
def test_what_nobody_answered_here_stays_as_it_is(rule):
    replayed = {
        "schema": manifest.SCHEMA,
        "findings": [{"label": "Edema", "state": "not_mentioned", "votes": {}}],
        consolidation.ANSWERS: [],
    }

    made = consolidation.apply({"image": replayed}, rule, LABELS)

    assert made.attributes == {"image": replayed}


@pytest.mark.parametrize("rule", RULES)
def test_answers_that_another_lambda_only_passed_on_are_consolidated(rule):
    told = (form("paaa"), form("paaa"), form("aaaa"))
    bare = {consolidation.ANSWERS: attribute(*told)[consolidation.ANSWERS]}

    made = consolidation.apply({"image": bare}, rule, LABELS)

    assert made.attributes["image"] == applied(rule, *told)


@pytest.mark.parametrize("rule", RULES)
def test_where_all_skip_nobody_was_asked(rule):
    found = applied(rule, skip(), skip())

    assert set(states(found).values()) == {State.NOT_ASKED}
    assert found["usable"] is False


def test_an_unknown_rule_is_refused():
    with pytest.raises(JobError, match=r"^job\.consolidation: expected one of majority, any_pr"):
        consolidation.apply({}, "unanimous", LABELS)


def test_an_answer_that_is_none_is_refused():
    broken = attribute(form("paaa"), form("paaa"))
    broken[consolidation.ANSWERS][0]["annotationData"]["content"] = "{}"

    with pytest.raises(AnnotationError, match='expected a form with "annotation"'):
        consolidation.apply({"image": broken}, "dawid_skene", LABELS)


# --- majority, any_present


@given(answers)
def test_majority_is_what_the_lambda_made(told):
    collected = attribute(*forms(told))

    found = applied("majority", *forms(told))

    assert {key: found[key] for key in collected} == collected
    assert set(found) - set(collected) == {"consensus", "unmatched"}


@given(answers)
def test_any_present_never_says_less_than_a_reader(told):
    found = states(applied("any_present", *forms(told)))

    for k, name in enumerate(LABELS.findings):
        votes = {three[k] for three in told if three}
        expected = next((v for v in "pua" if v in votes), "n")
        assert str(found[name])[0] == expected


def test_a_rule_may_make_a_contradiction_and_warns_of_it():
    found = applied("any_present", form("aaap"), form("paaa"), form("aaap"))

    assert letters(found) == "paaa"
    assert found["warnings"] == ["Edema is present but its parent Lung Opacity is absent"]


# --- dawid_skene


def test_readers_are_weighed_over_the_whole_job():
    true, collected = many()

    made = consolidation.apply(collected, "dawid_skene", LABELS)

    found = [finding(attribute, "Edema") for attribute in made.attributes.values()]
    majority = [
        finding(attribute, "Edema")["state"] == "present" for attribute in collected.values()
    ]
    mine = [item["state"] == "present" for item in found]
    assert np.mean(np.equal(mine, true)) > np.mean(np.equal(majority, true))
    assert {item["reason"] for item in found} <= {"dawid_skene", "unanimous"}
    assert all((item["probability"] > 0.5) == (item["state"] == "present") for item in found)
    (fit,) = [fit for fit in made.fits if fit.label == "Edema"]
    diagonal = fit.confusion[:, 2, 2]
    assert diagonal[:2].min() > diagonal[2:].max()


def test_what_falls_back_says_why_and_is_by_majority():
    found = applied("dawid_skene", form("paaa"), form("pupa"))

    assert finding(found, "Edema") == {
        "label": "Edema",
        "state": "present",
        "probability": None,
        "votes": {"present": 2, "absent": 0, "uncertain": 0},
        "reason": "dawid_skene_fell_back: 2 readers",
    }
    _, collected = many()
    rare = finding(consolidation.apply(collected, "dawid_skene", LABELS).attributes["i0"],
                   "Lung Opacity")  # fmt: skip
    assert rare["reason"] == "dawid_skene_fell_back: 0 positives"
    assert rare["state"] == "absent"


def test_a_finding_all_readers_see_stays_however_doubtful_they_are():
    # three readers who say present at every other image, and two who contradict them there
    collected = {}
    for i in range(300):
        doubted = form("paaa") if i % 2 else form("aaaa")
        sure = form("paaa") if i % 15 == 0 else form("aaaa")
        if i == 299:
            collected[f"i{i}"] = attribute(form("paaa"), form("paaa"))
        else:
            collected[f"i{i}"] = attribute(doubted, doubted, sure, sure, sure)

    made = consolidation.apply(collected, "dawid_skene", LABELS)

    last = finding(made.attributes["i299"], "Edema")
    assert last["probability"] < 0.5
    assert (last["state"], last["reason"]) == ("present", "unanimous")


def test_the_order_of_images_and_workers_changes_no_probability():
    _, collected = many(60)
    turned = {
        key: consolidate.consolidate(
            {
                a["workerId"]: a["annotationData"]["content"]
                for a in reversed(attribute[consolidation.ANSWERS])
            },
            LABELS,
        )
        for key, attribute in reversed(collected.items())
    }

    one = consolidation.apply(collected, "dawid_skene", LABELS).attributes
    other = consolidation.apply(turned, "dawid_skene", LABELS).attributes

    assert {k: v["findings"] for k, v in one.items()} == {
        k: v["findings"] for k, v in other.items()
    }


# --- adjudicated


def test_a_dispute_is_as_decided_and_the_decision_stands_beside_the_originals():
    judge = form("upaa", rois=[roi(id="j1", label="Lung Opacity")])

    found = applied("adjudicated", form("paaa", rois=[roi()]), form("aaaa"), form("apaa"),
                    decision=judge)  # fmt: skip

    assert letters(found) == "upaa"
    assert finding(found, "Edema")["reason"] == "adjudicated"
    assert finding(found, "Lung Opacity")["reason"] == "adjudicated"
    assert finding(found, "Support Devices")["reason"] is None
    assert finding(found, "No Finding")["reason"] == "follows_from_findings"
    assert found["adjudication"] == {
        "workerId": "judge",
        "decidedAt": "2025-11-24T16:00:00.250000Z",
        "annotationData": {"content": judge},
    }
    assert [(r["workerId"], r["id"], r.get("adjudicator", False)) for r in found["rois"]] == [
        ("a", "r1", False), ("judge", "j1", True)
    ]  # fmt: skip
    assert [a["workerId"] for a in found[consolidation.ANSWERS]] == ["a", "b", "c"]


def test_a_dispute_that_nobody_decided_is_by_majority_and_says_so():
    found = applied("adjudicated", form("paaa"), form("paaa"), form("aaaa"))

    assert finding(found, "Edema")["state"] == "present"
    assert finding(found, "Edema")["reason"] == "not_adjudicated"
    assert "adjudication" not in found


def test_what_readers_agree_on_stays_and_the_adjudicators_doubt_is_a_warning():
    found = applied("adjudicated", form("paaa"), form("aaaa"), decision=form("aapa"))

    assert letters(found)[:3] == "aaa"
    assert found["warnings"] == [
        "Support Devices: all readers say absent, the adjudicator says present"
    ]


def test_a_skip_beside_an_answer_is_the_adjudicators_to_settle():
    read = applied("adjudicated", form("paaa"), skip(), decision=form("apaa"))
    unfit = applied("adjudicated", form("paaa"), form("paaa"), skip(), decision=skip("blurred"))

    assert (read["usable"], letters(read)) == (True, "apaa")
    assert unfit["usable"] is False
    assert unfit["reasons"] == ["rotated", "blurred"]
    assert finding(unfit, "Edema")["reason"] == "not_adjudicated"


def test_what_was_not_in_dispute_when_it_was_decided_is_not_adjudicated():
    readers = form("paaa"), form("aapa"), form("aaua")
    decision = Decision("judge", form("uaua"), AT, disputed=("Edema", "Lung Opacity"))

    made = consolidation.apply(
        {"image": attribute(*readers)}, "adjudicated", LABELS, {"image": decision}
    )

    found = made.attributes["image"]
    edema, devices = finding(found, "Edema"), finding(found, "Support Devices")
    assert (edema["state"], edema["reason"]) == ("uncertain", "adjudicated")
    assert (devices["state"], devices["reason"]) == ("uncertain", "not_adjudicated")
    assert finding(found, "Lung Opacity")["reason"] is None
    assert found["adjudication"]["disputed"] == ["Edema", "Lung Opacity"]
    assert not any("all readers say" in warning for warning in found["warnings"])


def test_a_decision_on_another_dispute_does_not_say_whether_the_image_is_usable():
    decision = Decision("judge", skip("blurred"), AT, disputed=("Lung Opacity",))

    made = consolidation.apply(
        {"image": attribute(form("paaa"), form("aaaa"))}, "adjudicated", LABELS, {"image": decision}
    )

    found = made.attributes["image"]
    assert (found["usable"], found["reasons"]) == (True, [])
    assert finding(found, "Edema")["reason"] == "not_adjudicated"


def test_a_decision_on_what_is_no_longer_in_dispute_decides_nothing_and_is_kept():
    found = applied("adjudicated", form("paaa"), form("paaa"), decision=form("aaaa"))

    assert letters(found)[:3] == "paa"
    assert found["warnings"] == ["Edema is present but its parent Lung Opacity is absent"]
    assert found["adjudication"]["workerId"] == "judge"


@pytest.mark.parametrize("rule", ["majority", "any_present", "dawid_skene"])
def test_under_other_rules_a_decision_is_kept_and_decides_nothing(rule):
    without = applied(rule, form("paaa"), form("aaaa"))

    found = applied(rule, form("paaa"), form("aaaa"), decision=form("aaap"))

    assert found["findings"] == without["findings"]
    assert found["adjudication"]["workerId"] == "judge"


# --- regions and measures


def test_consensus_of_the_readers_regions_stands_beside_them():
    other = roi(id="r2", points=[[2, 2], [11, 20]])

    found = applied("majority", form("paaa", rois=[roi()]), form("paaa", rois=[other]),
                    decision=form("paaa", rois=[roi(id="j")]))  # fmt: skip

    (shape,) = found["consensus"]
    assert shape["label"] == "Edema"
    assert shape["workers"] == ["a", "b"]
    assert shape["points"] == [[1.75, 2.12], [10.5, 20]]
    assert found["unmatched"] == []
    assert [r["id"] for r in found["rois"]] == ["r1", "r2", "j"]


def test_a_region_of_one_of_two_readers_is_unmatched():
    found = applied("majority", form("paaa", rois=[roi()]), form("aaap"))

    assert found["consensus"] == []
    assert found["unmatched"] == [{"label": "Edema", "workerId": "a", "id": "r1"}]


def test_rois_say_how_large_they_are():
    image = {"pixelSpacing": None, "imagerPixelSpacing": [0.5, 0.5]}
    drawn = document("paaa", rois=[roi(points=[[0, 0], [20, 10]])], image=image)

    found = applied("majority", json.dumps({"annotation": json.dumps(drawn)}))

    assert found["rois"][0]["measure"] == {"areaMm2": 50.0, "spacing": "ImagerPixelSpacing"}
    assert applied("majority", form("paaa", rois=[roi()]))["rois"][0]["measure"] is None


# --- disputes


@given(st.lists(st.text("pau", min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_finding_is_in_dispute_where_not_all_said_the_same(told):
    found = consolidation.disputes(attribute(*forms(told)), LABELS)

    assert found == [
        name for k, name in enumerate(LABELS.findings) if len({three[k] for three in told}) > 1
    ]


def test_no_finding_is_never_in_dispute():
    assert consolidation.disputes(attribute(form("aaap"), form("aaaa")), LABELS) == []


def test_a_skip_beside_an_answer_puts_everything_in_dispute():
    assert consolidation.disputes(attribute(form("aaap"), skip()), LABELS) == list(LABELS.findings)


def test_where_all_skip_nothing_is_in_dispute():
    assert consolidation.disputes(attribute(skip(), skip("blurred")), LABELS) == []
