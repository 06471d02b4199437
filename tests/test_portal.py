"""The portal over real HTTP: who may see what, and what becomes of an answer."""

import html.parser
import json
import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from sites import KEYS, Site, refusal, submit
from specimens import LABELS, form, skip

from cxr import NOTE
from cxr.contract import signing
from cxr.errors import ConfigError
from cxr.infra import http
from cxr.labeling import page
from cxr.labeling.portal import access


def test_a_personal_link_signs_in_and_the_cookie_is_kept_from_scripts(standing):
    client = standing.client()

    response = client.get(access.link(standing.job, KEYS, standing.url, "ann"))

    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert client.get("/api/status").json()["total"] == 3


@pytest.mark.parametrize(
    ("path", "method"),
    [("/api/task", "GET"), ("/api/status", "GET"), ("/tasks/x/answer", "POST")],
)
def test_nobody_gets_in_without_a_link(standing, path, method):
    response = standing.client().request(method, path)

    assert refusal(response) == (401, "open your personal link to sign in")


def test_a_page_for_nobody_says_how_to_sign_in(standing):
    response = standing.client().get("/task")

    assert response.status_code == 401
    assert "Open the personal link" in response.text


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        signing.sign(KEYS, ["reader:demo:ann"], ttl_s=60),
        signing.sign(KEYS, ["reader:other:ann"], ttl_s=60, audience="portal"),
        signing.sign(KEYS, ["reader:demo:eve"], ttl_s=60, audience="portal"),
        signing.sign(KEYS, ["reader:demo:ann"], ttl_s=-1, audience="portal"),
        signing.sign(
            signing.Keys({"test": b"x" * 32}), ["reader:demo:ann"], ttl_s=60, audience="portal"
        ),
    ],
    ids=["noise", "another audience", "another job", "nobody", "expired", "another key"],
)
def test_other_tokens_open_nothing(standing, token):
    client = standing.client()

    by_link = client.get("/enter", params={"token": token})
    by_cookie = client.get("/api/task", headers={"Cookie": f"cxr_session={token}"})

    assert by_link.status_code == 401
    assert "set-cookie" not in by_link.headers
    assert token not in by_link.text
    assert refusal(by_cookie)[0] == 401


def test_a_job_of_one_reader_on_loopback_needs_no_link(tmp_path, pacs):
    alone = Site(tmp_path, pacs, "reader")
    client = alone.client(follow_redirects=True)

    response = client.get("/")

    assert (response.status_code, response.url.path) == (200, "/task")
    assert client.get("/api/status").json()["total"] == 3
    alone.stop()


class TaskOf(html.parser.HTMLParser):
    """The task that a page carries."""

    def __init__(self, text):
        super().__init__()
        self.task = {}
        self.loads = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id") == "cxr-root":
            self.task = json.loads(found["data-task"])
        if tag == "script":
            self.loads.append(found["src"])


def test_the_page_of_a_task_loads_its_image_and_scripts(site):
    client = site.client("ann")

    found = TaskOf(client.get("/task").text)

    image = httpx.get(found.task["imageUrl"])
    instance = site.pacs.find(found.task["itemId"])
    assert found.task["labels"] == list(LABELS.names)
    assert found.task["instructions"] == "<b>look</b>"
    assert image.content == site.pacs.retrieve(instance)
    assert image.headers["content-type"] == "application/dicom"
    for script in found.loads:
        loaded = client.get(script)
        assert (loaded.status_code, loaded.headers["content-type"]) == (
            200, "text/javascript; charset=utf-8"
        )  # fmt: skip


def test_an_image_needs_its_own_token(site):
    task = site.client("ann").get("/api/task").json()["task"]["input"]
    address = urlsplit(task["imageUrl"])
    other = next(i for i in site.pacs.search() if i.orthanc_id != task["source"])

    assert httpx.get(address._replace(query="").geturl()).status_code == 401
    assert httpx.get(address._replace(query="token=x").geturl()).status_code == 401
    swapped = address._replace(path=f"/pacs/instances/{other.orthanc_id}/file")
    assert httpx.get(swapped.geturl()).status_code == 403
    assert httpx.get(f"{site.url}/pacs/dicom-web/studies?{address.query}").status_code == 403


def test_the_address_of_an_image_names_no_patient(site):
    task = site.client("ann").get("/api/task").json()["task"]["input"]

    assert "P1" not in json.dumps(task)


def test_all_images_answered_by_both_readers_complete_the_job(site):
    for reader in ("ann", "bob"):
        client = site.client(reader)
        for _ in range(3):
            assert submit(client, client.get("/api/task").json()).json()["next"] == "/task"
        assert client.get("/api/task").json()["task"] is None

    assert site.answers.counts() == (3, 3)
    assert "All images are labelled" in client.get("/task").text
    assert client.get("/api/status").json() == {
        "note": NOTE, "job": "demo", "labelled": 3, "total": 3, "answeredByYou": 3
    }  # fmt: skip


def test_who_is_done_first_is_told_to_wait(site):
    client = site.client("ann")
    while (offer := client.get("/api/task").json())["task"]:
        submit(client, offer)

    text = client.get("/task").text
    assert "Nothing left for you" in text
    assert "3 wait for other readers" in text


