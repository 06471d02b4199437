"""The portal's whole HTTP interface against requests that nobody would write by hand."""

import json
import warnings

import pytest
import schemathesis
from doors import KEYS, Site
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from specimens import dicom, form

from cxr.labeling import Reader
from cxr.pacs.folder import FolderPacs

pytestmark = pytest.mark.slow
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
ALL = ("reader", "adjudicator", "lead")
LAST = ("/sign-out", "/passphrase", "/job/close")
"""After these, less is open."""
FORMS = ("/sign-in", "/sign-out", "/passphrase")
FEW = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def site(tmp_path):
    pacs = FolderPacs(tmp_path / "pacs", keys=KEYS)
    for number in range(4):
        pacs.store(dicom(number))
    made = Site(
        tmp_path / "site", pacs, Reader("ann", roles=ALL), Reader("bob"),
        consolidation="adjudicated",
    )  # fmt: skip
    for name, count in (("ann", 3), ("bob", 4)):
        client = made.client(name)
        for _ in range(count):
            offer = client.get("/api/task").json()
            answer = form("aaap" if name == "ann" else "paaa")
            url = offer["task"]["submitUrl"]
            client.post(url, content=answer, headers={"X-CSRF": offer["csrf"]})
    yield made
    made.stop()


def described(site):
    """The portal's own OpenAPI document, with the bodies that its routes read by themselves."""
    document = site.app.openapi()
    text = {"type": "string"}
    fields = ("name", "passphrase", "next", "current", "again", "csrf")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in ("post", "put"):
                kind = "application/x-www-form-urlencoded" if path in FORMS else "application/json"
                shape = {"type": "object", "properties": dict.fromkeys(fields, text)}
                anything = shape if path in FORMS else {
                    "anyOf": [{"type": "object", "properties": {"annotation": text}}, {}]
                }  # fmt: skip
                operation["requestBody"] = {"content": {kind: {"schema": anything}}}
    return document


def operations(site):
    found = schemathesis.openapi.from_dict(described(site)).get_all_operations()
    return sorted((result.ok() for result in found), key=lambda o: (o.path in LAST, o.path))


class Visitor:
    """Who sends what was made up: everybody's cookie, the page's token, a task that is hers."""

    def __init__(self, site):
        self.site = site
        client = site.client("ann")
        self.csrf = client.get("/api/task").json()["csrf"]
        self.answered = client.get("/api/answered").json()["answered"][0]["id"]
        self.tasks = [self.answered, client.get("/api/task").json()["task"]["id"]]

    def headers(self):
        portal = self.site.app.state.portal
        token = portal.begin_session(portal.job.readers[0], "link")
        return {
            "Cookie": f"{portal.cookie}={token}", "X-CSRF": self.csrf, "Origin": self.site.url
        }  # fmt: skip

    def send(self, case, own):
        if own is not None and "task_id" in case.path_parameters:
            case.path_parameters["task_id"] = self.tasks[own]
        if own is not None and "object_id" in case.path_parameters:
            case.path_parameters["object_id"] = own
        return case.call(
            base_url=self.site.listens, headers=self.headers(), timeout=20, allow_redirects=False
        )


def check(case, response):
    where = f"{case.method} {case.formatted_path}: {response.status_code} {response.text[:300]}"
    assert response.status_code < 500, where
    assert "Content-Security-Policy".lower() in response.headers, where
    assert "Traceback" not in response.text, where
    kind = " ".join(response.headers.get("content-type", []))
    if response.status_code >= 400 and "json" in kind:
        body = json.loads(response.text)
        assert list(body) == ["error"], where
        assert len(body["error"].splitlines()) == 1, where


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
def test_no_request_breaks_the_portal(site, mode):
    visitor = Visitor(site)
    met = set()

    for operation in operations(site):

        @FEW
        @given(operation.as_strategy(generation_mode=mode), st.sampled_from([None, 0, 1]))
        def attempt(case, own):
            response = visitor.send(case, own)
            check(case, response)
            met.add((case.operation.path, case.method.upper(), response.status_code))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                attempt()
            except Exception as error:
                if type(error).__name__ not in ("Unsatisfiable", "InvalidArgument"):
                    raise

    codes = {code for _, _, code in met}
    assert codes > ({200, 204, 303, 401, 404, 410, 422} if mode is POSITIVE else {200, 401, 415})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", 10**400, "\x00", "Edema", "present", -1]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """Every place of a JSON document."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else ())
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value, path, new):
    """A document with another value at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


REGION = {
    "id": "r", "type": "polygon", "label": "Edema", "state": "present", "comment": "",
    "points": [[1, 1], [9, 1], [9, 9]],
}  # fmt: skip
ANSWER = json.loads(json.loads(form("paaa"))["annotation"]) | {"rois": [REGION], "comment": "x"}


@pytest.mark.parametrize("to", ["answer", "decision", "draft"])
def test_an_answer_with_anything_anywhere_breaks_nothing(site, to):
    visitor = Visitor(site)
    client = site.client()
    method, path = {
        "answer": ("POST", f"/tasks/{visitor.answered}/answer"),
        "draft": ("PUT", f"/tasks/{visitor.answered}/draft?versions=1000000000"),
        "decision": ("POST", "/disputes/0/decision"),
    }[to]
    codes = set()

    @settings(FEW, max_examples=150)
    @given(st.sampled_from(list(places(ANSWER))), JSON, st.sampled_from(["form", "text", "bare"]))
    def attempt(place, value, wrapped):
        document = put(ANSWER, place, value)
        body = {"annotation": json.dumps(document)} if wrapped == "form" else document
        text = json.dumps(json.dumps(body) if wrapped == "text" else body)
        response = client.request(
            method,
            path,
            content=text,
            headers=visitor.headers() | {"Content-Type": "application/json"},
        )
        assert response.status_code in (200, 204, 404, 409, 410, 422), response.text
        if response.status_code >= 400:
            assert len(response.json()["error"].splitlines()) == 1
        codes.add(response.status_code)

    attempt()
    assert 422 in codes
    assert codes & {200, 204}
    assert client.get("/api/answered", headers=visitor.headers()).status_code == 200
    assert client.get(f"/task/{visitor.answered}", headers=visitor.headers()).status_code == 200
    assert client.get("/adjudicate", headers=visitor.headers()).status_code == 200


def test_the_document_that_is_fuzzed_names_every_route(site):
    paths = {operation.path for operation in operations(site)}

    assert {"/task", "/api/task", "/tasks/{task_id}/answer", "/sign-in", "/enter"} <= paths
    assert site.client("ann").get("/openapi.json").status_code == 404
