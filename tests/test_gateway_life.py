"""The gateway starts, changes its keys, restarts and fails as one would wish, closed above all."""

import datetime
import http.client
import io
import ipaddress
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import gateways
import orthanc_servers
import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateways import KEYS, by_hand, claims, exchange, parsed, token

from cxr import root
from cxr.contract import signing
from cxr.errors import ConfigError, PacsError
from cxr.images import dicom
from cxr.infra.orthanc import gateway, processes, workers

pytestmark = pytest.mark.orthanc
JUDGES = ("njs", "auth_request")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    orthanc_servers.skip_without_orthanc()
    made = orthanc_servers.Server(tmp_path_factory.mktemp("orthanc"))
    yield gateways.Images(made)
    made.stop()


@pytest.fixture
def build(images, tmp_path):
    """Gateways before the shared Orthanc, ended with the test."""
    made = []

    def one(orthanc=None, **changes):
        made.append(gateways.Gateway(orthanc or images.orthanc, tmp_path / "gate", **changes))
        return made[-1]

    yield one
    for each in made:
        each.stop()


@pytest.fixture(params=JUDGES)
def gate(request, build):
    made = build(verifier=request.param)
    made.start()
    return made


@pytest.fixture(scope="module", params=JUDGES)
def standing(request, images, tmp_path_factory):
    """The same, shared by the tests that change nothing."""
    folder = tmp_path_factory.mktemp("standing") / "gate"
    made = gateways.Gateway(images.orthanc, folder, verifier=request.param)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def large(images):
    """An image of 15 MB: more than all buffers between Orthanc and its reader hold."""
    ds = pydicom.dcmread(io.BytesIO(images.dicoms[0]))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    ds.Rows, ds.Columns, ds.PixelData = 3000, 2500, bytes(range(250)) * 60_000
    written = io.BytesIO()
    ds.save_as(written)
    body = written.getvalue()
    images.post(body)
    return f"/instances/{dicom.identify(body).orthanc_id}/file?token={token('p:')}", body


def test_one_that_runs_with_the_same_config_is_left_alone(gate):
    before = processes.Daemon("gateway", gate.folder).pid()

    assert gate.start() is False
    assert gate.trouble == ""
    assert processes.Daemon("gateway", gate.folder).pid() == before
    assert gate.stop() is True
    assert gate.stop() is False
    with pytest.raises(ConnectionRefusedError):
        exchange(gate.port, b"")


def test_nothing_it_keeps_is_open_to_others(standing):
    for path in [standing.folder, *standing.folder.rglob("*")]:
        if path.name not in ("nginx.pid", "gate") and not path.is_symlink():
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path


def test_who_answers_requests_is_not_root(standing):
    master = processes.Daemon("gateway", standing.folder).pid()
    running = [worker.pid for worker in workers.every() if worker.master == master]
    running += [pid for name in ("verifier-a", "verifier-b")
                if (pid := processes.Daemon(name, standing.folder).pid())]  # fmt: skip

    assert len(running) >= 1 + (standing.section.verifier == "auth_request")
    assert all(Path(f"/proc/{pid}").stat().st_uid != 0 for pid in running)


def test_a_password_is_on_no_command_line(standing):
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes()
        except OSError:
            continue
        if str(standing.folder).encode() in words:
            assert standing.password.encode() not in words
            assert not any(key.hex().encode() in words for key in KEYS.by_id.values())


class Slow(threading.Thread):
    """A reader that takes the first bytes, waits to be told, and takes the rest."""

    def __init__(self, port, target):
        super().__init__()
        self.begun, self.go, self.body, self.error = threading.Event(), threading.Event(), b"", None
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.target = target

    def run(self):
        self.connection.connect()
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.connection.request("GET", self.target)
        answer = self.connection.getresponse()
        try:
            self.body = answer.read(1000)
            self.begun.set()
            self.go.wait(30)
            self.body += answer.read()
        except (http.client.IncompleteRead, OSError) as error:
            self.error = error


def test_a_download_goes_on_through_a_reload_and_ends_in_an_error_with_a_stop(gate, large):
    target, body = large
    readers = [Slow(gate.port, target) for _ in range(2)]
    for reader in readers:
        reader.start()
        assert reader.begun.wait(30)

    assert gate.reload(signing.Keys({"new": b"m" * 32})) is True
    assert gate.ask(target).status == 401
    readers[0].go.set()
    readers[0].join()
    gate.stop()
    readers[1].go.set()
    readers[1].join()

    assert (readers[0].error, readers[0].body == body) == (None, True)
    assert readers[1].error is not None
    assert len(readers[1].body) < len(body)


