"""Any PACS's images behind signed links: what goes out, and what is refused."""

import httpx
import pytest
from sites import KEYS, filled

from cxr.contract import signing
from cxr.infra import http
from cxr.pacs import relay


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("pacs"))


@pytest.fixture(scope="module")
def url(pacs):
    listener = http.bind("127.0.0.1", 0, key="port")
    served = http.Background(relay.app(pacs, KEYS), listener)
    yield listener.url
    served.stop()


def ask(url, orthanc_id, scope=None, **options):
    token = signing.sign(KEYS, [scope or f"i:{orthanc_id}"], ttl_s=60)
    return httpx.get(f"{url}/instances/{orthanc_id}/file", params={"token": token}, **options)


def test_a_file_comes_byte_for_byte_and_says_its_length(url, pacs):
    for instance in pacs.search():
        answer = ask(url, instance.orthanc_id)

        assert answer.content == pacs.retrieve(instance)
        assert answer.headers["content-type"] == "application/dicom"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["cache-control"] == "no-store"


def test_a_large_file_comes_in_pieces(tmp_path):
    pacs = filled(tmp_path)
    instance = next(pacs.search())
    with pacs.path(instance).open("ab") as file:
        file.write(b"\0" * (5 << 20))
    listener = http.bind("127.0.0.1", 0, key="port")
    served = http.Background(relay.app(pacs, KEYS), listener)

    answer = ask(listener.url, instance.orthanc_id)
    served.stop()

    assert answer.content == pacs.retrieve(instance)
    assert answer.headers["transfer-encoding"] == "chunked"


def test_an_image_that_is_not_there_is_404_in_a_sentence(url):
    answer = ask(url, "-".join(["00000000"] * 5))

    assert answer.status_code == 404
    assert answer.json() == {"error": "the PACS holds no such image"}


def test_a_pacs_that_does_not_give_it_is_502_in_a_sentence(tmp_path, caplog):
    pacs = filled(tmp_path)
    instance = next(pacs.search())
    pacs.path(instance).unlink()
    listener = http.bind("127.0.0.1", 0, key="port")
    served = http.Background(relay.app(pacs, KEYS), listener)

    answer = ask(listener.url, instance.orthanc_id)
    served.stop()

    assert answer.status_code == 502
    assert answer.json()["error"].startswith("the PACS does not give this image now")
    assert "an image cannot be shown" in caplog.text
    assert instance.sop_instance_uid not in caplog.text


def test_a_link_opens_its_own_image_and_nothing_else(url, pacs):
    one, other = list(pacs.search())[:2]
    address = f"{url}/instances/{one.orthanc_id}/file"

    assert httpx.get(address).status_code == 401
    assert ask(url, one.orthanc_id, scope=f"i:{other.orthanc_id}").status_code == 403
    everything = signing.sign(KEYS, ["p:/instances", "p:/dicom-web", "p:/wado"], ttl_s=60)
    for path in ("dicom-web/studies", "instances", f"instances/{one.orthanc_id}", "wado"):
        assert httpx.get(f"{url}/{path}", params={"token": everything}).status_code in (403, 404)
    for method in ("POST", "PUT", "DELETE"):
        answer = httpx.request(method, address, params={"token": everything})
        assert answer.status_code in (403, 405)
