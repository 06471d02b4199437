"""Gateways for tests: real nginx before a real Orthanc, asked over raw sockets.

Clients of every kind tidy paths and headers up first; what is sent here arrives as it is written.
"""

import base64
import hashlib
import hmac
import json
import re
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orthanc_servers
import requests

from cxr.contract import signing
from cxr.images import dicom, synth
from cxr.infra.orthanc import gateway

OLD, NEW, JOB = b"o" * 32, b"n" * 32, b"j" * 32
JOB_KID = signing.job_kid("chest-1", "0a1b2c3d")
KEYS = signing.Keys({"new": NEW, "old": OLD, JOB_KID: JOB})
PAGE = "https://labeling.example.com"
ORIGINS = [PAGE, "http://127.0.0.1:8300", "null"]
HEADER = {"alg": "HS256", "typ": "JWT", "kid": "new"}
CRLF = b"\r\n"


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def by_hand(header, claims, secret=NEW):
    """A token made with hmac and base64 alone (RFC 7515, appendix A.1); texts go in as they are."""
    texts = [p if isinstance(p, str) else json.dumps(p) for p in (header, claims)]
    signed = ".".join(b64(text.encode()) for text in texts)
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def claims(*scope, **changes):
    now = int(time.time())
    made = {"aud": "pacs", "sub": "ann", "scope": [*scope], "iat": now, "nbf": now, "exp": now + 60}
    return made | changes


def token(*scope, **changes):
    return by_hand(HEADER, claims(*scope, **changes))


@dataclass
class Answer:
    """What came back until the server closed the connection."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes = b""


def exchange(port, data, *, timeout=15):
    """Send bytes as they are and read all there is."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        received = b""
        try:
            while piece := connection.recv(1 << 16):
                received += piece
        except ConnectionResetError:  # it had not read all of ours
            pass
    return received


def parsed(raw):
    head, _, body = raw.partition(CRLF * 2)
    lines = head.decode("latin-1").split("\r\n")
    found = re.match(r"HTTP/1\.[01] (\d{3})", lines[0])
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return Answer(int(found[1]) if found else 0, headers, body, raw)


def ask(port, target, headers=(), *, method="GET", version="HTTP/1.1", host="pacs.example"):
    """Send one request line as it is; a list of headers may hold one name several times."""
    given = [*headers.items()] if isinstance(headers, dict) else [*headers]
    lines = [f"{method} {target} {version}", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in given]
    data = "\r\n".join([*lines, "", ""]).encode("latin-1")
    for _ in range(20):
        answer = parsed(exchange(port, data))
        if answer.status != 429:  # the limit has a test of its own
            return answer
        time.sleep(0.2)
    return answer


class Images:
    """Two radiographs of two patients, in a real Orthanc."""

    def __init__(self, orthanc):
        self.orthanc = orthanc
        self.dicoms = [synth.draw(i, seed=77, size=(64, 56))[0] for i in (0, 5)]
        for body in self.dicoms:
            self.post(body)
        one, two = (dicom.identify(body) for body in self.dicoms)
        self.id, self.other = one.orthanc_id, two.orthanc_id
        self.uids = (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
        self.study = f"/dicom-web/studies/{self.uids[0]}"
        self.other_study = f"/dicom-web/studies/{two.study_instance_uid}"
        self.series = f"{self.study}/series/{self.uids[1]}"
        self.path = f"{self.series}/instances/{self.uids[2]}"
        self.file = f"/instances/{self.id}/file"
        self.wado = (
            f"/wado?requestType=WADO&studyUID={self.uids[0]}&seriesUID={self.uids[1]}"
            f"&objectUID={self.uids[2]}"
        )
        self.scope = (f"i:{self.id}", f"p:{self.path}", f"w:{self.uids[2]}")

    def post(self, body):
        url = f"{self.orthanc.url}/instances"
        requests.post(url, data=body, auth=self.orthanc.auth, timeout=30).raise_for_status()

    def checksums(self):
        """Everything that is stored, as Orthanc tells it and as it lies on the disk."""
        told = {}
        for one in self._get("/instances?expand").json():
            told[one["ID"]] = hashlib.sha256(self._get(f"/instances/{one['ID']}/file").content)
        storage = self.orthanc.folder / "storage"
        files = {
            str(path.relative_to(storage)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(storage.rglob("*"))
            if path.is_file()
        }
        return {key: value.hexdigest() for key, value in told.items()}, files

    def _get(self, path):
        answer = requests.get(self.orthanc.url + path, auth=self.orthanc.auth, timeout=30)
        answer.raise_for_status()
        return answer


class Gateway:
    """A gateway before an Orthanc, in a folder of its own."""

    def __init__(self, orthanc, folder, *, keys=KEYS, password=None, **changes):
        chosen = {
            "image_url": f"http://127.0.0.1:{orthanc_servers.free_port()}",
            "allowed_origins": ORIGINS,
        } | changes
        self.section = orthanc_servers.section(
            orthanc.folder, **({"url": orthanc.url, "password": orthanc.password} | chosen)
        )
        self.folder, self.keys = folder, keys
        self.password = password or orthanc.password
        self.port = urlsplit(self.section.image_url).port

    def start(self):
        return gateway.start(self.section, self.folder, self.keys, self.password)

    def reload(self, keys=None):
        self.keys = keys or self.keys
        return gateway.reload(self.section, self.folder, self.keys, self.password)

    def stop(self):
        return gateway.stop(self.folder)

    @property
    def trouble(self):
        return gateway.trouble(self.section, self.keys)

    def ask(self, target, headers=(), **how):
        return ask(self.port, target, headers, **how)
