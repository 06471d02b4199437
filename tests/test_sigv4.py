"""AWS's signature, computed once more by hand from the description of Signature Version 4."""

import datetime
import hashlib
import hmac
import re
import sys
from io import BytesIO

import botocore.credentials
import pytest
import requests

from cxr.errors import PacsError
from cxr.pacs.sigv4 import SigV4

ID, KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token=="
BASE = "https://dicom-medical-imaging.eu-central-1.amazonaws.com/datastore/" + "a1" * 16
WHEN = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)


class Session:
    """What botocore's session is to the signer: credentials, others each time."""

    def __init__(self, *given: tuple[str, str, str | None]) -> None:
        self._given = list(given)

    def get_credentials(self) -> botocore.credentials.Credentials | None:
        given = self._given.pop(0)
        return botocore.credentials.Credentials(*given) if given else None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore sign at a known moment."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: WHEN)


def signed(method: str, url: str, body=None, session=None, **headers: str):
    request = requests.Request(method, url, data=body, headers=headers).prepare()
    return SigV4("eu-central-1", key="pacs", session=session or Session((ID, KEY, TOKEN)))(request)


def mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def by_hand(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> str:
    """Compute the signature as AWS describes it."""
    names = sorted(headers)
    canonical = "\n".join(
        [
            method,
            path,
            query,
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = "20260304/eu-central-1/medical-imaging/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", "20260304T050607Z", scope, hashed])
    key = ("AWS4" + KEY).encode()
    for part in ("20260304", "eu-central-1", "medical-imaging", "aws4_request"):
        key = mac(key, part)
    return mac(key, text).hex()


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("body", [None, b"--b\r\n\r\nDICM\r\n--b--", BytesIO(b"streamed")])
def test_the_signature_is_the_one_computed_by_hand(body) -> None:
    url = f"{BASE}/studies?PatientID=P1&StudyDate=20260101-20260131&limit=5"
    method = "POST" if body else "GET"

    request = signed(method, url, body, Accept="application/dicom+json")

    content = body.getvalue() if isinstance(body, BytesIO) else body or b""
    said = request.headers["Authorization"]
    names = re.search(r"SignedHeaders=([^,]+)", said)[1].split(";")
    host = BASE.split("/")[2]
    headers = {n: host if n == "host" else str(request.headers[n]) for n in names}
    path = "/datastore/" + "a1" * 16 + "/studies"
    query = "PatientID=P1&StudyDate=20260101-20260131&limit=5"
    assert {"host", "x-amz-date", "x-amz-security-token"} <= set(names)
    assert not {"accept", "user-agent", "connection", "accept-encoding"} & set(names)
    assert f"Credential={ID}/20260304/eu-central-1/medical-imaging/aws4_request" in said
    assert said.endswith(f"Signature={by_hand(method, path, query, headers, content)}")


def test_credentials_are_asked_for_anew_each_time() -> None:
    signer = SigV4(
        "eu-central-1", key="pacs", session=Session((ID, KEY, "first"), (ID, KEY, "second"))
    )

    tokens = [
        signer(requests.Request("GET", BASE).prepare()).headers["X-Amz-Security-Token"]
        for _ in range(2)
    ]

    assert tokens == ["first", "second"]


def test_no_credentials_are_asked_for() -> None:
    with pytest.raises(PacsError, match=r"^from_pacs\.auth: .*AWS credentials.*AWS_PROFILE"):
        SigV4("eu-central-1", key="from_pacs", session=Session(()))(
            requests.Request("GET", BASE).prepare()
        )


def test_a_missing_botocore_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)

    with pytest.raises(PacsError, match=r"^pacs\.auth: .*pip install 'cxr\[aws\]'$"):
        SigV4("eu-central-1", key="pacs")
