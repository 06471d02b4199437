"""Who gets into the portal, by which door, and that nobody else does."""

import html.parser
import json
import os
import re
import socket
import sqlite3
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from doors import KEYS, Site, certificate
from sites import let_go
from specimens import LABELS, dicom, form

from cxr.contract import signing
from cxr.contract.labels import LabelSet
from cxr.errors import ConfigError
from cxr.labeling import Job, Reader, selection
from cxr.labeling import Page as Offered
from cxr.labeling.local import LocalLabeling
from cxr.labeling.portal import access
from cxr.pacs.folder import FolderPacs

ROOT = Path(__file__).parents[1]
PHRASE = "six walls and a lamp"
TEAM = (
    Reader("ann", name="Ann Example", email="Ann@hospital.example"),
    Reader("bob"),
    Reader("ada", roles=("adjudicator",)),
    Reader("lea", roles=("lead", "adjudicator")),
)


def _adjudicators(reader: access.Adjudicator) -> dict[str, str]:
    return {"id": reader.id}


def _leads(reader: access.Lead) -> dict[str, str]:
    return {"id": reader.id}


def _anybody(reader: access.SignedIn) -> dict[str, str]:
    return {"id": reader.id}


ROUTES = {
    "/api/test/adjudicator": _adjudicators,
    "/api/test/lead": _leads,
    "/api/test/anybody": _anybody,
}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    store = FolderPacs(tmp_path_factory.mktemp("pacs"), keys=KEYS)
    store.store(dicom(1))
    store.store(dicom(2))
    return store


@pytest.fixture
def site(tmp_path, pacs):
    made = Site(tmp_path, pacs, *TEAM, routes=ROUTES)
    yield made
    let_go(made.stop)


@pytest.fixture(scope="module")
def standing(tmp_path_factory, pacs):
    """The same, shared by the tests that change nothing."""
    made = Site(tmp_path_factory.mktemp("standing"), pacs, *TEAM, routes=ROUTES)
    yield made
    made.stop()


@pytest.fixture
def proxied(tmp_path, pacs):
    """Behind a proxy at 127.0.0.2, which signs readers in."""
    made = Site(
        tmp_path, pacs, *TEAM, routes=ROUTES,
        public="https://portal.example", proxies=["127.0.0.2"], user_header="X-Remote-User",
    )  # fmt: skip
    yield made
    let_go(made.stop)


def refusal(response):
    assert list(response.json()) == ["error"]
    assert "\n" not in response.json()["error"]
    return response.status_code, response.json()["error"]


def who(client):
    response = client.get("/api/test/anybody")
    return response.json().get("id") if response.status_code == 200 else None


