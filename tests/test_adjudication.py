"""Deciding where readers differ: what the adjudicator sees, and what becomes of a decision."""

import html.parser
import json

import pytest
from panel import TEAM, Panel
from sites import let_go
from specimens import LABELS, form, roi, skip

from cxr.contract import consolidate, manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Reader

DECISION = form("aaua")


def said(reader):
    """Readers differ on Edema of image 0, on Support Devices of image 1, on nothing of image 2."""
    answers = {"ann1": ["ppaa", "aapa", "aaap"], "bob2": ["appa", "aaap", "aaap"]}
    return lambda image: answers.get(reader, ["apaa", "aaap", "aaap"])[image]


@pytest.fixture
def panel(tmp_path):
    """Three readers who have read three images; dan decides, eve leads."""
    made = Panel(tmp_path)
    for reader in ("ann1", "bob2", "cyd3"):
        made.read(reader, said(reader))
    yield made
    let_go(made.stop)


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """The same, shared by the tests that change nothing."""
    made = Panel(tmp_path_factory.mktemp("standing"))
    for reader in ("ann1", "bob2", "cyd3"):
        made.read(reader, said(reader))
    yield made
    made.stop()


class Page(html.parser.HTMLParser):
    """The task and the offer that a page carries."""

    def __init__(self, text):
        super().__init__()
        self.text, self.task, self.offer, self.metas = text, {}, {}, {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id") == "cxr-root":
            self.task = json.loads(found["data-task"])
        if tag == "meta" and "name" in found:
            self.metas[found["name"]] = found["content"]
        self.offer = json.loads(self.metas.get("cxr-offer", "{}"))


def opened(panel, path="/adjudicate", by="dan"):
    response = panel.client(by).get(path)
    assert response.status_code == 200
    return Page(response.text)


def states(opinion):
    return {item["label"]: item["state"] for item in opinion["findings"]}


def test_the_adjudicator_sees_every_opinion_and_what_is_disputed(standing):
    page = opened(standing, "/adjudicate/0")

    assert page.task["itemId"] == standing.sources[0]
    assert page.task["disputed"] == ["Edema", "Support Devices"]
    assert [one["name"] for one in page.task["opinions"]] == ["A", "B", "C"]
    told = sorted(tuple(states(one).values()) for one in page.task["opinions"])
    assert told == [
        ("absent", "present", "absent", "absent"),
        ("absent", "present", "present", "absent"),
        ("present", "present", "absent", "absent"),
    ]
    assert page.metas["cxr-submit-url"] == "/disputes/0/decision"
    assert page.metas["cxr-csrf"]


def test_only_images_with_all_their_answers_are_disputes(tmp_path):
    panel = Panel(tmp_path)
    for reader in ("ann1", "bob2"):
        panel.read(reader, said(reader))

    text = panel.client("dan").get("/adjudicate").text

    panel.stop()
    assert "Nothing to decide" in text
    assert "3 of 3 images still wait for answers" in text


def test_nothing_says_whose_opinion_it_is(tmp_path):
    own = [roi(id="ann1-7"), roi(id="r2", comment="here")]
    panel = Panel(tmp_path)
    panel.read("ann1", lambda image: form("ppaa", rois=own, comment="look"))
    panel.read("bob2", lambda image: form("apaa"))
    panel.read("cyd3", lambda image: skip("rotated"))

    page = opened(panel)
    panel.stop()

    shown = page.text + json.dumps(page.task) + json.dumps(page.offer)
    for word in ("ann1", "bob2", "cyd3", "Archer", "workerId", "activeMs", "ann1-7"):
        assert word not in shown
    by_name = {one["name"]: one for one in page.task["opinions"]}
    (drew,) = [one for one in by_name.values() if one["rois"]]
    assert [r["id"] for r in drew["rois"]] == [f"{drew['name']}1", f"{drew['name']}2"]
    assert drew["rois"][1]["comment"] == "here"
    assert drew["comment"] == "look"
    (skipped,) = [one for one in by_name.values() if one["skipped"]]
    assert (skipped["reason"], skipped["findings"]) == ("rotated", [])
    assert page.task["disputed"] == list(LABELS.findings)  # one of three did not answer at all


def test_who_is_a_differs_between_images_and_never_between_visits(tmp_path):
    panel = Panel(tmp_path, images=12)
    panel.read("ann1", lambda image: "ppaa")
    panel.read("bob2", lambda image: "apaa")
    panel.read("cyd3", lambda image: "uuaa")

    def order(image):
        page = opened(panel, f"/adjudicate/{image}")
        return tuple(states(one)["Edema"] for one in page.task["opinions"])

    first, again = ([order(image) for image in range(12)] for _ in range(2))
    panel.stop()

    assert first == again
    assert len(set(first)) > 2
    assert {len(set(one)) for one in first} == {3}


def test_disputes_stand_in_a_row_and_know_their_place(standing):
    first, second = (opened(standing, f"/adjudicate/{image}").offer for image in (0, 1))

    assert first["dispute"] == {
        "number": 1, "of": 2, "decided": 0, "label": None,
        "previousUrl": None, "nextUrl": "/adjudicate/1",
    }  # fmt: skip
    assert second["dispute"]["previousUrl"] == "/adjudicate/0"
    assert second["dispute"]["nextUrl"] is None
    assert first["position"] == {"answered": 0, "total": 2}
    assert (first["id"], first["answer"], first["draft"]) == ("0", None, None)


def test_a_dispute_is_offered_anew_with_fresh_links(standing):
    page = opened(standing, "/adjudicate/1?label=Support+Devices")

    offered = standing.client("dan").get("/api/disputes/1?label=Support+Devices").json()

    assert offered["csrf"] == page.metas["cxr-csrf"]
    assert {k: v for k, v in offered["task"].items() if k != "input"} == page.offer
    assert offered["task"]["input"]["opinions"] == page.task["opinions"]
    assert standing.client(None).get(offered["task"]["input"]["imageUrl"]).status_code == 200
    assert standing.client("ann1").get("/api/disputes/1").status_code == 403
    assert standing.client("dan").get("/api/disputes/2").status_code == 404


def test_one_finding_can_be_gone_through_alone(standing):
    page = opened(standing, "/adjudicate?label=Edema")

    assert page.offer["dispute"]["of"] == 1
    assert page.offer["submitUrl"] == "/disputes/0/decision?label=Edema"
    assert [room["url"] for room in page.offer["rooms"]] == ["/adjudicate", "/passphrase"]
    assert "agree on Lung Opacity" in standing.client("dan").get(
        "/adjudicate?label=Lung+Opacity"
    ).text  # fmt: skip
    assert standing.client("dan").get("/adjudicate?label=%3Cimg%3E").status_code == 404


def test_a_decision_leads_on_until_nothing_is_left(panel):
    first = panel.decide("dan", 0, DECISION)
    then = opened(panel)
    second = panel.decide("dan", 1, DECISION)
    last = panel.client("dan").get("/adjudicate").text

    assert first.json() == {"next": "/adjudicate", "task": None, "answered": 1, "total": 2}
    assert then.offer["id"] == "1"
    assert second.json()["answered"] == 2
    assert "All 2 disagreements are decided" in last
    assert 'href="/adjudicate/0"' in last


def test_a_decision_may_be_looked_at_again_and_changed_until_the_job_closes(panel):
    panel.decide("dan", 0, DECISION)
    seen = opened(panel, "/adjudicate/0").offer["answer"]
    changed = panel.decide("dan", 0, form("ppaa"))
    again = opened(panel, "/adjudicate/0").offer["answer"]
    token = panel.csrf("dan")
    panel.client("eve").post("/job/close", headers={"X-CSRF": panel.csrf("eve")})
    late = panel.client("dan").post(
        "/disputes/0/decision", content=DECISION, headers={"X-CSRF": token}
    )

    assert states(seen)["Support Devices"] == "uncertain"
    assert changed.status_code == 200
    assert states(again)["Edema"] == "present"
    assert (late.status_code, list(late.json())) == (423, ["error"])
    assert "This job is closed" in panel.client("dan").get("/adjudicate").text


def test_the_same_decision_again_is_kept_once(panel):
    codes = [panel.decide("dan", 0, DECISION).status_code for _ in range(3)]

    assert codes == [200, 200, 200]
    assert panel.backend._opened.decisions()[0].versions == 1


def test_a_decision_may_find_the_image_unfit(panel):
    assert panel.decide("dan", 0, skip("not a chest")).status_code == 200

    assert opened(panel, "/adjudicate/0").offer["answer"]["skipped"] is True


def test_a_reader_who_corrects_herself_ends_the_dispute(tmp_path):
    panel = Panel(tmp_path, images=2)
    panel.read("ann1", lambda image: "ppaa")
    panel.read("bob2", lambda image: "apaa")
    panel.read("cyd3", lambda image: "apaa")
    token = panel.csrf("dan")
    told = panel.client("ann1").get("/api/answered").json()["answered"]
    task = next(one["id"] for one in told if one["itemId"] == panel.sources[0])
    address = f"/tasks/{task}/answer"
    csrf = panel.client("ann1").get("/api/task").json()["csrf"]
    panel.client("ann1").post(
        address, content=form("apaa"), headers={"X-CSRF": csrf}
    ).raise_for_status()

    response = panel.client("dan").post(
        "/disputes/0/decision", content=DECISION, headers={"X-CSRF": token}
    )
    page = panel.client("dan").get("/adjudicate/0")
    panel.stop()

    assert (response.status_code, list(response.json())) == (409, ["error"])
    assert page.status_code == 404
    assert "readers do not differ on image 1" in page.text


@pytest.mark.parametrize("image", ["9" * 5000, "9" * 19, "-1", "x"])
def test_what_is_no_image_is_not_there(standing, image):
    client = standing.client("dan")

    assert client.get(f"/adjudicate/{image}").status_code == 404
    assert client.get(f"/api/disputes/{image}").status_code == 404


@pytest.mark.parametrize("path", ["/adjudicate", "/adjudicate/0", "/adjudicate/2"])
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("ann1", 403), ("eve", 403)])
def test_nobody_but_an_adjudicator_sees_opinions(standing, path, who, status):
    response = standing.client(who).get(path)

    assert response.status_code == status
    assert "opinions" not in response.text


