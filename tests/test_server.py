"""Our DICOMweb server before the stock client, and before those who should not get in."""

import contextlib
import http.client
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
import uvicorn
from dicomweb_client.api import DICOMwebClient
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import JPEGLSLossless
from starlette.applications import Starlette
from starlette.routing import Mount

from cxr.contract import signing
from cxr.images import dicom, synth
from cxr.pacs import Pacs, multipart, server
from cxr.pacs.folder import FolderPacs

KEYS = signing.keys_from_text(signing.new_keys())
SIZE = (64, 56)
PAGE = "https://portal.example"


@dataclass
class Site:
    """A server on a loopback port, and the folder behind it."""

    pacs: FolderPacs
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, *scope: str) -> DICOMwebClient:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token(*scope)}"
        return DICOMwebClient(f"{self.url}/dicom-web", session=session)

    def get(self, path: str, *scope: str, **headers: str) -> requests.Response:
        authorization = {"Authorization": f"Bearer {token(*scope)}"} if scope else {}
        return requests.get(self.url + path, headers=authorization | headers, timeout=10)

    def raw(self, method: str, target: str, headers: dict[str, str]) -> int:
        """Send a request line as it is, for other clients tidy paths up first; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            with connection.getresponse() as response:
                return response.status


def token(*scope: str, ttl_s: int = 60) -> str:
    return signing.sign(KEYS, scope, ttl_s=ttl_s)


def drawn(index: int) -> bytes:
    return synth.draw(index, size=SIZE)[0]


def running(app: object) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="info", log_config=None)  # type: ignore[arg-type]
    running_server = uvicorn.Server(config)
    thread = threading.Thread(target=running_server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not running_server.started:
        time.sleep(0.005)
    yield listener.getsockname()[1]
    running_server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with FolderPacs(tmp_path_factory.mktemp("served")) as pacs:
        for index in range(15):
            pacs.store(drawn(index))
        compressed = pydicom.dcmread(io.BytesIO(drawn(20)))
        compressed.compress(JPEGLSLossless, generate_instance_uid=False)
        file = io.BytesIO()
        compressed.save_as(file)
        pacs.store(file.getvalue())
        for port in running(server.app(pacs, KEYS, allowed_origins=[PAGE])):
            yield Site(pacs, port)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    with FolderPacs(tmp_path / "pacs") as pacs:
        for port in running(server.app(pacs, KEYS)):
            yield Site(pacs, port)


def test_the_stock_client_searches(site: Site) -> None:
    client = site.client("p:/dicom-web")

    studies = client.search_for_studies()
    lateral = client.search_for_instances(search_filters={"ViewPosition": "LL"})
    patient = client.search_for_series(search_filters={"PatientID": "SYN0-000*"})

    assert len(studies) == len({i.study_instance_uid for i in site.pacs.search()})
    found = pydicom.Dataset.from_json(lateral[0])
    assert [found.SOPInstanceUID] == [i.sop_instance_uid for i in site.pacs.search(view="lateral")]
    assert found.RetrieveURL.endswith(_path(site, found.SOPInstanceUID))
    assert (found.Rows, found.Columns, found.PatientName) == (64, 56, "Synthetic^8")
    assert len(patient) == 15
    study = next(s for s in studies if s["0020000D"]["Value"] == [found.StudyInstanceUID])
    assert study["00201208"]["Value"] == [2]  # its frontal is in it too
    assert study["00080061"]["Value"] == ["DX"]


def test_the_stock_client_searches_below_a_study(site: Site) -> None:
    client = site.client("p:/dicom-web")
    instance = next(site.pacs.search(view="lateral"))
    study, series = instance.study_instance_uid, instance.series_instance_uid

    assert len(client.search_for_series(study)) == 2
    assert len(client.search_for_instances(study)) == 2
    assert len(client.search_for_instances(study, series)) == 1
    assert client.search_for_instances(study, "1.2") == []


def test_the_stock_client_reads_all_pages(site: Site) -> None:
    client = site.client("p:/dicom-web")

    pages = [client.search_for_instances(limit=5, offset=start) for start in (0, 5, 10, 15)]
    everything = client.search_for_instances(limit=4, get_remaining=True)

    assert [len(page) for page in pages] == [5, 5, 5, 1]
    assert [found for page in pages for found in page] == everything


def test_the_stock_client_is_told_of_an_unknown_filter(site: Site) -> None:
    client = site.client("p:/dicom-web")

    with pytest.raises(requests.HTTPError, match="400") as caught:
        client.search_for_instances(search_filters={"PatientWeight": "80"})

    assert "cannot search by 'PatientWeight'" in caught.value.response.json()["error"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("00101030=80", "'PatientWeight'"),
        ("Foo=1", "'Foo'"),
        ("PatientID=a&PatientID=b", "'PatientID' is given twice"),
        ("PatientID=a&00100020=a", "'00100020' is given twice"),
        ("StudyDate=yesterday", "expected YYYYMMDD"),
        ("limit=-1", "limit: expected"),
        ("PatientID=", "expected a value"),
        ("view=frontal&view=lateral", "'view' is given twice"),
    ],
)
def test_a_search_is_never_silently_widened(site: Site, query: str, reason: str) -> None:
    answer = site.get(f"/dicom-web/instances?{query}", "p:/dicom-web")
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_an_attribute_may_be_a_tag_and_escaped(site: Site) -> None:
    answer = site.get(
        "/dicom-web/instances?00100020=SYN0%2D000%31&includefield=all", "p:/dicom-web"
    )
    assert [found["00100020"]["Value"] for found in answer.json()] == [["SYN0-0001"]]


def test_nothing_found_is_an_empty_list(site: Site) -> None:
    answer = site.get("/dicom-web/studies?PatientID=nobody&fuzzymatching=true", "p:/dicom-web")
    assert (answer.status_code, answer.json()) == (200, [])
    assert "literal" in answer.headers["Warning"]


def test_the_stock_client_retrieves(site: Site) -> None:
    client = site.client("p:/dicom-web")
    instance = next(site.pacs.search(view="lateral"))
    study, series = instance.study_instance_uid, instance.series_instance_uid

    one = client.retrieve_instance(study, series, instance.sop_instance_uid)
    both = client.retrieve_study(study)
    streamed = list(client.iter_series(study, series))

    assert one == dicom.parse(site.pacs.retrieve(instance))
    assert {ds.SOPInstanceUID for ds in both} == {
        found.sop_instance_uid for found in site.pacs.search(StudyInstanceUID=study)
    }
    assert [ds.SOPInstanceUID for ds in streamed] == [instance.sop_instance_uid]


def test_parts_are_byte_identical(site: Site) -> None:
    for instance in site.pacs.search():
        path = _path(site, instance.sop_instance_uid)
        answer = site.get(
            path, "p:/dicom-web", Accept='multipart/related; type="application/dicom"'
        )
        kind, parameters = multipart.content_type(answer.headers["Content-Type"])
        ((heading, content),) = multipart.read(answer.content, parameters["boundary"])

        assert kind == "multipart/related"
        assert content == site.pacs.retrieve(instance)
        assert heading.endswith(instance.transfer_syntax_uid)


def _path(site: Site, uid: str) -> str:
    found = site.pacs.find(uid)
    return (
        f"/dicom-web/studies/{found.study_instance_uid}/series/{found.series_instance_uid}"
        f"/instances/{uid}"
    )


def test_the_stock_client_reads_metadata(site: Site) -> None:
    client = site.client("p:/dicom-web")
    instance = next(site.pacs.search())

    (found,) = client.retrieve_study_metadata(instance.study_instance_uid)
    ds = pydicom.Dataset.from_json(found)

    assert ds.SOPInstanceUID == instance.sop_instance_uid
    assert ds.WindowWidth == dicom.read_header(site.pacs.path(instance)).WindowWidth
    assert ds.AvailableTransferSyntaxUID == instance.transfer_syntax_uid
    assert "PixelData" not in ds


def test_the_stock_client_reads_frames(site: Site) -> None:
    client = site.client("p:/dicom-web")
    for instance in site.pacs.search():
        uids = (instance.study_instance_uid, instance.series_instance_uid)
        wanted = dicom.parse(site.pacs.path(instance)).pixel_array

        (unpacked,) = client.retrieve_instance_frames(
            *uids, instance.sop_instance_uid, [1], media_types=("application/octet-stream",)
        )
        (stored,) = client.retrieve_instance_frames(
            *uids, instance.sop_instance_uid, [1], media_types=(("application/octet-stream", "*"),)
        )

        assert np.array_equal(np.frombuffer(unpacked, "<u2").reshape(SIZE), wanted)
        compressed = instance.transfer_syntax_uid == JPEGLSLossless
        assert (stored != unpacked) is compressed


def test_compressed_frames_come_as_what_they_are(site: Site) -> None:
    instance = next(i for i in site.pacs.search() if i.transfer_syntax_uid == JPEGLSLossless)
    path = _path(site, instance.sop_instance_uid) + "/frames/1"

    as_image = site.get(path, "p:/dicom-web", Accept='multipart/related; type="image/jls"')
    as_jpeg = site.get(path, "p:/dicom-web", Accept='multipart/related; type="image/jpeg"')
    second = site.get(path.replace("frames/1", "frames/2"), "p:/dicom-web")

    _, parameters = multipart.content_type(as_image.headers["Content-Type"])
    ((heading, content),) = multipart.read(as_image.content, parameters["boundary"])
    assert heading == f"image/jls; transfer-syntax={JPEGLSLossless}"
    assert content.startswith(b"\xff\xd8\xff")
    assert (as_jpeg.status_code, second.status_code) == (406, 404)


@pytest.mark.parametrize(
    "accept",
    ['multipart/related; type="image/png"', "text/html",
     'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90'],
)  # fmt: skip
def test_what_we_do_not_have_is_not_acceptable(site: Site, accept: str) -> None:
    path = _path(site, next(site.pacs.search()).sop_instance_uid)
    assert site.get(path, "p:/dicom-web", Accept=accept).status_code == 406


def test_wado_uri(site: Site) -> None:
    instance = next(site.pacs.search())
    uids = f"studyUID={instance.study_instance_uid}&seriesUID={instance.series_instance_uid}"
    query = f"/wado?requestType=WADO&{uids}&objectUID={instance.sop_instance_uid}"
    scope = f"w:{instance.sop_instance_uid}"

    answer = site.get(query + "&contentType=application/dicom", scope)

    assert answer.content == site.pacs.retrieve(instance)
    assert answer.headers["Content-Type"] == "application/dicom"
    assert site.get(query, "p:/wado").content == answer.content
    assert site.get(query, "w:1.2.3").status_code == 403
    assert site.get(query + f"&objectUID={instance.sop_instance_uid}", scope).status_code == 403
    assert site.get(query + "&contentType=image/png", scope).status_code == 406
    assert site.get(query + "&anonymize=yes", scope).status_code == 400
    assert site.get(query.replace("WADO&", "X&"), scope).status_code == 400
    assert site.get("/wado?requestType=WADO&studyUID=1", "p:/wado").status_code == 400
    elsewhere = query.replace(instance.study_instance_uid, "1.2")
    assert site.get(elsewhere, scope).status_code == 404


def test_a_signed_link_opens_one_file(site: Site) -> None:
    one, two = list(site.pacs.search(limit=2))
    with FolderPacs(site.pacs.folder, keys=KEYS, url=site.url) as folder:
        signed: Pacs = folder

    answer = requests.get(signed.image_url(one, 60), timeout=10)

    assert answer.content == site.pacs.retrieve(one)
    assert answer.headers["Content-Type"] == "application/dicom"
    other = signed.image_url(one, 60).replace(one.orthanc_id, two.orthanc_id)
    assert requests.get(other, timeout=10).status_code == 403
    assert requests.get(signed.image_url(one, -1), timeout=10).status_code == 401
    assert requests.head(signed.image_url(one, 60), timeout=10).status_code == 200


def test_the_stock_client_stores(empty: Site) -> None:
    client = empty.client("store")
    files = [drawn(index) for index in range(3)]

    answer = client.store_instances([pydicom.dcmread(io.BytesIO(file)) for file in files])
    again = client.store_instances([pydicom.dcmread(io.BytesIO(files[0]))])

    assert len(answer.ReferencedSOPSequence) == 3
    assert len(again.ReferencedSOPSequence) == 1
    assert "FailedSOPSequence" not in again
    assert empty.pacs.count() == 3


def _post(site: Site, *files: bytes, path: str = "/dicom-web/studies") -> requests.Response:
    parts = [b"--xx\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=xx',
        "Authorization": f"Bearer {token('store')}",
    }
    body = b"".join(parts) + b"--xx--"
    return requests.post(site.url + path, data=body, headers=headers, timeout=10)


def test_stored_bytes_are_kept(empty: Site) -> None:
    assert _post(empty, drawn(0)).status_code == 200
    assert empty.pacs.retrieve(next(empty.pacs.search())) == drawn(0)


def test_each_file_has_its_own_answer(empty: Site) -> None:
    knee = drawn(1).replace(b"CHEST ", b"KNEE  ")
    twin = drawn(0).replace(b"CHEST ", b"THORAX"[:6])

    answer = _post(empty, drawn(0), twin, knee, b"junk", drawn(2)[:-50])

    assert answer.status_code == 202
    ds = pydicom.Dataset.from_json(answer.text)
    assert [item.ReferencedSOPInstanceUID for item in ds.ReferencedSOPSequence] == [
        dicom.identify(drawn(0)).sop_instance_uid
    ]
    assert [item.FailureReason for item in ds.FailedSOPSequence] == [0x0111, 0xA900, 0xA900]
    assert [item.FailureReason for item in ds.OtherFailuresSequence] == [0xC000]
    assert empty.pacs.count() == 1


def test_when_all_fail_it_is_a_conflict(empty: Site) -> None:
    assert _post(empty, b"junk").status_code == 409
    study = dicom.identify(drawn(0)).study_instance_uid
    assert _post(empty, drawn(0), path="/dicom-web/studies/1.2.3").status_code == 409
    assert _post(empty, drawn(0), path=f"/dicom-web/studies/{study}").status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/dicom", b"x", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', b"--x--", 415),
        ('multipart/related; type="application/dicom"; boundary=x', b"--x\r\n\r\nhalf", 400),
        ('multipart/related; type="application/dicom"; boundary=x', b"--x--", 400),
        ('multipart/related; type="application/dicom"', b"", 400),
    ],
)
def test_a_malformed_body_is_refused(site: Site, kind: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": kind, "Authorization": f"Bearer {token('store')}"}
    answer = requests.post(f"{site.url}/dicom-web/studies", data=body, headers=headers, timeout=10)
    assert answer.status_code == status
    assert answer.json()["error"]


PATHS = [
    "/dicom-web/instances",
    "/dicom-web/studies/1.2",
    "/wado",
    "/instances/a-b/file",
    "/",
    "/x",
]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_is_said(site: Site, path: str) -> None:
    answer = site.get(path, Origin=PAGE)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.json() == {"error": "expected one token, met none"}


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("p:/dicom-web", "/dicom-web/studies", 200),
        ("p:/dicom-web/studies", "/dicom-web/studies", 200),
        ("p:/dicom-web/studies", "/dicom-web/studiesx", 403),
        ("p:/dicom-web/studies/1.2", "/dicom-web/studies/1.2/series", 200),
        ("p:/dicom-web/studies/1.2", "/dicom-web/studies/1.23/series", 403),
        ("p:/dicom-web/studies/1.2", "/dicom-web/instances", 403),
        ("store", "/dicom-web/instances", 403),
        ("reader:ann", "/dicom-web/instances", 403),
        ("i:a-b", "/instances/a-b/file", 404),
        ("i:a-b", "/instances/a-c/file", 403),
        ("p:/instances", "/instances/a-b/file", 404),
        ("w:1.2", "/dicom-web/instances", 403),
    ],
)
def test_a_token_opens_what_it_says(site: Site, scope: str, path: str, status: int) -> None:
    assert site.get(path, scope).status_code == status


def test_storing_needs_its_own_scope(site: Site) -> None:
    headers = {"Authorization": f"Bearer {token('p:/dicom-web', 'p:/dicom-web/studies')}"}
    answer = requests.post(f"{site.url}/dicom-web/studies", headers=headers, timeout=10)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer " + token("p:/dicom-web", ttl_s=-5)},
        {"Authorization": "Bearer " + token("p:/dicom-web")[:-3]},
        {"Authorization": "Bearer"},
    ],
)
def test_other_credentials_do_not_open(site: Site, headers: dict[str, str]) -> None:
    answer = requests.get(f"{site.url}/dicom-web/studies", headers=headers, timeout=10)
    assert answer.status_code == 401


def test_two_tokens_are_none(site: Site) -> None:
    good = token("p:/dicom-web")
    twice = site.get(f"/dicom-web/studies?token={good}&token={good}")
    both = site.get(f"/dicom-web/studies?token={good}", "p:/dicom-web")
    assert (twice.status_code, both.status_code) == (401, 401)


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/../instances", "/dicom-web//studies", "/dicom-web/%2e%2e/instances",
        "/dicom-web/studies%2F1", "/dicom-web/studies/..", "/dicom-web/%73tudies", "//dicom-web",
        "/dicom-web\\studies", "/instances/..%2f..%2fetc/file", "/%00",
    ],
)  # fmt: skip
def test_paths_are_judged_as_they_came(site: Site, path: str) -> None:
    headers = {"Authorization": f"Bearer {token('p:/dicom-web', 'p:/instances')}"}
    assert site.raw("GET", path, headers) == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_no_other_method_is_let_through(site: Site, method: str) -> None:
    headers = {"Authorization": f"Bearer {token('p:/dicom-web', 'store')}"}
    assert site.raw(method, "/dicom-web/studies", headers) in (400, 405)


def test_a_method_in_disguise_changes_nothing(site: Site) -> None:
    instance = next(site.pacs.search())
    path = f"/instances/{instance.orthanc_id}/file"

    for query, headers in (("?_method=DELETE", {}), ("", {"X-HTTP-Method-Override": "DELETE"})):
        answer = site.get(path + query, "p:/instances", **headers)
        assert answer.content == site.pacs.retrieve(instance)


def test_preflight_needs_no_token_and_names_only_listed_pages(site: Site) -> None:
    wanted = {"Access-Control-Request-Method": "GET"}
    good = requests.options(f"{site.url}/wado", headers={"Origin": PAGE, **wanted}, timeout=10)
    evil = {"Origin": PAGE + ".evil.example", **wanted}
    bad = requests.options(f"{site.url}/wado", headers=evil, timeout=10)
    null = requests.options(f"{site.url}/wado", headers={"Origin": "null", **wanted}, timeout=10)

    assert (good.status_code, good.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert "Authorization" in good.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in bad.headers
    assert "Access-Control-Allow-Origin" not in null.headers
    assert good.headers["Vary"] == bad.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", [*PATHS, "/dicom-web/series", "/dicom-web/studies/x/metadata"])
def test_every_answer_is_kept_by_nobody(site: Site, path: str) -> None:
    answer = site.get(path, "p:/dicom-web", "p:/wado", "p:/instances")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_tokens_are_in_no_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    secret = token("p:/dicom-web")

    with caplog.at_level(logging.DEBUG):
        assert site.get(f"/dicom-web/studies?PatientID=x&token={secret}").status_code == 200
        assert site.get(f"/dicom-web/studies?token={secret[:-1]}").status_code == 401

    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("urllib3")]
    assert any("/dicom-web/studies" in line for line in ours)
    assert not any(secret[:-1] in line or "PatientID=x" in line for line in ours)


def _ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our side logged, tracebacks and all; the test's own client is another's."""
    form = logging.Formatter()
    return [form.format(r) for r in caplog.records if not r.name.startswith(("urllib3", "asyncio"))]