def test_the_same_submit_again_is_accepted_and_kept_once(site):
    client = site.client("ann")
    offer = client.get("/api/task").json()

    codes = [submit(client, offer).status_code for _ in range(3)]

    assert codes == [200, 200, 200]
    assert sum(len(found) for _, _, found in site.answers.results()) == 1
    assert client.get("/api/task").json()["task"]["id"] != offer["task"]["id"]


def test_a_skip_is_an_answer_to_the_task(site):
    client = site.client("ann")
    offer = client.get("/api/task").json()

    assert submit(client, offer, skip("blurred")).status_code == 200
    assert client.get("/api/status").json()["answeredByYou"] == 1


def test_an_answer_needs_the_token_of_the_page(standing):
    client = standing.client("ann")
    offer = client.get("/api/task").json()
    bobs = standing.client("bob").get("/api/task").json()["csrf"]

    for csrf in ("", "wrong", bobs, "\xe9"):
        response = client.post(
            offer["task"]["submitUrl"],
            content=form("aaap"),
            headers={b"X-CSRF": csrf.encode("latin-1")},
        )
        assert refusal(response) == (403, "reload the page, then submit again")
    assert standing.answers.answered_by("ann") == 0


def test_nobody_answers_for_another(standing):
    anns = standing.client("ann").get("/api/task").json()
    bob = standing.client("bob")
    csrf = bob.get("/api/task").json()["csrf"]

    response = submit(bob, anns, **{"X-CSRF": csrf})

    assert refusal(response) == (403, "this image is before another reader")


def test_a_late_answer_is_taken_until_others_have_the_image(tmp_path, pacs):
    hasty = Site(tmp_path, pacs, "ann", "bob", task_time_limit_s=0, workers_per_object=1)
    client = hasty.client("ann")
    first = client.get("/api/task").json()
    client.get("/api/task")
    assert client.get(f"/api/tasks/{first['task']['id']}").status_code == 410

    late = submit(client, first)
    second = first | {"task": late.json()["task"]}
    while task := hasty.answers.assign("bob"):
        hasty.answers.submit(task.id, "{}")

    assert late.status_code == 200
    assert late.json()["answered"] == 1
    assert refusal(submit(client, second))[0] == 410
    assert refusal(submit(client, first | {"task": {"submitUrl": "/tasks/none/answer"}}))[0] == 410
    assert submit(hasty.client("bob"), second).status_code in (403, 410)  # not hers
    hasty.stop()


@pytest.mark.parametrize(
    ("body", "met"),
    [
        ("x", "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("{}", 'content: expected a form with "annotation"'),
        ('{"annotation": "{"}', "expected JSON, met '{'"),
        (form("-aaa"), "findings[0].state: expected present, absent or uncertain for 'Edema'"),
        (form("paap"), "findings: 'No Finding' excludes 'Edema'"),
    ],
)
def test_an_answer_that_cannot_be_understood_says_where(standing, body, met):
    client = standing.client("ann")
    offer = client.get("/api/task").json()

    status, error = refusal(submit(client, offer, body))

    assert status == 422
    assert error.startswith(met)
    assert standing.answers.answered_by("ann") == 0


def test_an_answer_of_any_length_does_not_fill_the_memory(standing):
    client = standing.client("ann")
    offer = client.get("/api/task").json()
    chunk = b" " * 100_000

    def endless():
        for _ in range(40):
            yield chunk

    response = submit(client, offer, endless())

    assert refusal(response) == (413, "expected at most 2000000 bytes")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/assets/none.js", 404),
        ("/assets/../pyproject.toml", 404),
        ("/assets/..%2f..%2fpyproject.toml", 404),
        ("/assets/%2e%2e/portal.py", 404),
        ("/assets//etc/passwd", 404),
        ("/assets/message.html", 404),
        ("/assets/", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
        ("/tasks/x/answer", 405),
        ("/enter", 401),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(standing, path, status):
    host, _, port = standing.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        raw = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    head, _, body = raw.partition("\r\n\r\n")
    assert head.split()[1] == str(status)
    if "application/json" in head:
        assert list(json.loads(body)) == ["error"]
    assert "[tool.ruff]" not in raw
    assert "root:" not in raw


@pytest.mark.parametrize("path", ["/", "/task", "/api/task", "/assets/message.css", "/pacs/wado"])
def test_another_host_is_refused(standing, path):
    client = standing.client("ann")

    response = client.get(path, headers={"Host": "evil.example"})

    assert refusal(response) == (400, "unknown host")


@pytest.mark.parametrize("path", ["/task", "/api/task", "/assets/message.css", "/none", "/enter"])
def test_every_answer_carries_the_headers_of_safety(standing, path):
    headers = standing.client("ann").get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "'unsafe-eval'" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] in ("no-store", "no-cache")


def test_the_viewer_may_be_kept_for_good(standing):
    response = standing.client().get(f"/assets/{page.viewer().name}")

    assert response.headers["cache-control"] == "max-age=31536000, immutable"


def test_the_page_runs_no_inline_script(standing):
    text = standing.client("ann").get("/task").text

    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\son\w+=", re.sub(r'data-task="[^"]*"', "", text))


def test_a_taken_port_is_one_line():
    listener = http.bind("127.0.0.1", 0, key="labeling.port")
    port = int(listener.url.rpartition(":")[2])
    listener.socket.listen()

    with pytest.raises(ConfigError, match=rf"^labeling\.port: port {port} is taken;"):
        http.bind("127.0.0.1", port, key="labeling.port")
    listener.socket.close()