def test_links_outlive_one_rotation_and_not_two(gate, images, tmp_path, monkeypatch):
    monkeypatch.delenv(root.TOKEN_KEY_VARIABLE, raising=False)

    def opened(link):
        return gate.ask(f"{images.file}?token={link}").status

    def link(keys):
        return signing.sign(keys, [f"i:{images.id}"], ttl_s=600)

    gate.reload(root.token_keys(tmp_path))
    links = [link(gate.keys)]
    assert opened(links[0]) == 200
    gate.reload(root.rotate_token_keys(tmp_path))
    links.append(link(gate.keys))
    assert [opened(one) for one in links] == [200, 200]
    gate.reload(root.rotate_token_keys(tmp_path))
    links.append(link(gate.keys))
    assert [opened(one) for one in links] == [401, 200, 200]


def test_the_audit_log_is_verified_after_two_rotations(tmp_path, monkeypatch):
    monkeypatch.delenv(root.TOKEN_KEY_VARIABLE, raising=False)
    from cxr.labeling import audit, selection
    from cxr.labeling.answers import Answers

    path = tmp_path / "jobs" / "demo" / selection.ANSWERS
    path.parent.mkdir(parents=True)
    for _ in range(3):
        answers = Answers(path, workers_per_object=1, task_time_limit_s=60,
                          audit_key=audit.keys(root.token_keys(tmp_path))[0])  # fmt: skip
        answers.record("signed-in", "ann")
        answers.close()
        root.rotate_token_keys(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "cxr.label", "audit=verify", "job.name=demo", f"root={tmp_path}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"3 entries of {path}: none changed or missing\n"


def test_orthanc_away_is_told_and_heals(build, own_orthanc):
    stored = gateways.Images(own_orthanc)
    gate = build(own_orthanc)
    gate.start()
    link = f"{stored.file}?token={token('p:')}"

    own_orthanc.kill()
    away = gate.ask(link, {"Origin": gateways.PAGE})
    assert away.status == 502
    assert away.headers["access-control-allow-origin"] == gateways.PAGE
    assert "gets no answer from Orthanc" in gate.trouble
    own_orthanc.start()

    assert gate.ask(link).body == stored.dicoms[0]
    assert gate.trouble == ""
    log = (gate.folder / "logs" / "gateway-access.log").read_text()
    assert " GET instances/file 502 " in log
    assert all("eyJ" not in path.read_text() for path in (gate.folder / "logs").iterdir())


def test_a_wrong_password_is_not_the_readers_fault(build, images):
    gate = build()
    gate.start()
    gate.password = "another"
    told = r"gets no answer from Orthanc, or not with this pacs\.password$"

    with pytest.raises(PacsError, match=told):
        gate.reload()
    assert gate.ask(f"{images.file}?token={token('p:')}").status == 502
    gate.stop()
    with pytest.raises(PacsError, match=told):
        gate.start()

    assert processes.Daemon("gateway", gate.folder).pid() is None


def test_other_keys_than_ours_are_told(build):
    gate = build()
    gate.start()

    told = gateway.trouble(gate.section, signing.Keys({"new": b"z" * 32}))

    assert "refuses a link signed now: it has other keys" in told


def test_without_its_judge_it_is_closed_until_there_is_one(build, images):
    gate = build(verifier="auth_request")
    gate.start()
    link = f"{images.file}?token={token('p:')}"
    daemons = [processes.Daemon(name, gate.folder) for name in ("verifier-a", "verifier-b")]

    for how in (signal.SIGKILL, signal.SIGTERM):
        for daemon in daemons:
            daemon.tell(how)
        while any(daemon.pid() for daemon in daemons):
            time.sleep(0.02)
        assert gate.ask(link).status == 502
        assert gate.ask(images.file).status == 502
        assert gate.ask("/system").status == 502
        assert gate.start() is True
        assert gate.ask(link).body == images.dicoms[0]

    assert all("eyJ" not in path.read_text() for path in (gate.folder / "logs").iterdir())


def test_a_judge_that_hangs_opens_nothing(build, images):
    gate = build(verifier="auth_request")
    gate.start()
    daemon = next(d for name in ("verifier-a", "verifier-b")
                  if (d := processes.Daemon(name, gate.folder)).pid())  # fmt: skip
    daemon.tell(signal.SIGSTOP)
    try:
        answer = gate.ask(f"{images.file}?token={token('p:')}")
    finally:
        daemon.tell(signal.SIGCONT)

    assert answer.status == 502


def test_workers_whose_master_was_killed_do_not_stay(build, images):
    gate = build()
    gate.start()
    daemon = processes.Daemon("gateway", gate.folder)
    daemon.tell(signal.SIGKILL)
    while daemon.pid():
        time.sleep(0.02)

    assert gate.start() is True
    assert gate.ask(f"{images.file}?token={token('p:')}").status == 200


def test_the_judge_changes_at_run_time(build, images):
    link = f"{images.file}?token={token('p:')}"
    gate = build(verifier="auth_request")
    gate.start()
    other = gateways.Gateway(images.orthanc, gate.folder, image_url=gate.section.image_url)

    assert other.start() is True
    assert gate.ask(link).status == 200
    assert not list((gate.folder / "run").glob("verifier-*.socket"))


def certificate(folder, *names):
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = [x509.IPAddress(ipaddress.ip_address(n)) for n in names]
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "chain.pem", folder / "key.pem"
    paths[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return {"certificate": str(paths[0]), "key": str(paths[1])}


@pytest.fixture
def secure(build, tmp_path):
    tls = certificate(tmp_path, "127.0.0.1")
    made = build(image_url=f"https://127.0.0.1:{orthanc_servers.free_port()}", tls=tls)
    made.start()
    context = ssl.create_default_context(cafile=tls["certificate"])
    return made, context


def encrypted(port, context, data, protocol="http/1.1"):
    context.set_alpn_protocols([protocol])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        assert wrapped.selected_alpn_protocol() == protocol
        wrapped.settimeout(2)
        wrapped.sendall(data)
        received = b""
        try:
            while piece := wrapped.recv(1 << 16):
                received += piece
        except TimeoutError:
            pass
        return received


def test_over_tls_links_open_and_stay_encrypted(secure, images):
    gate, context = secure
    line = f"GET {images.file}?token={token('p:')} HTTP/1.1"
    data = f"{line}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()

    answer = parsed(encrypted(gate.port, context, data))

    assert (answer.status, answer.body) == (200, images.dicoms[0])
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert parsed(exchange(gate.port, data)).status == 400
    assert gate.trouble == ""


def test_a_renewed_certificate_is_taken_by_the_next_start(secure, tmp_path):
    gate, context = secure
    assert gate.start() is False

    certificate(tmp_path, "127.0.0.1")  # in its place

    assert gate.start() is True
    assert gate.trouble == ""
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        encrypted(gate.port, context, b"")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_old_tls_is_refused(secure):
    gate, context = secure
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"alert|reset|protocol"):
        encrypted(gate.port, context, b"")


def http2(*requests):
    """Requests as HTTP/2 (RFC 9113), each field a literal without Huffman's code (RFC 7541)."""

    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
            ">I", stream) + payload  # fmt: skip

    def field(name, value):
        def string(text):
            raw = text.encode()
            size = [len(raw)] if len(raw) < 127 else [127, *varint(len(raw) - 127)]
            return bytes(size) + raw

        return b"\x10" + string(name) + string(value)

    def varint(number):
        while number >= 128:
            yield number % 128 + 128
            number //= 128
        yield number

    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    for i, fields in enumerate(requests):
        pseudo = {":scheme": "https", ":authority": "a"} | fields
        data += frame(1, 5, 2 * i + 1, b"".join(field(n, v) for n, v in pseudo.items()))
    return data + frame(7, 0, 0, struct.pack(">II", 0, 0))  # we are going away


