"""A server on its bad days: each ends in one sentence that names the key, and in no half file."""

import base64
import datetime
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from orthanc_servers import free_port, section

from cxr import config, pacs_schema, schema
from cxr.errors import AbsentError, ConfigError, PacsError, UnavailableError
from cxr.images import dicom, synth
from cxr.pacs import opening
from cxr.pacs.patience import SLOWEST

SECRET = "a-secret-nobody-prints"
PATIENT = "DOE-1970"
FILE = synth.draw(0, seed=4242, size=(64, 56))[0]
INSTANCE = dicom.identify(FILE)


class Misbehaving:
    """An HTTP server that answers as `script` says: called with each request's handler.

    Attributes:
        asked: Request lines, and whether each had credentials.
    """

    def __init__(self, script, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, bool]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(length)
                outer.asked.append((self.requestline, "Authorization" in self.headers))
                try:
                    script(self)
                except OSError:  # the client hung up
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 as http.server asks

            def log_message(self, *_: object) -> None:
                pass

            def answer(self, status: int, body: bytes, kind="application/json", **headers) -> None:
                self.send_response(status)
                lengths = {"Content-Type": kind, "Content-Length": str(len(body))}
                for name, value in (lengths | headers).items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> "Misbehaving":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def orthanc_at(url: str, tmp_path: Path, *, key: str = "pacs", **changes: object):
    given = {"url": url, "image_url": None, "password": SECRET, "timeout_s": 1.0} | changes
    return opening.opened(section(tmp_path / "o", **given), root=tmp_path, key=key)


def dicomweb_at(url: str, tmp_path: Path, *, key: str = "pacs", **changes: object):
    given = {
        "_target_": "cxr.pacs.dicomweb.DicomWebPacs",
        "url": url, "timeout_s": 1.0, "threads": 2, "auth": "bearer", "token": SECRET,
        "seen": str(tmp_path / "seen"),
    }  # fmt: skip
    described = pacs_schema.DicomWebPacs.model_validate(given | changes)
    return opening.opened(described, root=tmp_path, key=key)


KINDS = pytest.mark.parametrize("opened", [orthanc_at, dicomweb_at], ids=["orthanc", "dicomweb"])


def met(pacs, action=None) -> PacsError:
    """What goes wrong, said in one sentence without secrets."""
    with pacs, pytest.raises(PacsError) as caught:
        (action or (lambda it: list(it.search(PatientID=PATIENT))))(pacs)
    said = str(caught.value)
    assert "\n" not in said
    assert SECRET not in said
    assert PATIENT not in said
    return caught.value


@KINDS
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_the_variables(opened, status, tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(status, b"{}")) as server:
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))

    names = {orthanc_at: "CXR_PACS_USER and CXR_PACS_PASSWORD", dicomweb_at: "CXR_PACS_TOKEN"}
    assert f": {status}; set {names[opened]}" in str(error)
    assert len(server.asked) == 1


@KINDS
def test_messages_about_the_source_of_a_copy_name_its_own_variables(opened, tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(401, b"{}")) as server:
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path, key="from_pacs"))

    names = {
        orthanc_at: "CXR_FROM_PACS_USER and CXR_FROM_PACS_PASSWORD",
        dicomweb_at: "CXR_FROM_PACS_TOKEN",
    }
    assert f"set {names[opened]}" in str(error)
    assert "CXR_PACS" not in str(error)


def searched(*overrides: str) -> None:
    section = config.check(config.compose("ingest", overrides), schema.Ingest)
    with opening.opened(section.from_pacs, root=Path(section.root), key="from_pacs") as pacs:
        list(pacs.search(PatientID=PATIENT))


