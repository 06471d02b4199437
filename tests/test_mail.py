"""Invitations: what arrives at a mail server, and what becomes of a letter that is refused."""

import email
import email.policy
import socketserver
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from doors import certificate

from cxr.errors import AccessError
from cxr.labeling import Reader, mail

ROOT = Path(__file__).parents[1]
LINK = "https://portal.example/enter?token=" + "x" * 250
LINKS = dict.fromkeys(("ann", "bob", "eve"), LINK)


class Sink(socketserver.ThreadingTCPServer):
    """A mail server (RFC 5321) that keeps what it takes, and refuses whom it is told to."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *, refuses=(), drops=(), tls=None, starttls=None, password=None):
        super().__init__(("127.0.0.1", 0), Session)
        self.refuses, self.drops, self.password = refuses, drops, password
        self.tls, self.starttls = tls, starttls
        self.letters, self.said = [], []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def get_request(self):
        connection, address = super().get_request()
        return (
            self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
        ), address

    def handle_error(self, request, client_address):
        self.said.append("broken")


class Session(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self):
        self.tell("220 sink")
        while line := self.rfile.readline().decode().strip():
            self.server.said.append(line)
            word, _, rest = line.partition(" ")
            act = getattr(self, f"on_{word.lower()}", None)
            if act is None:
                self.tell("500 unknown")
            elif act(rest) is False:
                return

    def tell(self, *lines):
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def on_ehlo(self, _):
        offers = ["250-STARTTLS"] if self.server.starttls else []
        offers += ["250-AUTH PLAIN"] if self.server.password else []
        self.tell("250-sink", *offers, "250 8BITMIME")

    def on_starttls(self, _):
        self.tell("220 go on")
        self.request = self.server.starttls.wrap_socket(self.request, server_side=True)
        self.setup()
        self.server.said.append("secured")

    def on_auth(self, given):
        self.tell("235 in" if self.server.password in given else "535 wrong user or password")

    def on_mail(self, _):
        self.tell("250 ok")

    def on_rcpt(self, rest):
        who = rest.split("<")[1].split(">")[0]
        if who in self.server.drops:
            return False
        self.tell("550-no such\r\n550 mailbox" if who in self.server.refuses else "250 ok")
        return None

    def on_rset(self, _):
        self.tell("250 ok")

    def on_data(self, _):
        self.tell("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        raw = b"".join(lines)
        self.server.letters.append(email.message_from_bytes(raw, policy=email.policy.default))
        self.tell("250 taken")

    def on_quit(self, _):
        self.tell("221 bye")
        return False


@pytest.fixture
def sink():
    opened = []

    def make(**settings):
        opened.append(Sink(**settings))
        return opened[-1]

    yield make
    for server in opened:
        server.shutdown()
        server.server_close()


def smtp(server, security="none", **settings):
    return mail.Smtp("127.0.0.1", server.port, security, "desk@hospital.example", **settings)


def invite(server, *readers, **settings):
    found = mail.invite(
        smtp(server, **settings), readers, LINKS, job="chest", url="https://portal.example", days=30
    )
    return {reader.id: problem for reader, problem in found}


def person(who, **fields):
    return Reader(who, email=f"{who}@hospital.example", **fields)


def test_each_reader_gets_a_letter_with_her_own_link(sink):
    server = sink()
    ann = person("ann", name="Änn, the Reader", roles=("reader", "lead"))

    assert invite(server, ann, person("bob")) == {"ann": "", "bob": ""}

    first, second = server.letters
    assert first["To"].addresses[0].addr_spec == "ann@hospital.example"
    assert first["To"].addresses[0].display_name == "Änn, the Reader"
    assert first["From"] == "desk@hospital.example"
    assert first["Subject"] == "Labeling job chest"
    assert first["Date"]
    assert first["Message-ID"].endswith("@hospital.example>")
    assert first.get_content_type() == "text/plain"
    assert LINK in first.get_content().split()
    assert "as reader and lead." in first.get_content()
    assert "https://portal.example/passphrase" in first.get_content()
    assert "Hello bob," in second.get_content()
    assert server.said.count("quit") == 1


def test_one_refused_address_is_told_and_the_others_go_on(sink):
    server = sink(refuses=["bob@hospital.example"])

    problems = invite(server, person("ann"), person("bob"), person("eve"))

    assert problems == {"ann": "", "bob": "550 no such mailbox", "eve": ""}
    assert len(server.letters) == 2


def test_a_lost_connection_costs_one_letter(sink):
    server = sink(drops=["bob@hospital.example"])

    problems = invite(server, person("ann"), person("bob"), person("eve"))

    assert problems["ann"] == problems["eve"] == ""
    assert problems["bob"]
    assert len(server.letters) == 2


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("ann@hospital.example\r\nBcc: eve@evil.example", "Ann"),
        ("ann@hospital.example", "Ann\r\nBcc: eve@evil.example"),
        ("ann@hospital@example", "Ann"),
        ("ann", "Ann"),
    ],
)
def test_no_address_or_name_adds_a_line_to_a_letter(sink, address, name):
    server = sink()

    problems = invite(server, Reader("ann", name=name, email=address), person("bob"))

    assert problems["bob"] == ""
    assert all("evil" not in line for line in server.said)
    assert all("Bcc" not in letter for letter in server.letters)
    assert len(problems["ann"].splitlines()) <= 1


def trusted(folder, monkeypatch):
    cert, key = certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return context


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_goes_over_tls(sink, tmp_path, monkeypatch, security):
    # PLAIN of RFC 4616: NUL user NUL password, in base64
    context = trusted(tmp_path, monkeypatch)
    server = sink(password="AGRlc2sAc2VzYW1l", **{security: context})

    assert invite(server, person("ann"), security=security, user="desk", password="sesame") == {
        "ann": ""
    }

    assert len(server.letters) == 1
    if security == "starttls":
        assert [line.split()[0] for line in server.said][:4] == [
            "ehlo",
            "STARTTLS",
            "secured",
            "ehlo",
        ]


def test_a_server_without_tls_never_sees_the_password(sink):
    server = sink(password="AGRlc2sAc2VzYW1l")

    with pytest.raises(
        AccessError, match=r"^labeling\.smtp: 127.0.0.1:\d+: STARTTLS extension not"
    ):
        invite(server, person("ann"), security="starttls", user="desk", password="sesame")

    assert not [line for line in server.said if line.startswith("AUTH")]


def test_a_certificate_that_nobody_vouches_for_is_refused(sink, tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    server = sink(starttls=context)

    with pytest.raises(AccessError, match="certificate verify failed"):
        invite(server, person("ann"), security="starttls")


def test_a_wrong_password_is_one_line_that_does_not_hold_it(sink, tmp_path, monkeypatch):
    server = sink(password="other", tls=trusted(tmp_path, monkeypatch))

    with pytest.raises(AccessError, match=r"535 wrong user or password$") as caught:
        invite(server, person("ann"), security="tls", user="desk", password="sesame")

    assert "sesame" not in str(caught.value)
    assert "sesame" not in repr(smtp(server, user="desk", password="sesame"))


def test_a_server_that_is_not_there_is_one_line(sink):
    server = sink()
    server.shutdown()
    server.server_close()

    with pytest.raises(AccessError, match=r"^labeling\.smtp: 127.0.0.1:\d+: .*refused"):
        invite(server, person("ann"))


# the command


def label(folder, *overrides):
    return subprocess.run(
        [sys.executable, "-m", "cxr.label", "invite=true", f"root={folder / 'root'}", *overrides],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


TEAM = (
    "team.readers=[{id: ann, email: ann@h.example}, {id: bob, email: bob@h.example}, "
    "{id: eve, roles: [reader, lead]}]"
)


@pytest.mark.slow
def test_the_command_prints_one_link_each_and_ends(tmp_path):
    done = label(tmp_path, TEAM, "labeling.port=8399")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line[0] for line in lines] == ["ann", "bob", "eve"]
    assert all(line[1].startswith("http://127.0.0.1:8399/enter?token=ey") for line in lines)
    assert len({line[1] for line in lines}) == 3
    assert not (tmp_path / "root" / "jobs").exists()


@pytest.mark.slow
def test_the_command_mails_to_who_has_an_address_and_tells_what_was_refused(tmp_path, sink):
    server = sink(refuses=["ann@h.example"])
    given = f"{{host: 127.0.0.1, port: {server.port}, security: none, sender: desk@h.example}}"

    done = label(tmp_path, TEAM, f"labeling.smtp={given}")

    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0].startswith("eve http://127.0.0.1:8300/enter?token=ey")
    assert lines[1:] == ["bob bob@h.example"]
    errors = done.stderr.splitlines()
    assert errors[0] == "ann: ann@h.example: 550 no such mailbox"
    assert errors[-1] == "1 of 2 invitations were not taken by 127.0.0.1"
    [letter] = server.letters
    assert "http://127.0.0.1:8300/enter?token=ey" in letter.get_content()


@pytest.mark.slow
def test_links_need_an_address(tmp_path):
    done = label(tmp_path, TEAM, "labeling.port=0")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "labeling.url: expected the address of the links, or a labeling.port"
    ]