def frames(raw):
    while len(raw) >= 9:
        size = int.from_bytes(raw[:3], "big")
        yield raw[3], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + size]
        raw = raw[9 + size :]


def test_http_2_is_judged_as_its_older_sister_is(secure, images):
    gate, context = secure
    good = f"{images.file}?token={token('p:')}"
    asked = [
        {":method": "GET", ":path": good},
        {":method": "DELETE", ":path": good},
        {":method": "GET", ":path": images.file},
        {":method": "GET", ":path": f"/system?token={token('p:')}"},
        {":method": "GET", ":path": f"{images.file}/../..?token={token('p:')}"},
        {":method": "GET", ":path": good, "x-http-method-override": "DELETE"},
    ]

    answered = list(frames(encrypted(gate.port, context, http2(*asked), protocol="h2")))

    found = {}
    for kind, stream, payload in answered:
        if kind == 1:  # HEADERS begin with :status, by index or as a literal of three digits
            known = {0x88: 200, 0x8C: 400, 0x8D: 404}
            found[stream] = known.get(payload[0]) or payload[:5]
    bodies = {n: b"".join(p for k, s, p in answered if (k, s) == (0, n)) for n in (1, 11)}
    assert [found[n] for n in (1, 9, 11)] == [200, 400, 200]
    assert all(isinstance(found[n], bytes) for n in (3, 5, 7))  # 405, 401, 403: not 200
    assert bodies == {1: images.dicoms[0], 11: images.dicoms[0]}