@pytest.mark.parametrize("source", ["orthanc", "dicomweb", "dicomweb from_pacs.auth=bearer"])
@pytest.mark.parametrize("own", ["", "of-the-source"])
def test_the_destinations_password_is_not_sent_to_the_source(
    source, own, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CXR_ROOT", str(tmp_path))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "orthanc.password").write_text(SECRET)
    for name in ("URL", "USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"CXR_FROM_PACS_{name}", raising=False)
        if name != "URL":
            monkeypatch.setenv(f"CXR_PACS_{name}", SECRET)
    if own:
        monkeypatch.setenv("CXR_FROM_PACS_PASSWORD", own)
        monkeypatch.setenv("CXR_FROM_PACS_TOKEN", own)
    sent = []
    with Misbehaving(
        lambda it: (sent.append(it.headers["Authorization"] or ""), it.answer(401, b"{}"))
    ) as server:
        monkeypatch.setenv("CXR_FROM_PACS_URL", f"http://127.0.0.1:{server.port}")
        with pytest.raises((PacsError, ConfigError), match=r"from_pacs\.token|CXR_FROM_PACS_"):
            searched("site=orthanc", *f"from_pacs={source}".split())

    secrets = [word.partition(" ")[2] for word in sent]
    plain = [w if "bearer" in source else base64.b64decode(w).decode() for w in secrets]
    assert not any(SECRET in word for word in plain)
    assert not own or any(own in word for word in plain)


def test_the_drawn_password_is_for_the_orthanc_that_up_recorded(tmp_path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "orthanc.password").write_text("drawn")
    (tmp_path / "o" / "run").mkdir(parents=True)
    ours, other = (f"http://127.0.0.1:{port}" for port in (7001, 7002))
    (tmp_path / "o" / "run" / "up.json").write_text(json.dumps({"url": ours}))

    orthanc_at(ours, tmp_path, key="from_pacs", password=None).close()

    with pytest.raises(PacsError, match=r"^from_pacs\.password: .*CXR_FROM_PACS_PASSWORD"):
        orthanc_at(other, tmp_path, key="from_pacs", password=None)
    with pytest.raises(PacsError, match=r"^pacs\.password: .*set CXR_PACS_PASSWORD"):
        orthanc_at("https://pacs.example", tmp_path, password=None)


def test_a_missing_password_is_asked_for(tmp_path) -> None:
    with pytest.raises(
        PacsError, match=r"^pacs\.password: .*set CXR_PACS_PASSWORD.*cxr.orthanc up"
    ):
        orthanc_at("http://127.0.0.1:1", tmp_path, password=None)


def test_the_password_that_was_drawn_is_used(tmp_path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "orthanc.password").write_text("drawn\n")
    seen = []
    with (
        Misbehaving(
            lambda it: (seen.append(it.headers["Authorization"]), it.answer(200, b"[]"))
        ) as server,
        orthanc_at(f"http://127.0.0.1:{server.port}", tmp_path, password=None) as pacs,
    ):
        assert list(pacs.search()) == []

    assert seen == ["Basic Y3hyOmRyYXdu"] * len(seen)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """One that signed itself, with its key, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path


@KINDS
def test_a_certificate_of_nobody_names_ca_and_with_it_is_trusted(opened, tmp_path, certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with Misbehaving(lambda it: it.answer(200, b"[]"), tls=tls) as server:
        url = f"https://127.0.0.1:{server.port}"
        error = met(opened(url, tmp_path))
        with opened(url, tmp_path, ca=str(certificate)) as pacs:
            assert list(pacs.search()) == []

    assert "is not trusted: self-signed certificate; set pacs.ca" in str(error)


def test_a_ca_that_is_none_is_refused_at_once(tmp_path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path in ("missing.pem", "empty.pem"):
        with pytest.raises(PacsError, match=r"^pacs\.ca: expected a PEM certificate, met "):
            orthanc_at("https://localhost", tmp_path, ca=str(tmp_path / path))


def test_tls_where_none_is_spoken_names_the_url(tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(200, b"[]")) as server:
        error = met(orthanc_at(f"https://127.0.0.1:{server.port}", tmp_path))

    assert "check pacs.url" in str(error)


@KINDS
def test_a_server_that_says_nothing_is_given_up(opened, tmp_path) -> None:
    release = threading.Event()
    with Misbehaving(lambda it: release.wait(20)) as server:
        began = time.monotonic()
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))
        assert time.monotonic() - began < 10
        release.set()

    assert isinstance(error, UnavailableError)
    assert "within 1 s; raise pacs.timeout_s" in str(error)


def trickle(it) -> None:
    """Bytes that come one by one, each well within a socket's time-out."""
    it.send_response(200)
    it.send_header("Content-Type", "application/dicom")
    it.send_header("Content-Length", "1000000")
    it.end_headers()
    for _ in range(200):
        it.wfile.write(b"x")
        it.wfile.flush()
        time.sleep(0.1)


def trickle_headers(it) -> None:
    """The same before there is any answer."""
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
        it.wfile.write(bytes([letter]))
        it.wfile.flush()
        time.sleep(0.1)


@KINDS
@pytest.mark.parametrize("script", [trickle, trickle_headers])
def test_a_server_that_trickles_is_given_up(opened, script, tmp_path) -> None:
    with Misbehaving(script) as server:
        began = time.monotonic()
        pacs = opened(f"http://127.0.0.1:{server.port}", tmp_path)
        error = met(pacs, lambda it: it.retrieve(INSTANCE))
        assert time.monotonic() - began < 10

    assert "raise pacs.timeout_s" in str(error)


def test_a_reader_that_dawdles_is_not_the_servers_fault(tmp_path) -> None:
    big = bytes(4 << 20)
    with (
        Misbehaving(lambda it: it.answer(200, big, "application/dicom")) as server,
        orthanc_at(f"http://127.0.0.1:{server.port}", tmp_path, timeout_s=0.5) as pacs,
    ):
        pieces = pacs.stream(INSTANCE)
        total = len(next(pieces))
        time.sleep(1.2)
        total += sum(map(len, pieces))

    assert total == len(big)
    assert total > SLOWEST


class Storm:
    """Fails so many times, then answers."""

    def __init__(self, times: int, status: int, **headers: str) -> None:
        self._left, self._status, self._headers = times, status, headers
        self._lock = threading.Lock()

    def __call__(self, it) -> None:
        with self._lock:
            self._left -= 1
            failing = self._left >= 0
        if failing:
            said = {"Message": f"Database is full of {PATIENT}", "Details": "later"}
            it.answer(self._status, json.dumps(said).encode(), **self._headers)
        else:
            it.answer(200, b"[]")


@KINDS
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_storm_that_passes_is_not_noticed(opened, status, tmp_path) -> None:
    with (
        Misbehaving(Storm(2, status)) as server,
        opened(f"http://127.0.0.1:{server.port}", tmp_path, timeout_s=10.0) as pacs,
    ):
        assert list(pacs.search()) == []


@KINDS
def test_a_storm_that_stays_is_told_in_its_own_words(opened, tmp_path) -> None:
    with Misbehaving(Storm(99, 500)) as server:
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))

    assert isinstance(error, UnavailableError)
    assert str(error).endswith(" with 500: Database is full of … later")
    assert 1 < len(server.asked) < 8