class Page(html.parser.HTMLParser):
    """What a page says, and what markup it holds."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.fields = [], "", {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "input":
            self.fields[found["name"]] = found.get("value", "")

    def handle_data(self, data):
        self.text += data


# roles


@pytest.mark.parametrize(
    ("reader", "adjudicator", "lead", "worker", "home"),
    [
        ("ann", 403, 403, 200, "/task"),
        ("ada", 200, 403, 403, "/adjudicate"),
        ("lea", 200, 200, 403, "/adjudicate"),
    ],
)
def test_a_role_opens_what_is_its_own(standing, reader, adjudicator, lead, worker, home):
    client = standing.client(reader)

    assert client.get("/api/test/adjudicator").status_code == adjudicator
    assert client.get("/api/test/lead").status_code == lead
    assert client.get("/api/task").status_code == worker
    assert client.get("/").headers["location"] == home


def test_a_refused_role_is_told_which_it_lacks(standing):
    assert refusal(standing.client("ann").get("/api/test/lead")) == (
        403,
        "this is for a lead of the job",
    )
    assert refusal(standing.client("lea").get("/api/task")) == (
        403,
        "this is for a reader of the job",
    )
    assert refusal(standing.client().get("/api/test/lead"))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "who_may"),
    [
        ("GET", "/job", "lead"),
        ("GET", "/api/job", "lead"),
        ("GET", "/api/job/figures", "lead"),
        ("GET", "/job/output.manifest", "lead"),
        ("GET", "/job/labels.csv", "lead"),
        ("POST", "/job/close", "lead"),
        ("GET", "/adjudicate", "adjudicator"),
        ("GET", "/adjudicate/0", "adjudicator"),
        ("POST", "/disputes/0/decision", "adjudicator"),
        ("GET", "/task", "reader"),
        ("GET", "/answered", "reader"),
        ("GET", "/api/ahead", "reader"),
    ],
)
def test_the_rooms_of_another_role_stay_shut(standing, method, path, who_may):
    other = "ada" if who_may in ("lead", "reader") else "ann"
    csrf = {"X-CSRF": standing.app.state.portal.csrf(other)}

    refused = standing.client(other).request(method, path, headers=csrf, content=b"{}")
    stranger = standing.client().request(method, path, headers=csrf, content=b"{}")

    assert refused.status_code == 403
    assert f"this is for a {who_may} of the job" in refused.text
    assert stranger.status_code == 401


# sign-in by name and passphrase


def test_a_reader_sets_a_passphrase_by_her_link_and_signs_in_with_it(site):
    by_link = site.client("ann")
    page = Page(by_link.get("/passphrase").text)
    done = site.form(
        by_link, "/passphrase", csrf=page.fields["csrf"], passphrase=PHRASE, again=PHRASE
    )
    elsewhere = site.client()
    response = site.form(elsewhere, "/sign-in", name="ann", passphrase=PHRASE)

    assert "current" not in page.fields
    assert done.status_code == 200
    assert "Your passphrase is set" in done.text
    assert (response.status_code, response.headers["location"]) == (303, "/task")
    assert who(elsewhere) == "ann"
    assert who(by_link) == "ann"


@pytest.mark.parametrize(
    "name", ["ann", "ANN", " ann ", "ann@hospital.example", "ANN@Hospital.Example"]
)
def test_her_name_or_her_email_will_do_in_any_case(site, name):
    site.accounts.set_passphrase("ann", PHRASE)
    client = site.client()

    assert site.form(client, "/sign-in", name=name, passphrase=PHRASE).status_code == 303
    assert who(client) == "ann"


def test_a_wrong_passphrase_and_a_wrong_name_are_told_alike(site):
    site.accounts.set_passphrase("ann", PHRASE)
    client = site.client()

    known = site.form(client, "/sign-in", name="ann", passphrase="wrong passphrase")
    unknown = site.form(client, "/sign-in", name="eve", passphrase="wrong passphrase")
    unset = site.form(client, "/sign-in", name="bob", passphrase="")

    assert known.status_code == unknown.status_code == unset.status_code == 401
    assert known.text == unknown.text.replace('"eve"', '"ann"') == unset.text.replace("bob", "ann")
    assert "Name or passphrase is wrong." in known.text
    assert "set-cookie" not in known.headers
    assert who(client) is None


def test_an_email_that_two_readers_share_names_neither(tmp_path, pacs):
    twins = [Reader(name, email="desk@hospital.example") for name in ("ann", "bob")]
    shared = Site(tmp_path, pacs, *twins)
    shared.accounts.set_passphrase("ann", PHRASE)

    response = shared.form(
        shared.client(), "/sign-in", name="desk@hospital.example", passphrase=PHRASE
    )

    assert response.status_code == 401
    shared.stop()


@pytest.mark.parametrize(
    ("to", "leads"),
    [
        ("/job", "/job"),
        ("/task/0a1b-2c", "/task/0a1b-2c"),
        ("https://evil.example/task", "/task"),
        ("//evil.example", "/task"),
        ("/\\evil.example", "/task"),
        ("/task\r\nSet-Cookie: a=b", "/task"),
        ("javascript:alert(1)", "/task"),
        ("/sign-out", "/task"),
    ],
)
def test_signing_in_leads_to_pages_of_the_portal_alone(site, to, leads):
    site.accounts.set_passphrase("ann", PHRASE)

    response = site.form(site.client(), "/sign-in", name="ann", passphrase=PHRASE, next=to)

    assert response.headers["location"] == leads


def test_a_page_that_needs_a_sign_in_asks_for_it_and_remembers_where(site):
    response = site.client().get("/task")

    page = Page(response.text)
    assert response.status_code == 401
    assert page.fields == {"next": "/task", "name": "", "passphrase": ""}
    assert "form-action 'self'" in response.headers["content-security-policy"]


# guessing


def guess(site, client, name="ann", **fields):
    return site.form(client, "/sign-in", name=name, passphrase="wrong passphrase", **fields)


def test_who_guesses_at_one_name_waits_longer_and_longer(site):
    site.accounts.set_passphrase("ann", PHRASE, now=0)
    client = site.client()

    codes = [
        guess(site, client, name).status_code for name in ("ann", "ANN", "ann@hospital.example") * 2
    ]
    refused = guess(site, client)
    right = site.form(client, "/sign-in", name="ann", passphrase=PHRASE)
    other = guess(site, client, "bob")

    assert codes == [401] * 5 + [429]
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert "Too many attempts" in refused.text
    assert right.status_code == 429  # or guessing would go on unseen
    assert other.status_code == 401
    assert site.client("ann").get("/api/status").status_code == 200  # her link still opens


def test_names_that_nobody_has_are_limited_alike(site):
    client = site.client()

    assert [guess(site, client, "eve").status_code for _ in range(6)] == [401] * 5 + [429]


def test_who_guesses_at_many_names_is_known_by_address(site):
    here, there = site.client(), site.client(source="127.0.0.3")

    codes = [guess(site, here, f"name{number}").status_code for number in range(21)]

    assert codes == [401] * 20 + [429]
    assert guess(site, there, "name99").status_code == 401


def test_signing_in_forgives_the_errors_before_it(site):
    site.accounts.set_passphrase("ann", PHRASE)
    client = site.client()

    for _ in range(3):
        assert [guess(site, client).status_code for _ in range(4)] == [401] * 4
        assert site.form(client, "/sign-in", name="ann", passphrase=PHRASE).status_code == 303


def test_no_header_of_a_client_makes_another_address_of_it(site):
    client = site.client()

    codes = [
        guess(
            site, client, f"name{number}",
            headers={"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}"},
        ).status_code
        for number in range(21)
    ]  # fmt: skip

    assert codes[-1] == 429


# sessions


def test_a_new_passphrase_ends_every_session_and_link_from_before(site):
    first, second = site.client("ann"), site.client("ann")
    link = site.link("ann")
    csrf = Page(first.get("/passphrase").text).fields["csrf"]

    site.form(first, "/passphrase", csrf=csrf, passphrase=PHRASE, again=PHRASE)

    assert who(first) == "ann"
    assert who(second) is None
    old = site.client().get(link)
    assert (old.status_code, "set-cookie" in old.headers) == (401, False)
    assert "older than the passphrase" in old.text
    assert who(site.client("bob")) == "bob"


def test_a_passphrase_is_changed_by_who_knows_it(site):
    site.accounts.set_passphrase("ann", PHRASE, now=0)
    client = site.client()
    site.form(client, "/sign-in", name="ann", passphrase=PHRASE)
    page = Page(client.get("/passphrase").text)
    new = {
        "csrf": page.fields["csrf"],
        "passphrase": "another six walls",
        "again": "another six walls",
    }

    wrong = site.form(client, "/passphrase", current="not the passphrase", **new)
    right = site.form(client, "/passphrase", current=PHRASE, **new)

    assert "current" in page.fields
    assert wrong.status_code == 403
    assert "The current passphrase is wrong" in wrong.text
    assert right.status_code == 200
    assert site.accounts.verify("ann", "another six walls")


def test_the_current_passphrase_is_not_guessed_from_a_session_left_open(site):
    site.accounts.set_passphrase("ann", PHRASE, now=0)
    client = site.client()
    site.form(client, "/sign-in", name="ann", passphrase=PHRASE)
    csrf = Page(client.get("/passphrase").text).fields["csrf"]
    fields = {"csrf": csrf, "passphrase": "another six walls", "again": "another six walls"}

    codes = [
        site.form(client, "/passphrase", current="guess after guess", **fields).status_code
        for _ in range(6)
    ]

    assert codes == [403] * 5 + [429]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"passphrase": "short", "again": "short"}, 422, "Expected a passphrase of 12 to 1024"),
        ({"passphrase": PHRASE, "again": "six walls"}, 422, "The two passphrases differ."),
        ({"passphrase": PHRASE, "again": PHRASE, "csrf": ""}, 403, "Send the form again"),
        ({"passphrase": PHRASE, "again": PHRASE, "csrf": "é"}, 403, "Send the form again"),
    ],
)
def test_a_passphrase_that_cannot_be_is_told_on_the_page(standing, fields, status, said):
    client = standing.client("ann")
    csrf = Page(client.get("/passphrase").text).fields["csrf"]

    response = standing.form(client, "/passphrase", **({"csrf": csrf} | fields))

    assert response.status_code == status
    assert said in response.text
    assert not standing.accounts.has_passphrase("ann")


def test_signing_out_ends_the_session_wherever_its_cookie_is(site):
    client = site.client("ann")
    cookie = dict(client.cookies)

    response = site.form(client, "/sign-out")
    stolen = site.client(cookies=cookie)

    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert not client.cookies
    assert who(stolen) is None
    assert site.form(client, "/sign-out").status_code == 303


def test_a_link_is_no_cookie_and_a_cookie_no_link(site):
    client = site.client("ann")
    [(name, session)] = client.cookies.items()
    link = site.link("bob").partition("token=")[2]

    assert who(site.client(cookies={name: link})) is None
    assert site.client().get("/enter", params={"token": session}).status_code == 401


def test_a_session_of_another_job_or_key_opens_nothing(site):
    [name] = site.client("ann").cookies
    forged = [
        signing.sign(keys, [scope], ttl_s=ttl, audience="portal-session")
        for keys, scope, ttl in (
            (KEYS, "reader:other:ann", 60),
            (KEYS, "reader:demo:eve", 60),
            (KEYS, "reader:demo:ann", -1),
            (signing.Keys({"test": b"x" * 32}), "reader:demo:ann", 60),
        )
    ]

    assert [who(site.client(cookies={name: token})) for token in forged] == [None] * 4


# forms of other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": ""},
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/passphrase"])
def test_a_form_of_another_site_is_refused(standing, path, headers):
    client = standing.client("ann")
    csrf = Page(client.get("/passphrase").text).fields["csrf"]

    response = standing.form(
        client, path, headers=headers, csrf=csrf, name="ann", passphrase=PHRASE, again=PHRASE
    )

    assert response.status_code == 403
    assert f"this form was not sent by a page of {standing.url}" in response.text
    assert who(client) == "ann"
    assert not standing.accounts.has_passphrase("ann")


def test_browsers_that_send_no_referrer_say_the_origin_is_null(site):
    site.accounts.set_passphrase("ann", PHRASE)
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}

    response = site.form(site.client(), "/sign-in", headers=headers, name="ann", passphrase=PHRASE)

    assert response.status_code == 303


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"name=a", "multipart/form-data; boundary=x", 415),
        (b"name=a", "", 415),
        (b"name=%ff", "application/x-www-form-urlencoded", 422),
        (b"\xff", "application/x-www-form-urlencoded", 422),
        (b"&".join(b"a=%d" % n for n in range(50)), "application/x-www-form-urlencoded", 422),
        (b"a" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded; charset=utf-8", 401),
    ],
)
def test_what_is_no_form_is_refused(standing, body, kind, status):
    headers = {"Origin": standing.url} | ({"Content-Type": kind} if kind else {})

    response = standing.client().post("/sign-in", content=body, headers=headers)

    assert response.status_code == status


def test_an_endless_form_does_not_fill_the_memory(standing):
    headers = {"Origin": standing.url, "Content-Type": "application/x-www-form-urlencoded"}

    response = standing.client().post(
        "/sign-in", content=(b"a" * 4096 for _ in range(100)), headers=headers
    )

    assert response.status_code == 413


def test_no_method_is_overridden(standing):
    client = standing.client("ann")

    for override in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        response = client.get("/sign-out", headers={override: "POST", "Origin": standing.url})
        assert response.status_code == 405
    assert client.get("/sign-out", params={"_method": "POST"}).status_code == 405
    assert who(client) == "ann"


# proxies


def test_a_listed_proxy_says_who_asks(proxied):
    for user in ("ann", "ANN", "ann@Hospital.example"):
        client = proxied.client(source="127.0.0.2", headers={"X-Remote-User": user})
        assert who(client) == "ann"
    assert client.get("/").headers["location"] == "/task"
    assert client.get("/api/task").json()["csrf"]


def test_the_header_of_anybody_else_is_refused(proxied, site):
    stranger = proxied.client(headers={"X-Remote-User": "ann"})

    assert refusal(stranger.get("/api/test/anybody")) == (
        403, "only the proxy may say who asks; https://portal.example leads there"
    )  # fmt: skip
    assert who(site.client(headers={"X-Remote-User": "ann"})) is None


def test_nobody_passes_by_the_proxy_in_the_clear(proxied):
    response = proxied.client(headers={"Host": "portal.example"}).get("/sign-in")

    assert refusal(response) == (403, "open https://portal.example")


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ([], 401, "the proxy named nobody"),
        ([("X-Remote-User", "")], 401, "the proxy named nobody"),
        ([("X-Remote-User", "eve")], 403, "you are not one of this job's team"),
        ([("X-Remote-User", "ann, bob")], 403, "you are not one of this job's team"),
        ([("X-Remote-User", "eve"), ("X-Remote-User", "ann")], 400, "expected one user"),
        ([("X-Remote-User", "ann"), ("X-Forwarded-Host", "evil.example")], 400, "unknown host"),
        ([("X-Remote-User", "ann"), ("Host", "evil.example")], 400, "unknown host"),
        ([("X-Remote-User", "ann"), ("X-Forwarded-Proto", "http")], 403, "open https://portal"),
    ],
)
def test_what_a_proxy_says_must_make_sense(proxied, headers, status, error):
    response = proxied.client(source="127.0.0.2").get("/api/test/anybody", headers=headers)

    assert refusal(response)[0] == status
    assert refusal(response)[1].startswith(error)


@pytest.mark.parametrize("host", [None, "portal.example", "PORTAL.example:443"])
def test_a_proxy_may_pass_the_host_on_or_not(proxied, host):
    headers = {"X-Remote-User": "bob"} | ({"Host": host} if host else {})

    assert who(proxied.client(source="127.0.0.2", headers=headers)) == "bob"


def test_behind_a_proxy_that_signs_in_there_is_no_other_door(proxied):
    proxied.accounts.set_passphrase("bob", PHRASE)
    client = proxied.client(source="127.0.0.2", headers={"X-Remote-User": "ann"})

    assert client.get(proxied.link("bob")).headers["location"] == "/"
    assert proxied.form(client, "/sign-in", name="bob", passphrase=PHRASE).status_code == 403
    assert "Signed in by the proxy" in client.get("/passphrase").text
    assert proxied.form(client, "/passphrase", passphrase=PHRASE, again=PHRASE).status_code == 403
    assert who(client) == "ann"


def test_a_proxy_that_only_encrypts_leaves_the_signing_in_to_us(tmp_path, pacs):
    site = Site(
        tmp_path, pacs, *TEAM, routes=ROUTES, public="https://portal.example", proxies=["127.0.0.2"]
    )
    site.accounts.set_passphrase("ann", PHRASE, now=0)
    client = site.client(source="127.0.0.2", headers={"X-Remote-User": "bob"})

    response = site.form(client, "/sign-in", name="ann", passphrase=PHRASE)
    [(name, token)] = [c.split(";")[0].split("=") for c in response.headers.get_list("set-cookie")]

    assert name == "__Host-cxr_session_demo"
    assert who(site.client(source="127.0.0.2", headers={"Cookie": f"{name}={token}"})) == "ann"
    assert who(client) is None  # no header means anything here
    site.stop()


def test_guesses_through_a_proxy_are_counted_by_the_client_it_names(tmp_path, pacs):
    site = Site(tmp_path, pacs, *TEAM, public="https://portal.example", proxies=["127.0.0.2"])
    client = site.client(source="127.0.0.2")

    def codes(hops, count):
        return [
            guess(site, client, f"{hops}{n}", headers={"X-Forwarded-For": hops}).status_code
            for n in range(count)
        ]

    assert codes("198.51.100.7", 21)[-1] == 429
    assert codes("203.0.113.9, 198.51.100.7", 1) == [429]  # the left one, a client may invent
    assert codes("198.51.100.7, 127.0.0.2", 1) == [429]  # a proxy of ours behind another
    assert codes("198.51.100.8", 1) == [401]
    site.stop()


def test_one_household_of_ipv6_is_one_address(tmp_path, pacs):
    site = Site(tmp_path, pacs, *TEAM, public="https://portal.example", proxies=["127.0.0.2"])
    client = site.client(source="127.0.0.2")

    codes = [
        guess(site, client, f"n{n}", headers={"X-Forwarded-For": f"2001:db8::{n:x}"}).status_code
        for n in range(21)
    ]

    assert codes[-1] == 429
    site.stop()


# one reader alone


def test_one_reader_alone_on_this_machine_needs_no_sign_in(tmp_path, pacs):
    alone = Site(tmp_path, pacs, "ann", routes=ROUTES)

    assert who(alone.client()) == "ann"
    assert who(alone.client(headers={"Cookie": "cxr_session_demo=stale"})) == "ann"

    alone.accounts.set_passphrase("ann", PHRASE)

    assert who(alone.client()) is None
    alone.stop()


def test_one_reader_behind_a_proxy_signs_in_like_all(tmp_path, pacs):
    alone = Site(tmp_path, pacs, "ann", public="https://portal.example", proxies=["127.0.0.2"])

    response = alone.client(source="127.0.0.2").get("/api/status")

    assert refusal(response)[0] == 401
    alone.stop()


# TLS


def local(folder, pacs, **settings):
    job = Job("demo", folder / "jobs" / "demo", LABELS, (Reader("ann"), Reader("bob")), 2)
    selected = selection.from_query(job.folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0, **settings)
    return job, backend, selected.path


def test_over_tls_the_cookie_is_secure_and_the_browser_told_to_stay(tmp_path, pacs):
    cert, key = certificate(tmp_path)
    job, backend, path = local(tmp_path, pacs, tls={"certificate": str(cert), "key": str(key)})
    backend.start(job, path)
    link = backend.links(job)["ann"]

    with httpx.Client(verify=ssl.create_default_context(cafile=cert)) as client:
        response = client.get(link)
        task = client.get(f"{backend.status(job).url}/api/task").json()["task"]
        image = client.get(task["input"]["imageUrl"])

    backend.close()
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-cxr_session_demo=")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    assert "domain" not in cookie.lower()
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert task["input"]["imageUrl"].startswith("https://127.0.0.1:")
    assert image.status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"url": "http://portal.example"},
        {"url": "https://portal.example"},
        {"host": "0.0.0.0", "url": "http://127.0.0.1:8300"},
        {"host": "0.0.0.0", "url": "http://x.example", "proxy": {"addresses": ["10.0.0.1"]}},
    ],
)
def test_where_others_come_the_portal_starts_with_tls_only(tmp_path, pacs, settings):
    job, backend, path = local(tmp_path, pacs, **settings)

    with pytest.raises(ConfigError, match=r"^labeling\.tls: expected a certificate, or a proxy"):
        backend.start(job, path)
    backend.close()


def test_where_others_come_by_a_named_proxy_the_portal_starts(tmp_path, pacs):
    proxy = {"addresses": ["127.0.0.1"], "user_header": "X-Remote-User"}
    job, backend, path = local(tmp_path, pacs, url="https://portal.example", proxy=proxy)

    backend.start(job, path)

    assert backend.links(job) == dict.fromkeys(("ann", "bob"), "https://portal.example/")
    assert not backend.open
    backend.close()


# what answers carry


@pytest.mark.parametrize(
    "path", ["/", "/task", "/sign-in", "/passphrase", "/enter", "/none", "/api/none"]
)
def test_every_answer_keeps_pages_apart(standing, path):
    headers = standing.client("ann").get(path).headers

    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "strict-transport-security" not in headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "img-src 'self' data:;" in policy
    assert ("form-action 'self'" in policy) == (path == "/passphrase" or path == "/sign-in")
    assert not re.search(r"https?:|\*|'unsafe-", policy)


def test_a_mistake_of_ours_is_one_line_and_hardened_too(tmp_path, pacs):
    def broken() -> None:
        raise RuntimeError("secret detail")

    site = Site(tmp_path, pacs, "ann", "bob", routes={"/api/test/broken": broken})

    response = site.client("ann").get("/api/test/broken")

    assert refusal(response) == (500, "the portal made a mistake; its log says which")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    site.stop()


@pytest.mark.parametrize(
    "hosts", [["evil.example"], ["{}", "evil.example"], ["{}", "{}"], [""], ["{}@evil"], []]
)
def test_another_host_is_refused(standing, hosts):
    ours = standing.listens.partition("://")[2]
    host, _, port = ours.partition(":")
    lines = [f"Host: {name.format(ours)}" for name in hosts]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        request = "\r\n".join(["GET /sign-in HTTP/1.1", *lines, "Connection: close", "", ""])
        connection.sendall(request.encode())
        raw = b"".join(iter(lambda: connection.recv(65536), b""))

    assert raw.split()[1] == b"400"


# readers and each other


def test_readers_never_see_each_others_answers(site):
    ann = site.client("ann")
    offer = ann.get("/api/task").json()
    task = offer["task"]
    document = json.loads(json.loads(form("aaap"))["annotation"])
    document["comment"] = "hers alone"
    sent = json.dumps({"annotation": json.dumps(document)})
    submit_url = task.get("submitUrl") or offer["submitUrl"]
    assert ann.post(submit_url, content=sent, headers={"X-CSRF": offer["csrf"]}).status_code == 200
    bob = site.client("bob")

    paths = ["/task", "/api/task", "/api/status", "/answered", "/api/answered", "/job", "/api/job"]
    paths += [f"/api/tasks/{task['id']}", f"/task/{task['id']}", "/adjudicate", "/adjudicate/0"]
    for path in paths:
        assert "hers alone" not in bob.get(path).text
    assert bob.get(f"/api/tasks/{task['id']}").status_code in (403, 404)


# hostile words


HOSTILE = "<img src=x onerror=alert(1)></script>{{7919*7919}}[[csrf]]\"'><b>"


def said(labels, state):
    """The form of an answer that says one thing of every finding but the last."""
    answer = json.loads(json.loads(form("aaap"))["annotation"])
    states = [state] * (len(labels.names) - 1) + ["absent"]
    answer["findings"] = [
        {"label": name, "state": one, "comment": HOSTILE}
        for name, one in zip(labels.names, states, strict=True)
    ]
    answer["comment"] = HOSTILE
    return json.dumps({"annotation": json.dumps(answer)})


def test_a_hostile_config_renders_as_text_on_every_page(tmp_path, pacs):
    labels = LabelSet("evil", (HOSTILE, "Edema"), no_finding=None)
    roles = ("reader", "adjudicator", "lead")
    person = Reader("ann", name=HOSTILE, email="ann@x.example", roles=roles)
    words = Offered(instructions=HOSTILE, windows={HOSTILE: (40.0, 400.0)})
    site = Site(
        tmp_path, pacs, person, "bob", labels=labels, page=words, consolidation="adjudicated"
    )
    for reader, state in (("ann", "present"), ("bob", "absent")):
        answering = site.client(reader)
        while (offer := answering.get("/api/task").json())["task"]:
            sent = {"X-CSRF": offer["csrf"]}
            answer = said(labels, state)
            url = offer["task"]["submitUrl"]
            assert answering.post(url, content=answer, headers=sent).status_code == 200
    client = site.client("ann")
    first = client.get("/api/answered").json()["answered"][0]["id"]

    paths = ["/passphrase", "/task", "/answered", f"/task/{first}", "/job", "/adjudicate"]
    pages = [client.get(path) for path in paths]
    assert [page.status_code for page in pages] == [200] * 6
    assert pages[3].text.count("onerror") == pages[3].text.count("&lt;img src=x onerror") > 0
    assert "onerror" in pages[5].text
    pages.append(
        site.form(site.client(), "/sign-in", name=HOSTILE, passphrase=HOSTILE, next=HOSTILE)
    )
    pages.append(site.client().get(f"/{HOSTILE}"))
    pages.append(site.client().get("/enter", params={"token": HOSTILE}))

    site.stop()
    for response in pages:
        page = Page(response.text)
        assert "62710561" not in response.text
        assert not [tag for tag, found in page.tags if tag in ("b", "img") or "onerror" in found]
        assert all(found.get("src") for tag, found in page.tags if tag == "script")
    assert HOSTILE in Page(pages[0].text).text
    assert Page(pages[6].text).fields["name"] == HOSTILE
    assert Page(pages[6].text).fields["next"] == ""


# bodies and images


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("route", ["/tasks/{}/answer", "/tasks/{}/draft", "/disputes/0/decision"])
def test_no_body_fills_the_memory(tmp_path, pacs, route, chunked):
    everything = Reader("ann", roles=("reader", "adjudicator"))
    site = Site(tmp_path, pacs, everything, "bob", consolidation="adjudicated")
    client = site.client("ann")
    offer = client.get("/api/task").json()
    body = (b" " * 100_000 for _ in range(40)) if chunked else b" " * 4_000_000

    response = client.request(
        "PUT" if "draft" in route else "POST",
        route.format(offer["task"]["id"]),
        content=body,
        headers={"X-CSRF": offer["csrf"]},
    )

    assert refusal(response) == (413, "expected at most 2000000 bytes")
    site.stop()


def test_an_image_is_kept_by_nobody(standing):
    client = standing.client("ann")
    image = client.get("/api/task").json()["task"]["input"]["imageUrl"]

    headers = client.get(image).headers

    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]


# paths


@pytest.mark.parametrize(
    "prefix",
    [
        "/assets/",
        "/tasks/",
        "/task/",
        "/api/tasks/",
        "/adjudicate/",
        "/disputes/",
        "/pacs/instances/",
    ],
)
@pytest.mark.parametrize(
    "trick",
    [
        "../../pyproject.toml", "..%2f..%2fpyproject.toml", "%2e%2e/%2e%2e/pyproject.toml",
        "..\\..\\pyproject.toml", "%00", "....//....//pyproject.toml", "/etc/passwd",
        "%252e%252e%252fpyproject.toml", "answers.db", "../accounts.db",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_portal(standing, prefix, trick):
    client = standing.client("ann")
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=(prefix + trick).encode())

    response = client.send(request)

    assert response.status_code in (400, 401, 403, 404, 405, 410, 422)
    for secret in ("[tool.ruff]", "root:x", "SQLite format"):
        assert secret not in response.text


# the log


def test_signing_in_and_a_new_passphrase_stand_in_the_log(site, tmp_path):
    client = site.client("ann")
    csrf = Page(client.get("/passphrase").text).fields["csrf"]
    site.form(client, "/passphrase", csrf=csrf, passphrase=PHRASE, again=PHRASE)
    site.form(site.client(), "/sign-in", name="ann", passphrase=PHRASE)

    with sqlite3.connect(tmp_path / "answers.db") as db:
        rows = list(db.execute("SELECT event, worker, detail FROM audit ORDER BY seq"))
    assert [row for row in rows if row[0] != "listed"] == [
        ("signed-in", "ann", '{"by": "link"}'),
        ("passphrase-set", "ann", "{}"),
        ("signed-in", "ann", '{"by": "passphrase"}'),
    ]


@pytest.mark.slow
def test_the_command_verifies_the_log_of_a_job(tmp_path, pacs):
    job, backend, path = local(tmp_path, pacs)
    backend.start(job, path)
    with httpx.Client() as client:
        client.get(backend.links(job)["ann"])
        client.get(f"{backend.status(job).url}/api/task")
    backend.close()

    def verify():
        return subprocess.run(
            [sys.executable, "-m", "cxr.label", "audit=verify", "job.name=demo",
             f"root={tmp_path}"],
            capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
            env=os.environ | {"CXR_TOKEN_KEY": f"test:{(b'k' * 32).hex()}"},
        )  # fmt: skip

    database = tmp_path / "jobs" / "demo" / "answers.db"
    whole = verify()
    with sqlite3.connect(database) as db:
        db.execute("DROP TRIGGER audit_no_update")
        db.execute("UPDATE audit SET worker='bob' WHERE seq=2")
    changed = verify()

    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout == f"3 entries of {database}: none changed or missing\n"
    assert (changed.returncode, changed.stdout) == (1, "")
    assert f"{database}: entry 2 of the audit log was changed" in changed.stderr


def test_anybody_of_the_job_gets_the_token_of_her_pages(standing):
    for reader in ("ann", "ada", "lea"):
        given = standing.client(reader).get("/api/csrf").json()["csrf"]
        assert given == standing.app.state.portal.csrf(reader)

    assert standing.client().get("/api/csrf").status_code == 401


def test_example_pictures_are_for_who_is_signed_in(tmp_path, pacs):
    picture = tmp_path / "secret.png"
    picture.write_bytes(b"\x89PNG")
    site = Site(
        tmp_path / "job", pacs, "ann", "bob", page=Offered(examples=((picture, "a pleat"),))
    )

    inside = site.client("ann").get("/assets/example-0.png")
    outside = site.client().get("/assets/example-0.png")
    style = site.client().get("/assets/portal.css")
    site.stop()

    assert (inside.status_code, inside.content) == (200, b"\x89PNG")
    assert refusal(outside)[0] == 401
    assert style.status_code == 200