def test_nobody_but_an_adjudicator_decides(standing):
    for reader in ("ann1", "eve"):
        assert standing.decide(reader, 0, DECISION).status_code == 403
    assert standing.client(None).post("/disputes/0/decision").status_code == 401
    assert standing.client("dan").post("/disputes/0/decision").status_code == 403  # no token
    assert standing.decide("dan", 0, DECISION, **{"X-CSRF": "no"}).status_code == 403
    assert standing.backend._opened.decisions() == {}


@pytest.mark.parametrize(
    ("image", "body", "status", "met"),
    [
        (0, "x", 422, "expected JSON"),
        (0, "[" * 100_000, 422, "expected JSON"),
        (0, form("-aaa"), 422, "findings[0].state"),
        (0, b" " * 2_000_001, 413, "expected at most 2000000 bytes"),
        (2, DECISION, 409, "readers do not differ on this image"),
        (3, DECISION, 404, "no such image"),
        (10**30, DECISION, 404, "no such image"),
        ("9" * 5000, DECISION, 404, "no such image"),
        ("one", DECISION, 404, "no such image"),
        ("٣", DECISION, 404, "no such image"),
        (0, form("aaaa", task={"itemId": "another"}), 422, "task.itemId: expected"),
    ],
    ids=[
        "noise",
        "nested",
        "unanswered",
        "long",
        "undisputed",
        "unknown",
        "huge",
        "endless",
        "no number",
        "other digits",
        "another image",
    ],
)
def test_what_cannot_be_a_decision_is_refused_in_one_line(standing, image, body, status, met):
    response = standing.decide("dan", image, body)

    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert met in response.json()["error"]
    assert standing.backend._opened.decisions() == {}