def test_a_server_that_asks_for_an_hour_is_not_given_it(tmp_path) -> None:
    with Misbehaving(Storm(99, 503, Retry_After="3600")) as server:
        began = time.monotonic()
        error = met(orthanc_at(f"http://127.0.0.1:{server.port}", tmp_path))
        assert time.monotonic() - began < 10

    assert "503" in str(error)


@KINDS
def test_nobody_there_names_the_url(opened, tmp_path) -> None:
    error = met(opened(f"http://127.0.0.1:{free_port()}", tmp_path))

    assert isinstance(error, UnavailableError)
    assert "cannot be reached (connection refused); is it running, and pacs.url right?" in str(
        error
    )
    assert ("cxr.orthanc up starts an Orthanc here" in str(error)) is (opened is orthanc_at)


@pytest.mark.parametrize(
    ("opened", "status", "hint"),
    [
        (orthanc_at, 405, "is pacs.url the gateway, which only reads?"),
        (dicomweb_at, 400, "set pacs.url to the address below which /studies is"),
        (dicomweb_at, 404, "set pacs.url to the address below which /studies is"),
    ],
)
def test_the_wrong_address_of_the_right_machine_is_guessed(opened, status, hint, tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(status, b"{}")) as server:
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))

    assert f"with {status}; {hint}" in str(error)