def _names(*files: bytes) -> set[str]:
    found = [dicom.identify(file) for file in files]
    return {
        name
        for i in found
        for name in (i.patient_id, i.study_instance_uid, i.series_instance_uid,
                     i.sop_instance_uid, i.orthanc_id)
    }  # fmt: skip


def test_refusals_are_logged_by_count_and_code_only(
    empty: Site, caplog: pytest.LogCaptureFixture
) -> None:
    knee = drawn(1).replace(b"CHEST ", b"KNEE  ")
    twin = drawn(0).replace(b"CHEST ", b"THORAX"[:6])
    cut = drawn(2)[:-50]

    with caplog.at_level(logging.DEBUG):
        _post(empty, drawn(0), twin, knee, b"junk", cut)
        _post(empty, drawn(0))

    logged = [line for line in _ours(caplog) if "STOW" in line]
    assert logged == ["STOW-RS: refused 4 of 5 files: 2 for 0xa900, 1 for 0x0111, 1 for 0xc000"]
    assert not [n for n in _names(drawn(0), drawn(1), drawn(2)) for line in _ours(caplog)
                if n in line]  # fmt: skip


def test_reading_names_no_image_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    one = next(site.pacs.search())
    path = _path(site, one.sop_instance_uid).removeprefix("/")
    scope = ("p:/dicom-web", "p:/instances")

    with caplog.at_level(logging.DEBUG):
        for target in (f"dicom-web/{path}" if not path.startswith("dicom-web") else path,
                       f"instances/{one.orthanc_id}/file"):  # fmt: skip
            assert site.get(f"/{target}", *scope).status_code == 200

    logged = _ours(caplog)
    assert any("/dicom-web/studies/…/series/…/instances/…" in line for line in logged)
    assert any("/instances/…/file" in line for line in logged)
    assert not [name for name in _names(site.pacs.retrieve(one)) for line in logged if name in line]


