"""Reading at the portal: the next image, the one ahead, drafts, and answers opened again."""

import html
import json
import re

import pytest
from sites import Site, refusal, submit
from specimens import document, form, skip

from cxr.labeling import Checks


def ask(client):
    return client.get("/api/task").json()


def put(client, offer, body, **headers):
    sent = {"X-CSRF": offer["csrf"]} | headers
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.put(offer["task"]["draftUrl"], content=content, headers=sent)


def in_page(response, name="cxr-offer"):
    """What the document says of itself in <meta>."""
    return html.unescape(re.search(f'<meta name="{name}" content="([^"]*)"', response.text)[1])


def without_links(offer):
    """An offer less what is signed anew each time."""
    return {**offer, "input": {k: v for k, v in offer["input"].items() if k != "imageUrl"}}


def test_an_offer_holds_all_that_the_page_needs(site):
    offer = ask(site.client("ann"))

    task = offer["task"]
    assert set(offer) == {"note", "csrf", "task"}
    assert task["submitUrl"] == f"/tasks/{task['id']}/answer?versions=0"
    assert (task["number"], task["next"]) == (1, None)
    assert task["rooms"] == [
        {"text": "Read", "url": "/task"},
        {"text": "Your answers", "url": "/answered"},
        {"text": "Account", "url": "/passphrase"},
    ]
    assert task["draftUrl"] == f"/tasks/{task['id']}/draft"
    assert task["position"] == {"answered": 0, "total": 3}
    assert task["draft"] is task["answer"] is task["previous"] is None
    assert task["input"]["itemId"] == task["input"]["source"]


def test_the_document_carries_the_same_offer(site):
    client = site.client("ann")
    offer = ask(client)

    page = client.get("/task")

    assert json.loads(in_page(page)) == {k: v for k, v in offer["task"].items() if k != "input"}
    assert in_page(page, "cxr-submit-url") == offer["task"]["submitUrl"]
    assert in_page(page, "cxr-csrf") == offer["csrf"]


def test_the_image_ahead_is_the_one_that_comes_next(site):
    client = site.client("ann")
    assert client.get("/api/ahead").json() == {"task": None}  # nothing is open yet
    first = ask(client)
    ahead = client.get("/api/ahead").json()["task"]

    reply = submit(client, first).json()

    assert ahead["id"] != first["task"]["id"]
    assert set(reply) == {"next", "task", "answered", "total", "corrected"}
    assert (reply["next"], reply["answered"], reply["total"]) == ("/task", 1, 3)
    moved = {
        "position": {"answered": 1, "total": 3}, "previous": first["task"]["id"], "number": 2,
    }  # fmt: skip
    assert without_links(reply["task"]) == without_links(ahead) | moved
    assert ask(client)["task"]["id"] == ahead["id"]


def test_without_an_image_ahead_the_reply_brings_the_next_one(site):
    client = site.client("ann")
    offer, met = ask(client), []

    while offer["task"]:
        met.append(offer["task"]["input"]["itemId"])
        offer["task"] = submit(client, offer).json()["task"]

    assert len(set(met)) == len(met) == 3
    assert ask(client)["task"] is None
    assert client.get("/api/ahead").json() == {"task": None}


def test_an_offer_again_brings_fresh_links_to_the_same_task(site):
    client = site.client("ann")
    offer = ask(client)["task"]

    again = client.get(f"/api/tasks/{offer['id']}").json()["task"]

    assert without_links(again) == without_links(offer)
    assert client.get(again["input"]["imageUrl"]).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/tasks/{}", "/tasks/{}/answer", "/tasks/{}/draft", "/task/{}"]
)
def test_nobody_opens_the_task_of_another_and_what_went_back_is_gone(standing, path):
    ann, bob = standing.client("ann"), standing.client("bob")
    anns, bobs = ask(ann)["task"]["id"], ask(bob)
    method = {"answer": "POST", "draft": "PUT"}.get(path.rpartition("/")[2], "GET")

    def meet(task_id):
        headers = {"X-CSRF": bobs["csrf"]}
        return bob.request(method, path.format(task_id), content="{}", headers=headers)

    others, gone = meet(anns), meet("none")

    assert (others.status_code, gone.status_code) == (403, 410)
    if path == "/task/{}":
        assert "before another reader" in others.text
        assert "went back after its time limit" in gone.text
    else:
        assert refusal(others)[1] == "this image is before another reader"
        assert refusal(gone)[1].startswith("this image went back after its time limit")


