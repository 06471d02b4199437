"""Portals that are really served, for the tests of who gets in."""

import datetime
import ipaddress

import argon2
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from specimens import LABELS

from cxr.contract import manifest, signing
from cxr.infra import http
from cxr.labeling import Job, Reader, portal, selection
from cxr.labeling.accounts import Accounts
from cxr.labeling.answers import Answers
from cxr.labeling.portal import access, guard

KEYS = signing.Keys({"test": b"k" * 32})


def certificate(folder, *, passphrase=None):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else None
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            locked or serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


class Site:
    """A portal on loopback, and what stands behind it.

    `people` are readers' IDs or Readers; `public`, `proxies` and `user_header` say what stands
    before it, and `routes` are added to it.
    """

    def __init__(
        self, folder, pacs, *people, public="", proxies=(), user_header=None, routes=(), **changes
    ):
        readers = tuple(Reader(who) if isinstance(who, str) else who for who in people)
        answering = sum("reader" in reader.roles for reader in readers)
        given = {"workers_per_object": answering} | changes
        self.job = Job("demo", folder, given.pop("labels", LABELS), readers, **given)
        self.pacs = pacs
        path = selection.from_query(
            folder, pacs, query={}, views=["frontal"], label_set=self.job.labels
        ).path
        self.answers = Answers(
            folder / "answers.db",
            workers_per_object=self.job.workers_per_object,
            task_time_limit_s=self.job.task_time_limit_s,
        )
        self.answers.add(manifest.read(path))
        cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.accounts = Accounts(folder / "accounts.db", cheap)
        listener = http.bind("127.0.0.1", 0, key="port")
        self.listens = listener.url
        self.entrance = guard.entrance(public or listener.url, listener.url, proxies, user_header)
        self.url = self.entrance.url
        self.app = portal.app(
            self.job, self.answers, pacs, KEYS, entrance=self.entrance, accounts=self.accounts
        )
        for path, route in dict(routes).items():
            self.app.get(path)(route)
        self.served = http.Background(self.app, listener)
        self.clients = []

    def client(self, reader=None, *, source="127.0.0.1", **options):
        """A browser at an address of this machine, signed in by a reader's personal link."""
        transport = httpx.HTTPTransport(local_address=source, verify=False)
        client = httpx.Client(base_url=self.listens, timeout=20, transport=transport, **options)
        self.clients.append(client)
        if reader:
            response = client.get(self.link(reader))
            assert response.status_code == 303, response.text
        return client

    def link(self, reader):
        return access.link(self.job, KEYS, "", reader)

    def form(self, client, path, *, origin=None, headers=None, **fields):
        """Send a form as a browser does from our own page."""
        sent = {"Origin": self.url if origin is None else origin} | (headers or {})
        return client.post(path, data=fields, headers={k: v for k, v in sent.items() if v})

    def stop(self):
        for client in self.clients:
            client.close()
        self.served.stop()
        self.answers.close()
        self.accounts.close()
