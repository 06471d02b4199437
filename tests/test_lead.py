"""The job page: who may see it, and whether its figures are what the answers say."""

import csv
import json
import time
from html.parser import HTMLParser

import krippendorff
import numpy as np
import pytest
from panel import TEAM, Panel
from sites import let_go
from sklearn.metrics import cohen_kappa_score
from specimens import LABELS, form, skip

from cxr.contract import manifest
from cxr.contract.labels import LabelSet
from cxr.labeling import Checks, Reader, overview
from cxr.labeling.overview import Reading
from cxr.labeling.portal.board import Board, Kept

ANSWERS = {
    "ann1": ["ppaa", "aapa", "aaap", "uaaa", "ppaa", "aaap"],
    "bob2": ["appa", "aaap", "aaap", "uaaa", "ppaa", "aapa"],
    "cyd3": ["apaa", "aaap", "aaap", "aaap", "upaa", "aaap"],
}
LETTERS = {"a": 0, "u": 1, "p": 2}


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """Six images that three readers have read; dan decides, eve leads."""
    made = Panel(tmp_path_factory.mktemp("standing"), images=6, closes="lead")
    for reader, said in ANSWERS.items():
        made.read(reader, lambda image, said=said: said[image])
    yield made
    made.stop()


@pytest.fixture
def fresh(tmp_path):
    """Three images that nobody has read."""
    made = Panel(tmp_path, closes="lead")
    yield made
    let_go(made.stop)