def test_a_job_that_is_consolidated_otherwise_says_what_to_set(tmp_path):
    panel = Panel(tmp_path, consolidation="majority")
    text = panel.client("dan").get("/adjudicate").text
    token = panel.client("dan").get("/adjudicate/0", follow_redirects=True)
    panel.stop()

    assert "set job.consolidation=adjudicated" in text
    assert token.url.path == "/adjudicate"


def test_hostile_findings_and_comments_stay_data(tmp_path):
    evil = '</script><img src=x onerror=alert(1)>{{ task.input }}"'
    names = LabelSet("evil", (evil.replace(",", ""), "Edema"))
    panel = Panel(tmp_path, labels=names, images=1)
    panel.read("ann1", lambda image: form("pa", names, comment=evil))
    panel.read("bob2", lambda image: form("aa", names))
    panel.read("cyd3", lambda image: form("aa", names))

    page = opened(panel)
    panel.stop()

    assert "<img" not in page.text
    assert page.task["disputed"] == [evil]
    assert evil in {one["comment"] for one in page.task["opinions"]}


def test_two_adjudicators_begin_at_different_disputes(tmp_path):
    team = (*TEAM, Reader("fay", roles=("adjudicator",)))
    panel = Panel(tmp_path, images=20, team=team)
    panel.read("ann1", lambda image: "ppaa")
    for reader in ("bob2", "cyd3"):
        panel.read(reader, lambda image: "apaa")

    begins = {by: opened(panel, by=by).offer["id"] for by in ("dan", "fay")}
    again = {by: opened(panel, by=by).offer["id"] for by in ("dan", "fay")}
    panel.stop()

    assert begins == again
    assert begins["dan"] != begins["fay"]


