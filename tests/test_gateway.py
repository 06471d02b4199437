"""The gateway lets through what a link opens and nothing else, whatever it is sent.

Real nginx before a real Orthanc, by either judge; our own server says the same of the same tokens.
At the end every stored file is what it was.
"""

import base64
import random
import re
import time
from types import SimpleNamespace

import gateways
import orthanc_servers
import pytest
from gateway_requests import CASES, PNG, filled, words
from gateways import KEYS, ORIGINS, PAGE, ask, exchange, parsed, token

from cxr.infra import http
from cxr.pacs import server, verifier
from cxr.pacs.folder import FolderPacs

pytestmark = pytest.mark.orthanc
JUDGES = ("njs", "auth_request")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two radiographs in an Orthanc of this file's own, which must not change."""
    orthanc_servers.skip_without_orthanc()
    made = orthanc_servers.Server(tmp_path_factory.mktemp("orthanc"))
    stored = gateways.Images(made)
    words = f"{made.user}:{made.password}".encode()
    stored.basic = f"Basic {base64.b64encode(words).decode()}"
    before = stored.checksums()
    yield stored
    after = stored.checksums()
    made.stop()
    assert after == before
    assert len(after[0]) == 2


@pytest.fixture(scope="module")
def opened(images, tmp_path_factory):
    """A gateway by each judge, and our own server with the same images."""
    made = {
        judge: gateways.Gateway(images.orthanc, tmp_path_factory.mktemp(judge), verifier=judge)
        for judge in JUDGES
    }
    for one in made.values():
        one.start()
    with FolderPacs(tmp_path_factory.mktemp("pacs"), keys=KEYS) as pacs:
        for body in images.dicoms:
            pacs.store(body)
        listener = http.bind("127.0.0.1", 0, key="port")
        ours = http.Background(server.app(pacs, KEYS, allowed_origins=ORIGINS), listener)
        port = int(listener.url.rpartition(":")[2])
        yield made | {"ours": SimpleNamespace(port=port)}
        ours.stop()
    for one in made.values():
        one.stop()
        logs = b"".join(path.read_bytes() for path in (one.folder / "logs").iterdir())
        assert b"GET instances/file 200" in logs
        for secret in (b"eyJ", images.id.encode(), images.uids[0].encode(), b"token"):
            assert secret not in logs
        assert images.orthanc.password.encode() not in logs


@pytest.fixture(params=JUDGES)
def gate(request, opened):
    return opened[request.param]