def test_a_draft_comes_back_as_it_is_until_the_answer(site):
    client = site.client("ann")
    offer = ask(client)
    state = {"findings": {"Edema": "present"}, "rois": [[1.25, 2]], "comment": "Zürich \u2603 {{"}

    assert put(client, offer, state).status_code == 204

    assert ask(client)["task"]["draft"] == state
    assert json.loads(in_page(client.get("/task")))["draft"] == state
    assert submit(client, offer).status_code == 200
    again = client.get(f"/api/tasks/{offer['task']['id']}").json()["task"]
    assert again["draft"] is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        ('{"a": NaN}', "expected JSON"),
        ('{"a": 1e999}', "expected JSON"),
        (r'{"a": "\ud800"}', "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[1]", "expected a JSON object, met [1]"),
        ("null", "expected a JSON object, met null"),
        ('{"a":' * 70 + "1" + "}" * 70, "expected at most 60 levels"),
    ],
)
def test_a_draft_that_could_not_be_given_back_is_refused(standing, body, error):
    client = standing.client("ann")

    assert refusal(put(client, ask(client), body)) == (422, error)
    assert ask(client)["task"]["draft"] is None


def test_a_draft_has_its_bounds_and_needs_the_token_of_the_page(standing):
    client = standing.client("ann")
    offer = ask(client)

    long = put(client, offer, {"a": "x" * 2_000_000})
    foreign = put(client, offer, {}, **{"X-CSRF": "wrong"})

    assert refusal(long) == (413, "expected at most 2000000 bytes")
    assert refusal(foreign) == (403, "reload the page, then submit again")


def test_an_answer_is_opened_again_and_corrected(site):
    client = site.client("ann")
    first = ask(client)
    submit(client, first, form("aaap"))
    second = ask(client)["task"]

    again = client.get(f"/api/tasks/{first['task']['id']}").json()["task"]
    page = client.get(f"/task/{first['task']['id']}")
    reply = submit(client, first, form("paaa"))

    assert again["answer"] == document("aaap")
    assert again["previous"] is None
    assert second["previous"] == again["id"]
    assert (again["number"], again["next"]) == (1, second["id"])
    assert json.loads(in_page(page))["answer"] == document("aaap")
    assert (reply.status_code, reply.json()["task"]["id"]) == (200, second["id"])
    kept = site.answers.latest(first["task"]["id"])
    assert (json.loads(kept.content), kept.versions) == (json.loads(form("paaa")), 2)
    assert reply.json()["answered"] == 1


