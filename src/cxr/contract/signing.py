"""Short-lived, scoped URLs: JSON Web Tokens (RFC 7519) signed with HS256 (RFC 7515).

The Lambda, the portal and every PACS gateway share one set of keys. The newest key signs; older
ones still verify, so keys rotate without breaking open pages. A scope says what a token opens:

    i:<orthanc id>   that instance: its file, and what a server draws of it
    p:<path>         that path and all below it
    w:<SOPInstanceUID>   WADO-URI of that instance
    store            STOW-RS
    reader:<id>      the portal, as that reader
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxr.errors import ConfigError, TokenError

AUDIENCE = "pacs"
MIN_KEY_BYTES = 32
LEEWAY_S = 30
"""Clock skew forgiven where a token seems to come from the future; expiry is exact."""
MAX_CHARS = 8192
"""Of a token: what fits in the request line that a web server takes."""
_LAST_S = 2**53
"""Times beyond are no times: other languages' numbers end being exact here."""
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
JOB = "job-"
"""What the ID of a labeling job's key begins with; such a key opens images (`i:`) and no more."""


@dataclass(frozen=True)
class Keys:
    """Secrets by key ID; the first one signs, all verify."""

    by_id: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for kid, secret in self.by_id.items():
            if not _KID.fullmatch(kid) or len(secret) < MIN_KEY_BYTES:
                raise ConfigError(
                    f"expected token keys as id:hex of at least {MIN_KEY_BYTES} bytes, "
                    f"met key {kid!r} of {len(secret)} bytes"
                )

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.by_id)})"  # never the secrets


def new_keys(kid: str | None = None) -> str:
    """Draw one key, in the text form that `keys_from_text` reads."""
    return f"{kid or 'k' + secrets.token_hex(4)}:{secrets.token_hex(MIN_KEY_BYTES)}"


def keys_from_text(text: str) -> Keys:
    """Read keys as `id:hex`, separated by commas or white space, newest first.

    Raises:
        ConfigError: Another form; the message holds no secret.
    """
    found: dict[str, bytes] = {}
    for part in _parts(text):
        kid, colon, secret = part.partition(":")
        if not colon:  # then it may be the secret itself
            raise ConfigError("expected token keys as id:hex, met one without an id")
        try:
            found[kid] = bytes.fromhex(secret)
        except ValueError:
            raise ConfigError(f"expected token keys as id:hex, met key {kid[:8]!r}...") from None
    if not found:
        raise ConfigError("expected at least one token key as id:hex, met none")
    return Keys(found)


def job_kid(job_name: str, nonce: str = "") -> str:
    """Name the key of one labeling job: with it, all the links of that job end.

    Args:
        job_name: Of which only the hash is told.
        nonce: As `new_job_kid` draws it; of letters and digits.

    >>> job_kid("Chest-1") == job_kid("chest-1")  # an ARN is lower-cased
    True
    """
    digest = hashlib.sha256(job_name.lower().encode()).hexdigest()[:12]
    return f"{JOB}{digest}-{nonce}" if nonce else JOB + digest


def new_job_kid(job_name: str) -> str:
    """Name a key of a labeling job that none has been named before.

    A job that is begun again under its name must not be signed for by a key that was kept in some
    memory under the same ID, and has been withdrawn since.
    """
    return job_kid(job_name, secrets.token_hex(4))


def with_job(text: str, kid: str) -> str:
    """Give keys as text with one for a labeling job behind them; the same text if it is there.

    Raises:
        ConfigError: As `keys_from_text`.
    """
    if kid in keys_from_text(text).by_id:
        return text
    return " ".join([*_parts(text), new_keys(kid)])


def without_job(text: str, kid: str) -> str:
    """Give keys as text without a labeling job's; the same text if it is not there.

    Raises:
        ConfigError: As `keys_from_text`, or no key would be left.
    """
    if kid not in keys_from_text(text).by_id:
        return text
    kept = " ".join(part for part in _parts(text) if _id(part) != kid)
    keys_from_text(kept)
    return kept


def rotated(text: str) -> str:
    """Give keys as text with a new one in front: it signs, the one before still verifies.

    Those of labeling jobs stay, for each ends with its job.

    Raises:
        ConfigError: As `keys_from_text`.
    """
    keys_from_text(text)
    general = [part for part in _parts(text) if not _id(part).startswith(JOB)]
    return " ".join([new_keys(), *general[:1], *_of_jobs(text)])