@pytest.mark.parametrize("form", ["file", "instance", "metadata", "study"])
def test_a_file_that_is_gone_names_no_image_in_the_log(
    empty: Site, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    one = empty.pacs.store(drawn(0))
    names = _names(drawn(0))
    empty.pacs.path(one).unlink()
    study = f"/dicom-web/studies/{one.study_instance_uid}"
    instance = f"{study}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
    target = {
        "file": f"/instances/{one.orthanc_id}/file",
        "instance": instance,
        "metadata": f"{instance}/metadata",
        "study": study,
    }[form]
    headers = {"Accept": "application/dicom"} if form == "instance" else {}

    with caplog.at_level(logging.DEBUG):
        try:
            answer = empty.get(target, "p:/dicom-web", "p:/instances", **headers)
            assert answer.status_code == 500
            assert answer.json()["error"].startswith("a stored file cannot be read: No such file")
        except requests.exceptions.ChunkedEncodingError:  # it had begun to answer
            assert form in ("metadata", "study")

    assert not [name for name in names for line in _ours(caplog) if name in line]


@pytest.mark.parametrize(
    "path",
    [
        "/instances/0b2a4f15-00000000-00000000-00000000-00000000/file",
        "/wado?requestType=WADO&studyUID=1.2&seriesUID=1.2&objectUID=1.2",
    ],
)
def test_an_image_that_is_not_there_says_nothing_of_the_servers_folders(site: Site, path: str):
    answer = site.get(path, "p:/instances", "p:/wado")

    assert (answer.status_code, answer.json()["error"]) == (404, "no such instance")


def test_a_damaged_file_says_nothing_of_the_servers_folders(empty: Site) -> None:
    one = empty.pacs.store(drawn(0))
    empty.pacs.path(one).write_bytes(b"cut")
    path = (
        f"/dicom-web/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
        f"/instances/{one.sop_instance_uid}/frames/1"
    )

    answer = empty.get(path, "p:/dicom-web", Accept="*/*")

    assert answer.status_code == 500
    assert str(empty.pacs.folder) not in answer.text


def test_it_works_below_a_prefix(tmp_path: Path) -> None:
    with FolderPacs(tmp_path, keys=KEYS) as pacs:
        instance = pacs.store(drawn(0))
    portal = Starlette(routes=[Mount("/pacs", server.app(pacs, KEYS))])
    for port in running(portal):
        pacs.url = f"http://127.0.0.1:{port}/pacs"
        file = requests.get(pacs.image_url(instance, 60), timeout=10)
        headers = {"Authorization": f"Bearer {token('p:/dicom-web')}"}
        found = requests.get(f"{pacs.url}/dicom-web/instances", headers=headers, timeout=10).json()
        retrieved = requests.get(found[0]["00081190"]["Value"][0], headers=headers, timeout=10)
        broken = requests.get(f"{pacs.url}/dicom-web%2Finstances", headers=headers, timeout=10)

    assert file.content == drawn(0)
    assert drawn(0) in retrieved.content
    assert broken.status_code == 400


def test_many_threads_read_at_once(site: Site) -> None:
    instances = list(site.pacs.search())
    with FolderPacs(site.pacs.folder, keys=KEYS, url=site.url) as signed:
        assert signed.count() == len(instances)
    wrong: list[str] = []

    def read() -> None:
        for instance in instances:
            if requests.get(signed.image_url(instance, 60), timeout=10).content != (
                site.pacs.retrieve(instance)
            ):
                wrong.append(instance.sop_instance_uid)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@given(st.binary(max_size=300))
def test_multipart_comes_apart_or_is_refused(body: bytes) -> None:
    try:
        parts = list(multipart.read(body, "x"))
    except ValueError:
        return
    assert all(isinstance(content, bytes) for _, content in parts)


@given(st.lists(st.binary(max_size=60).filter(lambda b: b"--x" not in b), max_size=4))
def test_multipart_comes_out_as_it_went_in(contents: list[bytes]) -> None:
    body = b"preamble"
    for content in contents:
        body += b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + content
    body += b"\r\n--x--\r\n"

    assert [content for _, content in multipart.read(body, "x")] == contents


@given(st.text(max_size=80))
def test_any_accept_header_is_read(header: str) -> None:
    assert multipart.accepted(header)
    json.dumps(multipart.content_type(header))