def newest(panel, path):
    """What the portal says once it has taken the last answer up."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        response = panel.client("eve").get(path)
        assert response.status_code == 200
        newest, _ = panel.backend._opened.newer(0)
        if response.json()["stamp"].startswith(f"{newest}."):
            return response.json()
    raise AssertionError(f"{path} stayed behind")


def progress(panel):
    return newest(panel, "/api/job")


def figures(panel):
    return newest(panel, "/api/job/figures")


def by_label(panel):
    return {row["label"]: row for row in figures(panel)["findings"]}


@pytest.mark.parametrize(
    "path", ["/job", "/api/job", "/api/job/figures", "/job/output.manifest", "/job/labels.csv"]
)
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("ann1", 403), ("dan", 403)])
def test_nobody_but_the_lead_sees_how_the_job_goes(standing, path, who, status):
    assert standing.client(who).get(path).status_code == status


def test_nobody_but_the_lead_closes_the_job(standing):
    for reader in ("ann1", "dan"):
        token = {"X-CSRF": standing.csrf(reader)}
        assert standing.client(reader).post("/job/close", headers=token).status_code == 403
    assert standing.client("eve").post("/job/close").status_code == 403
    assert standing.client(None).post("/job/close").status_code == 401
    assert progress(standing)["job"]["state"] == "complete"


def test_progress_counts_images_and_answers(fresh):
    before = progress(fresh)["progress"]
    fresh.read("ann1", lambda image: "aaap")
    fresh.read("bob2", lambda image: "aaap")
    between = progress(fresh)["progress"]
    fresh.read("cyd3", lambda image: "aaap")
    after = progress(fresh)

    assert (before["labelled"], before["total"], before["answers"], before["wanted"]) == (
        0,
        3,
        0,
        9,
    )
    assert before["perHour"] is None
    assert before["why"] == "fewer than three answers in the last 15 minutes"
    assert (between["labelled"], between["answers"]) == (0, 6)
    assert between["perHour"] > 0
    assert between["leftS"] == pytest.approx(3 / between["perHour"] * 3600)
    assert (after["progress"]["labelled"], after["progress"]["leftS"]) == (3, 0)
    assert after["job"]["state"] == "complete"


def test_each_reader_has_her_own_figures(fresh):
    timed = {"timing": {"activeMs": 12_000}}
    fresh.read("ann1", lambda image: form("aaap", timing={"activeMs": 1000 * (image + 1) ** 2}))
    fresh.read("bob2", lambda image: skip("blurred") if image else form("aaap", **timed))

    workers = {w["id"]: w for w in progress(fresh)["workers"]}

    assert list(workers) == ["ann1", "bob2", "cyd3"]
    assert workers["ann1"]["name"] == "Dr Ann Archer"
    assert (workers["ann1"]["answered"], workers["ann1"]["skips"]) == (3, 0)
    assert workers["ann1"]["activeS"] == 4.0  # the median of 1, 4 and 9
    assert workers["ann1"]["perHour"]["value"] > 0
    assert 0 <= workers["ann1"]["lastS"] < 60
    assert (workers["bob2"]["skips"], workers["bob2"]["activeS"]) == (2, 12.0)
    assert workers["cyd3"]["lastS"] is None
    assert workers["cyd3"]["perHour"] == {"value": None, "why": "no two answers in a row"}


@pytest.mark.parametrize(
    "said", [{"activeMs": "9"}, {"activeMs": -5}, {"activeMs": 1e300}, {"activeMs": True}, [], None]
)
def test_active_time_that_is_none_is_left_out(said):
    assert overview._active_s(said) is None


def test_pauses_are_no_work():
    told = [
        Reading(i, "ann1", {}, False, None, at) for i, at in enumerate([0, 60, 120, 9000, 9060])
    ]

    (row, *_) = overview.workers(told, Panelless, now=9100)

    assert row["perHour"]["value"] == 60
    assert row["lastS"] == 40


class Panelless:
    """A team, and nothing else of a job."""

    answering = TEAM[:1]
    readers = TEAM


def codes(label):
    """(readers, images) as 0, 1, 2: absent, uncertain, present."""
    column = LABELS.names.index(label)
    return np.array([[LETTERS[said[column]] for said in images] for images in ANSWERS.values()])


@pytest.mark.parametrize("label", ["Edema", "Lung Opacity", "Support Devices", "No Finding"])
def test_agreement_is_what_independent_implementations_say(standing, label):
    row, told = by_label(standing)[label], codes(label)

    alpha = krippendorff.alpha(told, level_of_measurement="ordinal", value_domain=[0, 1, 2])
    pairs = [(0, 1), (0, 2), (1, 2)]
    kappa = np.mean([cohen_kappa_score(told[a], told[b]) for a, b in pairs])
    present = [
        2 * np.sum((told[a] == 2) & (told[b] == 2)) / np.sum(told[[a, b]] == 2) for a, b in pairs
    ]

    assert row["alpha"]["value"] == pytest.approx(alpha)
    assert row["kappa"]["value"] == pytest.approx(kappa)
    assert row["alpha"]["low"] <= alpha <= row["alpha"]["high"]
    assert min(present) - 1e-9 <= row["positive"]["value"] <= max(present) + 1e-9
    assert row["disagreements"] == np.sum(told.min(axis=0) < told.max(axis=0))


def test_prevalence_is_over_consolidated_images(standing):
    rows = by_label(standing)

    # ppa upa: majority of Edema is a a a u p a
    assert rows["Edema"]["present"] == pytest.approx(1 / 6)
    assert rows["Edema"]["uncertain"] == pytest.approx(1 / 6)
    assert rows["Edema"]["images"] == 6
    # it follows from the others: uncertain where Edema is, and absent where a finding is present
    assert rows["No Finding"]["uncertain"] == pytest.approx(1 / 6)


def test_what_cannot_be_had_says_why(fresh):
    empty = by_label(fresh)["Edema"]
    fresh.read("ann1", lambda image: "aaap")
    one = by_label(fresh)["Edema"]
    fresh.read("bob2", lambda image: "aaap")
    two = by_label(fresh)["Edema"]

    assert (empty["images"], empty["alpha"]["why"]) == (0, "no image has two answers")
    assert one["kappa"] == {"value": None, "why": "no image has two answers"}
    assert two["alpha"] == {"value": None, "why": "all answers are the same"}
    assert two["kappa"]["why"] == "every two readers always gave the same one answer"
    assert two["positive"] == {"value": None, "why": "nobody said present"}
    assert two["negative"]["value"] == 1


def test_disagreements_are_listed_and_say_who_decided(tmp_path):
    panel = Panel(tmp_path, images=6)
    for reader, said in ANSWERS.items():
        panel.read(reader, lambda image, said=said: said[image])
    before = figures(panel)["disputes"]
    panel.decide("dan", 0, form("apaa"))
    after = figures(panel)["disputes"]
    panel.stop()

    assert [(d["id"], d["labels"], d["state"]) for d in before] == [
        (0, ["Edema", "Support Devices"], "open"),
        (1, ["Support Devices"], "open"),
        (3, ["Edema"], "open"),
        (4, ["Edema"], "open"),
        (5, ["Support Devices"], "open"),
    ]
    assert before[0]["source"] == panel.sources[0]
    assert (after[0]["state"], after[0]["by"]) == ("decided", "Dr Dan Decider")
    assert "votes" not in json.dumps(after)


def test_without_known_answers_or_repeats_the_page_says_how_to_get_them(standing):
    told = figures(standing)

    assert told["honeypots"]["workers"] == []
    assert "set job.honeypots" in told["honeypots"]["why"]
    assert told["repeats"]["workers"] == []
    assert "job.repeats" in told["repeats"]["why"]


def test_the_manifest_can_be_had_at_any_time_and_the_log_knows(fresh):
    fresh.read("ann1", lambda image: "ppaa")

    response = fresh.client("eve").get("/job/output.manifest")
    table = fresh.client("eve").get("/job/labels.csv")

    path = fresh.job.folder / "downloaded.manifest"
    path.write_bytes(response.content)
    found = [manifest.labelled(line) for line in manifest.read(path)]
    assert [str(one.states["Edema"]) for one in found] == ["present"] * 3
    assert 'filename="panel.output.manifest"' in response.headers["content-disposition"]
    rows = list(csv.DictReader(table.text.splitlines()))
    assert [row["Edema"] for row in rows] == ["present"] * 3
    with fresh.backend._opened._file.reading() as db:
        told = db.execute("SELECT worker FROM audit WHERE event='exported'").fetchall()
    assert told == [("eve",), ("eve",)]


class Links(HTMLParser):
    """What a page offers to download."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "a" and "download" in given:
            self.found.append(given["href"])