def test_what_was_answered_is_listed_newest_first(site):
    client = site.client("ann")
    first = ask(client)
    second = {"csrf": first["csrf"], "task": submit(client, first).json()["task"]}
    submit(client, second, skip("blurred"))
    submit(client, first, form("paaa"))

    listed = client.get("/api/answered").json()["answered"]

    assert [a["id"] for a in listed] == [second["task"]["id"], first["task"]["id"]]
    assert [(a["versions"], a["skipped"]) for a in listed] == [(1, True), (2, False)]
    assert [a["itemId"] for a in listed] == [
        offer["task"]["input"]["itemId"] for offer in (second, first)
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", a["answeredAt"]) for a in listed)
    text = client.get("/answered").text
    links = re.findall(r'href="(/task/[^"]+)"', text)
    assert links == [f"/task/{a['id']}" for a in listed]
    assert [client.get(link).status_code for link in links] == [200, 200]
    assert "skipped" in text
    assert "corrected 1×" in text
    assert site.client("bob").get("/api/answered").json() == {"answered": []}


def test_a_closed_job_shows_answers_and_takes_none(site):
    client = site.client("ann")
    first = ask(client)
    submit(client, first, form("aaap"))
    second = {"csrf": first["csrf"], "task": ask(client)["task"]}

    site.answers.close_job("lead")

    error = "this job is closed; ask its lead to open it again"
    assert refusal(submit(client, second)) == (423, error)
    assert refusal(submit(client, first, form("paaa"))) == (423, error)
    assert refusal(put(client, second, {})) == (423, error)
    assert submit(client, first, form("aaap")).status_code == 200  # sent again
    assert ask(client)["task"] is None
    assert "This job is closed" in client.get("/task").text
    assert "no longer be corrected" in client.get("/answered").text
    assert client.get(f"/task/{first['task']['id']}").status_code == 200


def test_a_hidden_repeat_is_offered_like_any_other(tmp_path_factory, pacs):
    checks = Checks(repeat_share=0.9)
    site = Site(tmp_path_factory.mktemp("job"), pacs, "ann", checks=checks)
    site.answers.add({**line, "source": "-".join([f"{i:08x}"] * 5)} for i, line in enumerate(
        [next(iter(site.answers.results()))[1]] * 10
    ))  # fmt: skip
    client = site.client("ann")
    offer = ask(client)
    keys, met = set(offer["task"]), []

    while offer["task"]:
        assert set(offer["task"]) == keys
        assert offer["task"]["answer"] is None
        met.append(offer["task"]["input"]["itemId"])
        offer["task"] = submit(client, offer).json()["task"]

    assert len(met) > len(set(met)) == 13
    listed = [a["itemId"] for a in client.get("/api/answered").json()["answered"]]
    assert listed == met[::-1]
    assert client.get("/answered").text.count("<tr><td>") == len(met)
    assert f"You answered {len(met)} images" in client.get("/task").text
    site.stop()


def test_the_log_knows_what_was_seen_and_opened_again(site, tmp_path):
    client = site.client("ann")
    first = ask(client)
    client.get("/task")
    client.get("/api/ahead")
    submit(client, first)
    client.get(f"/api/tasks/{first['task']['id']}")
    client.get(f"/task/{first['task']['id']}")

    with site.answers._file.reading() as db:
        rows = db.execute("SELECT event, source FROM audit ORDER BY seq").fetchall()

    item = first["task"]["input"]["itemId"]
    assert [(event, source == item) for event, source in rows] == [
        ("listed", False),
        ("signed-in", False),
        ("seen", True),
        ("answered", True),
        ("seen", False),
        ("seen", True),
        ("seen", True),
    ]


def test_a_late_draft_is_refused_and_a_correction_has_drafts(site):
    client = site.client("ann")
    offer = ask(client)
    first = put(client, offer, {"begun": 1})
    submit(client, offer)
    late = put(client, offer, {"begun": 2})
    again = client.get(f"/api/tasks/{offer['task']['id']}").json()["task"]

    assert (offer["task"]["versions"], again["versions"]) == (0, 1)
    assert first.status_code == 204
    assert refusal(late) == (409, "this image was answered since; open it again to correct that")
    assert (again["draft"], again["answer"]["skipped"]) == (None, False)
    corrected = {
        "csrf": offer["csrf"],
        "task": again | {"draftUrl": again["draftUrl"] + "?versions=1"},
    }
    assert put(client, corrected, {"corrected": 1}).status_code == 204
    for versions in ("-1", "x", "9" * 5000):
        corrected["task"]["draftUrl"] = f"{again['draftUrl']}?versions={versions}"
        assert put(client, corrected, {}).status_code == 422


def test_an_answer_to_another_image_is_refused(site):
    client = site.client("ann")
    offer = ask(client)
    source = offer["task"]["input"]["itemId"]

    def about(item):
        return form("aaap", task={"itemId": item, "jobId": "demo"})

    for item in ("another", 7, ["x"], "y" * 900):
        status, error = refusal(submit(client, offer, about(item)))
        assert status == 422
        assert error.startswith(f"task.itemId: expected '{source}', met ")
        assert len(error) < 250
    assert submit(client, offer, about(source)).status_code == 200


def test_an_answer_under_way_for_long_does_not_undo_a_correction(site):
    client = site.client("ann")
    offer = ask(client)
    for said in ("aaap", "paaa", "aaap"):
        assert submit(client, offer, form(said)).status_code == 200

    kept = site.answers.latest(offer["task"]["id"])
    assert (kept.content, kept.versions) == (form("paaa"), 2)


def test_an_answer_to_what_was_answered_in_another_window_corrects_it_and_says_so(site):
    client = site.client("ann")
    offer = ask(client)
    said = ["aaap", "aaap", "paaa", "apaa"]

    replies = [submit(client, offer, form(letters)).json() for letters in said]
    again = client.get(f"/api/tasks/{offer['task']['id']}").json()
    knowing = submit(client, offer | again, form("aapa")).json()
    program = client.post(
        f"/tasks/{offer['task']['id']}/answer", content=form("aaua"),
        headers={"X-CSRF": offer["csrf"]},
    ).json()  # fmt: skip

    assert [reply["corrected"] for reply in replies] == [False, False, True, True]
    assert (knowing["corrected"], program["corrected"]) == (False, False)
    assert site.answers.latest(offer["task"]["id"]).content == form("aaua")