def with_jobs_of(text: str, other: str) -> str:
    """Give keys as text whose keys of labeling jobs are those of another text."""
    general = [part for part in _parts(text) if not _id(part).startswith(JOB)]
    return " ".join([*general, *_of_jobs(other)])


def _of_jobs(text: str) -> list[str]:
    return [part for part in _parts(text) if _id(part).startswith(JOB)]


def _parts(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _id(part: str) -> str:
    return part.partition(":")[0]


def sign(
    keys: Keys,
    scope: Sequence[str],
    *,
    ttl_s: int,
    subject: str = "",
    audience: str = AUDIENCE,
    kid: str | None = None,
    now: float | None = None,
) -> str:
    """Make a token that opens `scope` for `ttl_s` seconds from now.

    Args:
        keys: Among which is the one that signs.
        scope: What it opens.
        ttl_s: For how long, in seconds.
        subject: Who asked for it.
        audience: Who is to take it.
        kid: Of the key that signs; None is the newest.
        now: In seconds since the epoch; None is the clock.

    Raises:
        ConfigError: There is no such key; no other one may sign in its place.
    """
    issued = int(time.time() if now is None else now)
    kid = next(iter(keys.by_id)) if kid is None else kid
    if kid not in keys.by_id:
        raise ConfigError("expected the token key of this job, met none: it is over").at("tokenKid")
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    claims: dict[str, Any] = {"aud": audience, "sub": subject, "scope": list(scope)}
    claims |= {"iat": issued, "nbf": issued, "exp": issued + ttl_s}
    signed = ".".join(_b64(json.dumps(p, separators=(",", ":")).encode()) for p in (header, claims))
    return f"{signed}.{_b64(_mac(keys.by_id[kid], signed))}"


def verify(
    keys: Keys, token: str, *, audience: str = AUDIENCE, now: float | None = None
) -> dict[str, Any]:
    """Check a token and give its claims; whether its scope fits is for `opens` to say.

    Raises:
        TokenError: Malformed, another algorithm, unknown key, wrong signature or audience,
            expired or not yet valid, or more than images by the key of a labeling job. The message
            never holds the token.
    """
    if len(token) > MAX_CHARS:
        raise TokenError("malformed token")
    try:
        signed, _, mac = token.rpartition(".")
        head, _, body = signed.partition(".")
        header, claims = json.loads(_unb64(head)), json.loads(_unb64(body))
        given = _unb64(mac)
    except (ValueError, RecursionError) as error:  # binascii.Error is a ValueError
        raise TokenError("malformed token") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenError("malformed token")
    if header.get("alg") != "HS256":
        raise TokenError("expected algorithm HS256")
    kid = header.get("kid")
    secret = keys.by_id.get(kid) if isinstance(kid, str) else None
    if secret is None or not hmac.compare_digest(_mac(secret, signed), given):
        raise TokenError("wrong signature")
    if str(kid).startswith(JOB) and not _of_images(claims.get("scope")):
        raise TokenError("a labeling job's key opens images and no more")
    if claims.get("aud") != audience:
        raise TokenError("token is for another audience")
    clock = time.time() if now is None else now
    times = [claims.get("nbf", 0), claims.get("exp")]
    if any(isinstance(t, bool) or not isinstance(t, int | float) for t in times):
        raise TokenError("malformed token")
    if not all(abs(t) <= _LAST_S for t in times):  # nor is a NaN
        raise TokenError("malformed token")
    if clock >= times[1]:
        raise TokenError("token expired")
    if clock < times[0] - LEEWAY_S:
        raise TokenError("token not valid yet; check this machine's clock")
    return claims


def opens(claims: Mapping[str, Any], need: str) -> bool:
    """Say whether a verified token's scope covers `need`.

    >>> opens({"scope": ["p:/dicom-web"]}, "p:/dicom-web/studies/1.2")
    True
    >>> opens({"scope": ["p:/dicom-web"]}, "p:/dicom-webx")
    False
    """
    scope = claims.get("scope")
    if not isinstance(scope, list):
        return False
    for item in scope:
        if item == need:
            return True
        if isinstance(item, str) and item.startswith("p:") and need.startswith(item + "/"):
            return True
    return False


def _of_images(scope: object) -> bool:
    return isinstance(scope, list) and all(
        isinstance(item, str) and item.startswith("i:") for item in scope
    )


def _mac(secret: bytes, signed: str) -> bytes:
    return hmac.new(secret, signed.encode(), hashlib.sha256).digest()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise binascii.Error("not base64url")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _b64(raw) != text:  # bits beyond the last byte, which decoding ignores
        raise binascii.Error("not base64url")
    return raw