def test_a_name_that_is_none_names_the_url(tmp_path) -> None:
    error = met(orthanc_at("https://nowhere.invalid", tmp_path))

    assert "pacs.url" in str(error)


def half(it) -> None:
    """Announces a whole file and hangs up in the middle of it."""
    it.send_response(200)
    it.send_header("Content-Type", "application/dicom")
    it.send_header("Content-Length", str(len(FILE)))
    it.end_headers()
    it.wfile.write(FILE[: len(FILE) // 2])
    it.close_connection = True


@KINDS
def test_half_a_file_is_an_error(opened, tmp_path) -> None:
    with Misbehaving(half) as server:
        pacs = opened(f"http://127.0.0.1:{server.port}", tmp_path)
        error = met(pacs, lambda it: it.retrieve(INSTANCE))

    assert isinstance(error, UnavailableError)
    assert "broke off its answer" in str(error)


def test_half_a_part_is_an_error(tmp_path) -> None:
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    body = b"--b\r\n\r\n" + FILE[:1000]
    with Misbehaving(lambda it: it.answer(200, body, kind)) as server:
        pacs = dicomweb_at(f"http://127.0.0.1:{server.port}", tmp_path)
        error = met(pacs, lambda it: it.retrieve(INSTANCE))

    assert "sent a file that ended before its closing boundary" in str(error)


@KINDS
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_a_web_page_in_place_of_an_answer_names_the_url(opened, kind, tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(200, b"<html>sign in</html>", kind)) as server:
        error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))

    assert "set pacs.url to the address below which" in str(error)


@KINDS
def test_credentials_do_not_follow_a_redirect(opened, tmp_path) -> None:
    with Misbehaving(lambda it: it.answer(200, b"[]")) as other:
        there = f"http://127.0.0.1:{other.port}/"
        with Misbehaving(lambda it: it.answer(302, b"", Location=there)) as server:
            error = met(opened(f"http://127.0.0.1:{server.port}", tmp_path))

    assert "elsewhere (302)" in str(error)
    assert "set pacs.url" in str(error)
    assert other.asked == []
    assert [had for _, had in server.asked] == [True]


def test_no_proxy_of_the_environment_stands_before_this_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with (
        Misbehaving(lambda it: it.answer(200, b"[]")) as server,
        orthanc_at(f"http://127.0.0.1:{server.port}", tmp_path) as pacs,
    ):
        assert list(pacs.search()) == []


def test_a_server_that_ignores_the_offset_is_found_out(tmp_path) -> None:
    page = json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]).encode()
    with Misbehaving(lambda it: it.answer(200, page)) as server:
        error = met(dicomweb_at(f"http://127.0.0.1:{server.port}", tmp_path))

    assert "gives the same 1 results whatever the offset" in str(error)


def element(tag: str, vr: str, value: object) -> dict:
    return {tag: {"vr": vr, "Value": [value]}}


def careless(it) -> None:
    """A server that pages by three, ignores every filter, and leaves most attributes out."""
    path, _, query = it.path.partition("?")
    offset = int(dict(pair.split("=") for pair in query.split("&") if pair).get("offset", 0))
    parts = path.split("/")
    if path == "/studies":
        found = [element("0020000D", "UI", f"1.2.{n}") for n in range(10)]
    elif path.endswith("/metadata"):
        study = parts[2]
        found = [
            element("0020000D", "UI", study)
            | element("0020000E", "UI", f"{study}.1")
            | element("00080018", "UI", f"{study}.1.1")
            | element("00080016", "UI", "1.2.840.10008.5.1.4.1.1.1")
            | element("00080060", "CS", "CR")
            | element("00100020", "LO", f"P{study[-1]}")
            | element("00280010", "US", 64)
            | element("00280011", "US", 56)
            | element("00280004", "CS", "MONOCHROME2")
            | element("00185101", "CS", "PA")
        ]
    else:
        found = [
            element("00080018", "UI", f"{parts[2]}.1.1")
            | element("0020000E", "UI", f"{parts[2]}.1")
        ]
    page = found if path.endswith("/metadata") else found[offset : offset + 3]
    it.answer(200, json.dumps(page).encode(), "application/dicom+json")