def test_decision_and_all_originals_are_in_the_output_manifest(panel):
    panel.decide("dan", 0, form("uaua", rois=[]))
    panel.decide("dan", 0, form("apua"))
    panel.decide("dan", 1, form("aaap"))

    status = panel.backend.status(panel.job)
    lines = [manifest.labelled(one) for one in manifest.read(panel.backend.collect(panel.job))]

    assert status.state == "Completed"
    first = lines[0].document
    originals = {
        item["workerId"]: consolidate.read_content(item["annotationData"]["content"], LABELS)
        for item in first["annotationsFromAllWorkers"]
    }
    assert {w: str(a.findings["Edema"]) for w, a in originals.items()} == {
        "ann1": "present", "bob2": "absent", "cyd3": "absent"
    }  # fmt: skip
    assert {name: str(state) for name, state in lines[0].states.items()} == {
        "Edema": "absent", "Lung Opacity": "present", "Support Devices": "uncertain",
        "No Finding": "absent",
    }  # fmt: skip
    decision = first["adjudication"]
    assert decision["workerId"] == "dan"
    kept = consolidate.read_content(decision["annotationData"]["content"], LABELS)
    assert str(kept.findings["Support Devices"]) == "uncertain"
    assert "adjudication" not in lines[2].document


def test_a_job_that_ends_by_itself_waits_for_its_adjudicator(panel):
    before = panel.backend.status(panel.job).state
    panel.decide("dan", 0, DECISION)
    between = panel.backend.status(panel.job).state
    panel.decide("dan", 1, DECISION)

    assert (before, between) == ("InProgress", "InProgress")
    assert panel.backend.status(panel.job).state == "Completed"


def test_the_log_says_what_the_adjudicator_saw_and_decided(panel):
    opened(panel, "/adjudicate/1")
    panel.decide("dan", 1, DECISION)

    with panel.backend._opened._file.reading() as db:
        told = db.execute("SELECT event, source FROM audit WHERE worker='dan'").fetchall()
    assert ("seen", panel.sources[1]) in told
    assert ("decided", panel.sources[1]) in told


def correct(panel, reader, image, content):
    """Submit another answer to an image that a reader answered."""
    client = panel.client(reader)
    told = client.get("/api/answered").json()["answered"]
    task = next(one["id"] for one in told if one["itemId"] == panel.sources[image])
    headers = {"X-CSRF": client.get("/api/csrf").json()["csrf"]}
    return client.post(f"/tasks/{task}/answer", content=content, headers=headers)