def test_a_certificate_for_another_host_is_told(build, tmp_path):
    tls = certificate(tmp_path, "127.0.0.2")
    gate = build(image_url=f"https://127.0.0.1:{orthanc_servers.free_port()}", tls=tls)

    with pytest.raises(PacsError, match=r"certificate is not valid for '127\.0\.0\.1'"):
        gate.start()


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({"image_url": "https://127.0.0.1:1"}, r"^pacs\.tls: expected \{certificate: .* met none$"),
        ({"image_url": "http://192.0.2.1:80"}, r"^pacs\.tls: expected .* met none$"),
        ({"image_url": "http://127.0.0.1:{port}/x"}, r"^pacs\.image_url: expected no path"),
        ({"url": "https://127.0.0.1:9"}, r"^pacs\.url: expected http://host:port, met"),
        ({"url": "http://no-such-host.invalid:9"}, r"nginx refuses .*: host not found in upstream"),
    ],
)
def test_a_config_that_cannot_be_served_is_one_line(build, changes, met):
    port = orthanc_servers.free_port()
    gate = build()
    gate.section = gate.section.model_copy(
        update={key: value.format(port=port) for key, value in changes.items()}
    )

    with pytest.raises(ConfigError, match=met) as caught:
        gate.start()

    assert "\n" not in str(caught.value)
    assert processes.Daemon("gateway", gate.folder).pid() is None


def test_a_reload_that_fails_leaves_the_one_before_in_force(gate, images):
    good, link = gate.section, f"{images.file}?token={token('p:')}"
    gate.section = good.model_copy(update={"url": "http://no-such-host.invalid:9"})

    with pytest.raises(ConfigError, match="host not found in upstream"):
        gate.reload(signing.Keys({"other": b"q" * 32}))

    assert gate.ask(link).status == 200
    judges = len(list((gate.folder / "run").glob("verifier-*.socket")))
    assert judges == (gate.section.verifier == "auth_request")
    gate.section = good
    assert gate.reload(KEYS) is False  # as it still runs
    assert gate.ask(link).status == 200


def test_a_missing_certificate_is_told(build, tmp_path):
    tls = {"certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.pem")}
    gate = build(image_url=f"https://127.0.0.1:{orthanc_servers.free_port()}", tls=tls)

    with pytest.raises(ConfigError, match=r"^pacs\.tls\.certificate: .*No such file"):
        gate.start()


def test_a_taken_port_is_told(build):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gate = build(image_url=f"http://127.0.0.1:{port}")
        with pytest.raises(ConfigError, match=rf"^pacs\.image_url: port {port} is taken; choose"):
            gate.start()


def test_a_folder_of_odd_name_is_refused_or_served(images, tmp_path):
    odd = gateways.Gateway(images.orthanc, tmp_path / 'a";b')
    with pytest.raises(ConfigError, match=r"^pacs\.folder: expected a path without quotes"):
        odd.start()

    spaced = gateways.Gateway(images.orthanc, tmp_path / "a b é")
    assert spaced.start() is True
    assert spaced.ask(f"{images.file}?token={token('p:')}").status == 200
    assert spaced.stop()


def test_without_a_url_for_images_there_is_no_gateway(build, images):
    gate = build()
    gate.start()
    gate.section = gate.section.model_copy(update={"image_url": None})

    assert gate.start() is True
    assert gate.start() is False
    assert processes.Daemon("gateway", gate.folder).pid() is None


def test_a_reload_needs_one_that_runs(build):
    with pytest.raises(PacsError, match=r"no gateway runs in .*; run: python -m cxr\.orthanc up"):
        build().reload()


def test_a_token_that_another_program_made_is_taken(standing, images):
    made = by_hand({"kid": "old", "alg": "HS256"}, claims(f"i:{images.id}", jti="x"), gateways.OLD)

    assert standing.ask(f"{images.file}?token={made}").status == 200