def test_a_careless_server_widens_no_answer(tmp_path) -> None:
    with (
        Misbehaving(careless) as server,
        dicomweb_at(f"http://127.0.0.1:{server.port}", tmp_path) as pacs,
    ):
        assert [it.patient_id for it in pacs.search()] == [f"P{n}" for n in range(10)]
        assert [it.patient_id for it in pacs.search(PatientID="P4")] == ["P4"]
        assert list(pacs.search(PatientID="Q*")) == []
        found = pacs.find(next(pacs.search(PatientID="P7")).orthanc_id)

    assert (found.patient_id, found.view, found.rows) == ("P7", "frontal", 64)


def test_what_a_search_met_is_known_to_the_next_process(tmp_path) -> None:
    with Misbehaving(careless) as server:
        url = f"http://127.0.0.1:{server.port}"
        with dicomweb_at(url, tmp_path) as pacs:
            names = [it.orthanc_id for it in pacs.search()]
        server.asked.clear()
        with dicomweb_at(url, tmp_path) as pacs:
            assert pacs.find(names[2]).patient_id == "P2"
            assert len(server.asked) <= 2
            with pytest.raises(AbsentError, match="no instance"):
                pacs.find("0" * 8 + "-00000000" * 4)

    files = [tmp_path / "seen", *(tmp_path / "seen").iterdir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_an_orthanc_that_was_started_again_is_not_noticed(own_orthanc) -> None:
    with opening.opened(own_orthanc.section, root=own_orthanc.folder) as pacs:
        instance = pacs.store(FILE)
        assert pacs.retrieve(instance) == FILE
        time.sleep(1.5)  # longer than Orthanc keeps a connection
        assert pacs.find(instance.orthanc_id) == instance

        own_orthanc.restart()

        assert pacs.retrieve(instance) == FILE


def test_an_orthanc_killed_while_storing_keeps_what_it_said_it_kept(own_orthanc) -> None:
    files = [synth.draw(index, seed=99, size=(64, 56))[0] for index in range(32)]
    kept, lost = [], []
    with opening.opened(own_orthanc.section, root=own_orthanc.folder) as pacs:

        def send(batch):
            try:
                kept.extend(pacs.store_all(batch))
            except UnavailableError as error:
                lost.append(str(error))

        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(send, files[at : at + 4]) for at in range(0, 32, 4)]
            time.sleep(0.1)
            own_orthanc.kill()
            for future in sent:
                future.result()
        own_orthanc.start()

        outcomes = pacs.store_all(files)

        assert [it.sop_instance_uid for it in outcomes] == [
            dicom.identify(file).sop_instance_uid for file in files
        ]
        assert all(pacs.retrieve(it) == file for it, file in zip(outcomes, files, strict=True))
        assert len(list(pacs.search())) == 32
    assert {it.orthanc_id for it in kept} <= {it.orthanc_id for it in outcomes}


def test_logs_hold_neither_patients_nor_secrets(tmp_path, caplog) -> None:
    with Misbehaving(lambda it: it.answer(200, b"[]")) as server, caplog.at_level(logging.INFO):
        for opened in (orthanc_at, dicomweb_at):
            with opened(f"http://127.0.0.1:{server.port}", tmp_path) as pacs:
                list(pacs.search(PatientID=PATIENT))

    assert PATIENT not in caplog.text
    assert SECRET not in caplog.text


def test_a_socket_that_hangs_up_at_once_is_an_error(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def hang_up() -> None:
            listener.settimeout(0.05)
            while not stop.is_set():
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = met(orthanc_at(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path))
        stop.set()
        thread.join()

    assert "cannot be reached" in str(error)
    assert not isinstance(error, requests.RequestException)
