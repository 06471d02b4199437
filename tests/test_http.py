"""Serving: which ports are open to whom, and what TLS takes."""

import ssl

import httpx
import pytest
from doors import certificate

from cxr import places
from cxr.errors import ConfigError
from cxr.infra import http


async def hello(scope, receive, send):
    headers = [(b"x-scheme", scope["scheme"].encode()), (b"x-client", scope["client"][0].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def secured(tmp_path):
    cert, key = certificate(tmp_path)
    listener = http.bind("127.0.0.1", 0, key="port", secured=http.tls(cert, key, section="tls"))
    served = http.Background(hello, listener)
    yield listener.url, ssl.create_default_context(cafile=cert)
    served.stop()


def test_a_certificate_serves_https(secured):
    url, trusted = secured

    response = httpx.get(url, verify=trusted)

    assert url.startswith("https://127.0.0.1:")
    assert response.text == "hello"
    assert response.headers["x-scheme"] == "https"
    assert "server" not in response.headers


def test_tls_before_1_2_is_refused(tmp_path):
    context = http.tls(*certificate(tmp_path), section="tls")

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_https_answers_nothing_in_the_clear(secured):
    url, _ = secured

    with pytest.raises(httpx.TransportError, match=r"disconnected|reset|closed"):
        httpx.get(url.replace("https", "http"))


def test_no_local_process_may_say_it_is_another_address():
    listener = http.bind("127.0.0.1", 0, key="port")
    served = http.Background(hello, listener)

    said = {"X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
    response = httpx.get(listener.url, headers=said)

    served.stop()
    assert response.headers["x-client"] == "127.0.0.1"
    assert response.headers["x-scheme"] == "http"


def test_a_key_under_a_passphrase_is_one_line_and_asks_nobody(tmp_path):
    cert, key = certificate(tmp_path, passphrase=b"secret")

    with pytest.raises(ConfigError, match=r"^labeling\.tls: expected a PEM .* without a passphr"):
        http.tls(cert, key, section="labeling.tls")


def test_a_missing_certificate_is_named(tmp_path):
    _, key = certificate(tmp_path)

    with pytest.raises(ConfigError, match=r"^labeling\.tls\.certificate: .*none: No such file"):
        http.tls(tmp_path / "none", key, section="labeling.tls")


def test_a_key_of_another_certificate_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cert, _ = certificate(tmp_path / "a")
    _, key = certificate(tmp_path / "b")

    with pytest.raises(ConfigError, match=r"met .*cert\.pem' and .*key\.pem' \(KEY_VALUES_MISMA"):
        http.tls(cert, key, section="labeling.tls")


def test_text_that_is_no_certificate_is_told(tmp_path):
    _, key = certificate(tmp_path)

    with pytest.raises(ConfigError, match="expected a PEM certificate"):
        http.tls(key, key, section="labeling.tls")


def test_an_address_of_another_machine_is_one_line():
    with pytest.raises(ConfigError, match=r"^labeling\.port: port 0 cannot be had"):
        http.bind("192.0.2.1", 0, key="labeling.port")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("portal.hospital.example", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_loopback_counts_as_loopback(host, loopback):
    assert places.is_loopback(host) is loopback