def test_a_dispute_is_open_again_where_readers_newly_differ(tmp_path):
    panel = Panel(tmp_path, images=1, closes="lead")
    for reader, said_ in (("ann1", "aaau"), ("bob2", "auau"), ("cyd3", "aaau")):
        panel.read(reader, lambda image, said_=said_: said_)
    panel.decide("dan", 0, form("aaau")).raise_for_status()
    done = panel.client("dan").get("/adjudicate").text
    correct(panel, "cyd3", 0, form("pauu")).raise_for_status()

    listed = panel.client("eve").get("/api/job/figures").json()["disputes"]
    again = opened(panel)
    lines = list(manifest.read(panel.backend.collect(panel.job)))
    between = {item["label"]: item for item in lines[0]["panel"]["findings"]}
    same = panel.decide("dan", 0, form("aaau")).json()
    lines = list(manifest.read(panel.backend.collect(panel.job)))
    after = {item["label"]: item for item in lines[0]["panel"]["findings"]}
    panel.stop()

    assert "Decided" in done
    assert [(one["state"], one["by"]) for one in listed] == [("open", None)]
    assert again.task["disputed"] == ["Edema", "Lung Opacity", "Support Devices"]
    assert again.offer["position"] == {"answered": 0, "total": 1}
    assert between["Edema"]["reason"] == "not_adjudicated"
    assert between["Lung Opacity"]["reason"] == "adjudicated"
    assert same["answered"] == 1
    assert {item["reason"] for name, item in after.items() if name != "No Finding"} == {
        "adjudicated"
    }


def test_only_an_open_job_that_is_adjudicated_gives_opinions(tmp_path):
    both = Reader("ann1", roles=("reader", "adjudicator"))
    other = Panel(
        tmp_path / "other", images=1, team=(both, Reader("bob2")), consolidation="majority",
        closes="lead",
    )  # fmt: skip
    panel = Panel(tmp_path, images=1)
    for made in (other, panel):
        made.read("ann1", lambda image: "paaa")
        made.read("bob2", lambda image: "aaaa")
    panel.read("cyd3", lambda image: "aaaa")
    open_ = panel.client("dan").get("/api/disputes/0")
    panel.backend._opened.close_job("eve")
    closed = panel.client("dan").get("/api/disputes/0")
    otherwise = other.client("ann1").get("/api/disputes/0")
    other.stop()
    panel.stop()

    assert open_.status_code == 200
    for response, status in ((closed, 423), (otherwise, 409)):
        assert (response.status_code, list(response.json())) == (status, ["error"])


@pytest.mark.parametrize("path", ["/adjudicate", "/adjudicate/0", "/api/disputes/0"])
def test_who_saw_the_others_answers_corrects_her_own_no_more(tmp_path, path):
    both = Reader("ann1", roles=("reader", "adjudicator"))
    panel = Panel(tmp_path, images=2, team=(both, Reader("bob2")), closes="lead")
    panel.read("ann1", lambda image: "paaa")
    panel.read("bob2", lambda image: "aaaa")
    before = correct(panel, "ann1", 0, form("paua"))
    panel.client("ann1").get(path).raise_for_status()

    own = correct(panel, "ann1", 0, form("aaaa"))
    again = correct(panel, "ann1", 0, form("paua"))
    elsewhere = correct(panel, "ann1", 1, form("aaaa"))
    colleague = correct(panel, "bob2", 0, form("paaa"))
    with panel.backend._opened._file.reading() as db:
        seen = db.execute(
            "SELECT source FROM audit WHERE event='seen' AND detail LIKE '%dispute%'"
        ).fetchall()
    panel.stop()

    assert before.status_code == 200
    assert (own.status_code, list(own.json())) == (423, ["error"])
    assert "as its adjudicator, so yours stays as it was" in own.json()["error"]
    assert again.status_code == 200  # sent twice, and kept once
    assert (elsewhere.status_code, colleague.status_code) == (200, 200)
    assert seen == [(panel.sources[0],)]