@pytest.mark.parametrize("rule", ["adjudicated", "dawid_skene"])
def test_every_file_of_the_job_can_be_had(tmp_path, rule):
    panel = Panel(tmp_path, consolidation=rule, closes="lead")
    panel.read("ann1", lambda image: "ppaa")
    client = panel.client("eve")

    offered = Links(client.get("/job").text).found
    got = {path.removeprefix("/job/"): client.get(path) for path in offered}

    weighed = {"probabilities.csv", "readers.json"}
    assert set(got) == {
        "output.manifest", "labels.csv", "answers.csv", "rois.csv", "agreement.json",
        "quality.json",
    } | (weighed if rule == "dawid_skene" else set())  # fmt: skip
    for name, response in got.items():
        assert response.status_code == 200
        assert f'filename="panel.{name}"' in response.headers["content-disposition"]
        if name.endswith(".csv"):
            assert response.content == (panel.job.folder / name).read_bytes()
            assert response.headers["content-type"].startswith("text/csv")
        elif name.endswith(".json"):
            assert response.json() == json.loads((panel.job.folder / name).read_text())
    assert len(list(csv.DictReader(got["answers.csv"].text.splitlines()))) == 3 * len(LABELS.names)
    for none in ("answers.db", "audit.head", "input.manifest", "..%2Fpanel%2Flabels.csv", "x"):
        assert client.get(f"/job/{none}").status_code == 404
    for other, status in (("ann1", 403), ("dan", 403), (None, 401)):
        assert panel.client(other).get("/job/answers.csv").status_code == status
    panel.stop()


def test_a_job_of_its_lead_stays_open_until_she_closes_it(fresh):
    for reader in ("ann1", "bob2", "cyd3"):
        fresh.read(reader, lambda image: "aaap")
    before = fresh.backend.status(fresh.job).state
    token = {"X-CSRF": fresh.csrf("eve")}

    closed = [fresh.client("eve").post("/job/close", headers=token) for _ in range(2)]

    assert before == "InProgress"
    assert [response.json() for response in closed] == [{"state": "closed"}] * 2
    assert fresh.backend.status(fresh.job).state == "Completed"
    assert progress(fresh)["job"]["state"] == "closed"


def test_a_job_closed_early_is_stopped_and_takes_nothing_more(fresh):
    offer = fresh.client("ann1").get("/api/task").json()
    token = {"X-CSRF": fresh.csrf("eve")}
    fresh.client("eve").post("/job/close", headers=token)

    late = fresh.client("ann1").post(
        offer["task"]["submitUrl"],
        content=form("aaap"), headers={"X-CSRF": offer["csrf"]},
    )  # fmt: skip

    assert late.status_code == 423
    assert fresh.backend.status(fresh.job).state == "Stopped"