@pytest.mark.parametrize("judge", [*JUDGES, "ours"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_gets_what_its_token_opens(case, judge, opened, images):
    target, headers = filled(case, words(images))

    answer = ask(opened[judge].port, target, headers)

    assert answer.status == (case.ours if judge == "ours" else case.gateway)
    if answer.status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="pacs"'
    if case.target.startswith("{file}") and answer.status == 200:
        assert answer.body == images.dicoms[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verifier_agrees_with_the_table(case, images):
    target, headers = filled(case, words(images))
    authorizations = [value for name, value in headers if name.lower() == "authorization"]

    try:
        passed = verifier.judge(KEYS, target, authorizations)
    except verifier.TokenError:
        assert case.gateway in (401, 400)
        return
    assert (passed is not None) == (case.gateway in (200, 404))
    if passed:
        assert "token" not in passed.target
        assert passed.target.partition("?")[0] == target.partition("?")[0]


METHODS = ("POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "MOVE", "COPY", "LOCK", "DELETEX")


@pytest.mark.parametrize("method", METHODS)
def test_no_other_method_gets_anywhere(gate, images, method):
    answer = gate.ask(f"{images.file}?token={token('p:', 'store')}", method=method)

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("line", ["get", "CONNECT", "Delete", "GET\tx", "G ET", ""])
def test_what_is_no_method_gets_nowhere(gate, images, line):
    data = f"{line} {images.file}?token={token('p:')} HTTP/1.1\r\nHost: a\r\n\r\n"

    assert parsed(exchange(gate.port, data.encode())).status in (400, 405)


OVERRIDES = [
    *(f"_method={method}" for method in ("DELETE", "PUT", "POST", "delete")),
    "%5Fmethod=DELETE", "_METHOD=DELETE", "a=b&_method=DELETE", "_method=DELETE&_method=PUT",
]  # fmt: skip
NAMES = ("X-HTTP-Method-Override", "x-http-method-override", "X-HTTP-Method", "X-Method-Override")


@pytest.mark.parametrize("query", OVERRIDES)
def test_an_override_in_the_query_deletes_nothing(gate, images, query):
    for target in (images.file, images.study, f"/instances/{images.id}"):
        answer = gate.ask(f"{target}?{query}&token={token('p:')}")
        assert answer.status == (403 if target == f"/instances/{images.id}" else 200)

    assert gate.ask(f"{images.file}?token={token('p:')}").body == images.dicoms[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_override_in_a_header_deletes_nothing(gate, images, name):
    for method in ("DELETE", "PUT", "POST"):
        assert gate.ask(f"{images.study}?token={token('p:')}", {name: method}).status == 200

    assert gate.ask(f"{images.file}?token={token('p:')}").body == images.dicoms[0]


def test_orthanc_itself_would_obey_an_override(own_orthanc):
    """The reason for all of this; should it ever fail, so much the better."""
    stored = gateways.Images(own_orthanc)
    answer = gateways.requests.get(
        f"{own_orthanc.url}/instances/{stored.id}?_method=DELETE", auth=own_orthanc.auth, timeout=9
    )

    assert answer.status_code == 200
    assert len(stored.checksums()[0]) == 1


def test_head_tells_all_but_the_image(gate, images):
    answer = gate.ask(f"{images.file}?token={token('p:')}", method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(images.dicoms[0]))


def test_a_range_is_a_part_of_the_file(gate, images):
    target = f"{images.file}?token={token('p:')}"
    part = gate.ask(target, {"Range": "bytes=100-199"})
    beyond = gate.ask(target, {"Range": "bytes=99999999-"})

    assert (part.status, part.body) == (206, images.dicoms[0][100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(images.dicoms[0])}"
    assert beyond.status == 416
    assert gate.ask(target, {"Range": "bytes=0-1,4-5"}).status in (200, 206)
    assert gate.ask(target, {"Range": "lines=1"}).body == images.dicoms[0]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_listed_page_may_read_what_it_gets_and_why_not(gate, images, origin):
    for target, status in ((f"{images.file}?token={token('p:')}", 200), (images.file, 401),
                           (f"/system?token={token('p:')}", 403), ("/a//b", 400)):  # fmt: skip
        answer = gate.ask(target, {"Origin": origin})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-credentials" not in answer.headers
        assert "Content-Length" in answer.headers["access-control-expose-headers"]


EVIL = [
    "https://evil.example.com", f"{PAGE}.evil.com", f"{PAGE}:444", f"{PAGE}/", PAGE.upper(),
    PAGE.replace("https", "http"), PAGE.replace(".", "x", 1), f"x{PAGE}", f"{PAGE} {PAGE}",
    "Null", "file://", "*", "http://127.0.0.1:83000",
]  # fmt: skip


@pytest.mark.parametrize("origin", EVIL)
def test_no_other_page_may_read_anything(gate, images, origin):
    for how in ({}, {"method": "OPTIONS"}):
        answer = gate.ask(f"{images.file}?token={token('p:')}", {"Origin": origin}, **how)
        assert answer.status == (204 if how else 200)
        assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_needs_no_token(gate, images):
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET",
             "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    answer = gate.ask(images.file, asked, method="OPTIONS")

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_null_counts_only_where_it_is_listed(images, tmp_path):
    made = gateways.Gateway(images.orthanc, tmp_path / "g", allowed_origins=[PAGE])
    made.start()

    answer = made.ask(images.file, {"Origin": "null"})
    made.stop()

    assert "access-control-allow-origin" not in answer.headers


def test_an_answer_says_little_about_who_gives_it(gate, images):
    for target in (images.file, f"{images.file}?token={token('p:')}"):
        headers = gate.ask(target).headers
        assert headers["server"] == "nginx"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "sandbox" in headers["content-security-policy"]
        assert "set-cookie" not in headers


def statuses_in(raw):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]


RAW = {
    "body": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
    "chunked body": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "CL and TE": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nX{smuggled}",
    "two CLs": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n"
    "Content-Length: 90\r\n\r\n{smuggled}",
    "odd TE": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: xchunked\r\n"
    "\r\n0\r\n\r\n{smuggled}",
    "two hosts": "GET {t} HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    "no host": "GET {t} HTTP/1.1\r\nConnection: close\r\n\r\n",
    "space before colon": "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    "Content-Length : 30\r\n\r\n{smuggled}",
    "header folding": "GET {t} HTTP/1.1\r\nHost: a\r\nX: a\r\n DELETE\r\nConnection: close\r\n\r\n",
    "NUL in a header": "GET {t} HTTP/1.1\r\nHost: a\r\nAccept: a\0b\r\nConnection: close\r\n\r\n",
    "NUL in the target": "GET {t}\0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "bare CR": "GET {t} HTTP/1.1\r\nHost: a\rX-HTTP-Method-Override: DELETE\r\n"
    "Connection: close\r\n\r\n",
    "HTTP/2.0 in the clear": "GET {t} HTTP/2.0\r\nHost: a\r\nConnection: close\r\n\r\n",
    "HTTP/9.9": "GET {t} HTTP/9.9\r\nHost: a\r\nConnection: close\r\n\r\n",
    "no version": "GET {t}\r\n\r\n",
    "space in the target": "GET {t} x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "fragment": "GET {t}#x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "long target": "GET {t}&x={long} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "long header": "GET {t} HTTP/1.1\r\nHost: a\r\nX: {long}\r\nConnection: close\r\n\r\n",
    "many headers": "GET {t} HTTP/1.1\r\nHost: a\r\n{many}Connection: close\r\n\r\n",
    "no slash": "GET instances/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "star": "GET * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}
HARMLESS = ("two CLs", "header folding", "bare CR", "odd TE")
"""What some versions of nginx take, and may: nothing of it gets to Orthanc."""


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_plain_request_gets_no_image(gate, images, name):
    target = f"{images.file}?token={token('p:')}"
    smuggled = f"GET /instances/{images.id}?_method=DELETE HTTP/1.1\r\nHost: a\r\n\r\n"
    many = "".join(f"X-{i}: {'a' * 1000}\r\n" for i in range(60))
    data = RAW[name].format(t=target, smuggled=smuggled, long="a" * 20_000, many=many)

    raw = exchange(gate.port, data.encode("latin-1"))

    statuses = statuses_in(raw)
    if name not in HARMLESS:
        assert all(status >= 400 for status in statuses)
        assert images.dicoms[0][128:400] not in raw
    assert all(status >= 400 for status in statuses[1:])


def test_the_absolute_form_is_its_path(gate, images):
    good = token(f"i:{images.id}")

    assert gate.ask(f"http://x{images.file}?token={good}").body == images.dicoms[0]
    assert gate.ask(f"http://x/instances/{images.other}/file?token={good}").status == 403
    assert gate.ask(f"http://x/system?token={token('p:')}").status == 403
    assert gate.ask(f"http://x/..?token={token('p:')}").status == 400


def test_http_1_0_is_answered_too(gate, images):
    answer = gate.ask(f"{images.file}?token={token('p:')}", version="HTTP/1.0")

    assert (answer.status, answer.body) == (200, images.dicoms[0])


def test_pipelined_requests_are_judged_one_by_one(gate, images):
    good = token(f"i:{images.id}")
    lines = [f"GET {images.file}?token={good}", f"DELETE /instances/{images.id}?token={good}",
             f"GET /instances/{images.other}/file?token={good}", f"GET {images.file}"]  # fmt: skip
    data = "".join(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n" for line in lines[:-1])
    data += f"{lines[-1]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    raw = exchange(gate.port, data.encode())

    assert statuses_in(raw) == [200, 405, 403, 401]


@pytest.mark.parametrize(
    "name",
    ["Host", "X-Forwarded-Host", "X-Original-URI", "X-Pacs-Uri", "X-Pacs-Subject",
     "X-Original-Authorization", "X-Accel-Redirect", "X-Rewrite-URL", "X-Original-Method"],
)  # fmt: skip
def test_a_header_of_the_client_opens_nothing(gate, images, name):
    value = f"/instances/{images.other}/file?token={token('p:')}"

    refused = gate.ask(f"/instances/{images.other}/file", {name: value})
    also = gate.ask(f"/instances/{images.other}/file?token={token(f'i:{images.id}')}",
                    {name: value})  # fmt: skip

    assert refused.status in (400, 401)
    assert also.status in (400, 403)


def test_the_clients_host_is_not_orthancs(gate, images):
    answer = gate.ask(f"{images.path}/metadata?token={token('p:')}", host="evil.example.com")

    assert answer.status == 200
    assert b"evil" not in answer.body


def test_expiry_is_exact(gate, images):
    ends = int(time.time()) + 2
    link = f"{images.file}?token={token(f'i:{images.id}', exp=ends)}"

    assert gate.ask(link).status == 200
    time.sleep(max(0, ends - time.time()))
    assert gate.ask(link).status == 401


def test_both_judges_agree_on_requests_nobody_thought_of(opened, images):
    chance = random.Random(7)
    known = words(images)
    seeds = [filled(case, known) for case in CASES if len(filled(case, known)[0]) < 2000]
    letters = "/.%?&=;:-_+~*@!,()'0123456789abcdefABCDEF\\\"<>|{}[]^`#"
    differ = []
    for _ in range(250):
        target, headers = chance.choice(seeds)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(1, len(target))
            piece = chance.choice([chance.choice(letters), "", target[at : at + 9], "%2e", "%26"])
            target = target[:at] + piece + target[at + chance.randint(0, 2) :]
        if " " in target:
            continue
        met = {judge: opened[judge].ask(target, headers).status for judge in JUDGES}
        if len(set(met.values())) > 1:
            differ.append((target, met))

    assert not differ


def test_whoever_asks_too_often_has_to_wait(opened, images):
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with gateways.socket.create_connection(("127.0.0.1", opened["njs"].port), 10) as connection:
        connection.sendall(request * 900 + request.replace(b"Host", b"Connection: close\r\nHost"))
        raw = b""
        while piece := connection.recv(1 << 16):
            raw += piece

    assert raw.count(b"HTTP/1.1 429 ") > 0
    time.sleep(1)
    assert opened["njs"].ask(images.file).status == 401


def test_png_of_an_image_is_drawn_for_its_page(gate, images):
    answer = gate.ask(f"{images.path}/rendered?token={token('p:')}", PNG | {"Origin": PAGE})

    assert answer.body.startswith(b"\x89PNG")
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_token_of_many_images_still_fits(gate, images):
    scope = [f"i:{images.id[:-4]}{i:04x}" for i in range(95)]
    link = token(f"i:{images.id}", *scope)
    assert len(link) > 6000

    assert gate.ask(f"{images.file}?token={link}").status == 200