def test_hostile_names_are_text(tmp_path):
    names = LabelSet("evil", ("<img src=x onerror=alert(1)>", "{{ job }}"))
    evil = "</title><script>alert(1)</script>"
    team = (Reader("ann1", name=evil), Reader("bob2"), Reader("lead", name=evil, roles=("lead",)))
    panel = Panel(tmp_path, labels=names, team=team)
    text = panel.client("lead").get("/job").text
    answer = panel.client("lead").get("/api/job")
    panel.stop()

    assert "<script>" not in text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["workers"][0]["name"] == evil


def test_the_job_page_runs_no_inline_script_and_names_no_other_host(standing):
    response = standing.client("eve").get("/job")

    assert "style=" not in response.text
    assert "onclick" not in response.text
    assert "//" not in response.text.replace("<!doctype", "")
    assert response.headers["cache-control"] == "no-store"
    for name in ("job.js", "job.css", "portal.css"):
        assert standing.client("eve").get(f"/assets/{name}").status_code == 200


def test_a_small_page_leads_to_what_its_readers_roles_open(tmp_path):
    team = (Reader("all", roles=("reader", "adjudicator", "lead")), Reader("one"))
    panel = Panel(tmp_path, team=team, images=1)
    panel.read("all", lambda image: "aaap")
    mine = panel.client("all").get("/adjudicate").text
    panel.stop()

    assert '<a href="/adjudicate" aria-current="page">' in mine
    for path in ("/task", "/answered", "/job"):
        assert f'<a href="{path}">' in mine


def test_a_kept_value_is_worked_out_again_only_for_another_stamp():
    kept, done = Kept(), []

    values = [kept.get(stamp, lambda: done.append(1) or len(done)) for stamp in (1, 1, 2)]
    fresh = kept.get(3, lambda: done.append(1) or len(done), fresh=True)

    assert values[0] == values[1] == 1
    assert fresh == len(done)


def test_what_is_taken_up_bit_by_bit_is_what_is_read_at_once(fresh):
    answers = fresh.backend._opened
    board = Board(fresh.job, answers)
    seen = []
    for reader, said in (("ann1", "ppaa"), ("bob2", "apaa"), ("cyd3", "apaa")):
        fresh.read(reader, lambda image, said=said: said)
        seen.append(board.told(fresh=True))
    corrected = fresh.client("ann1").get("/api/answered").json()["answered"][0]["id"]
    csrf = fresh.client("ann1").get("/api/task").json()["csrf"]
    fresh.client("ann1").post(
        f"/tasks/{corrected}/answer", content=form("apaa"), headers={"X-CSRF": csrf}
    ).raise_for_status()
    last = board.told(fresh=True)

    assert [len(told.readings) for told in seen] == [3, 6, 9]
    assert [len(told.disputes) for told in seen] == [0, 0, 3]
    assert len(last.disputes) == 2
    assert last == Board(fresh.job, answers).told(fresh=True)


def test_readers_are_measured_on_known_answers_and_against_themselves(tmp_path):
    first = Panel(tmp_path / "known", images=8, consolidation="majority", team=TEAM[:1])
    first.read("ann1", lambda image: "ppaa" if image % 2 else "aaap")
    known = first.backend.collect(first.job)
    first.stop()
    checks = Checks(known=known, known_share=0.3, repeat_share=0.3)
    panel = Panel(
        tmp_path / "job", images=40, patient="P2", pacs=first.pacs, checks=checks,
        team=(TEAM[0], TEAM[4]),
    )  # fmt: skip
    panel.read("ann1", lambda image: "ppaa")

    told = figures(panel)
    panel.stop()

    (row,) = told["honeypots"]["workers"]
    assert row["images"] == 8
    assert row["sensitivity"]["value"] == 1
    assert row["sensitivity"]["low"] < 1
    # Edema and Lung Opacity were absent on four of the eight, Support Devices on all
    assert row["specificity"]["value"] == pytest.approx(8 / 16)
    (again,) = told["repeats"]["workers"]
    assert again["images"] > 0
    assert again["kappa"]["value"] == 1
    assert told["honeypots"]["why"] is None
