"""Tokens hold against a hand-made HS256, and against everybody who would forge one."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import ConfigError, TokenError

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = Keys({"new": NEW, "old": OLD})
NOW = 1_700_000_000


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def by_hand(header, claims, secret=NEW):
    """A token made with hmac and base64 alone (RFC 7515, appendix A.1)."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


HEADER = {"alg": "HS256", "typ": "JWT", "kid": "new"}
CLAIMS = {"aud": "pacs", "sub": "", "scope": ["store"], "iat": NOW, "nbf": NOW, "exp": NOW + 60}


def test_a_token_is_what_rfc_7515_says():
    token = signing.sign(KEYS, ["store"], ttl_s=60, subject="me", now=NOW)

    head, body, mac = token.split(".")
    padded = base64.urlsafe_b64decode(mac + "=")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == HEADER
    assert json.loads(base64.urlsafe_b64decode(body + "==")) == CLAIMS | {"sub": "me"}
    assert padded == hmac.new(NEW, f"{head}.{body}".encode(), hashlib.sha256).digest()


def test_the_worked_example_of_rfc_7515_has_our_signature():
    key = base64.urlsafe_b64decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
    )
    signed = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
        "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )

    mac = b64(hmac.digest(key, signed.encode(), "sha256"))

    assert mac == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    with pytest.raises(TokenError, match="wrong signature"):  # it names no key
        signing.verify(Keys({"None": b"x" * 32}), f"{signed}.{mac}")


def test_a_token_made_by_hand_is_taken():
    assert signing.verify(KEYS, by_hand(HEADER, CLAIMS), now=NOW) == CLAIMS


def test_the_newest_key_signs_and_older_ones_still_verify():
    before = signing.sign(Keys({"old": OLD}), ["store"], ttl_s=60)

    after = signing.sign(KEYS, ["store"], ttl_s=60)

    assert signing.verify(KEYS, before)["scope"] == ["store"]
    assert signing.verify(Keys({"new": NEW}), after)["scope"] == ["store"]
    with pytest.raises(TokenError, match="wrong signature"):
        signing.verify(Keys({"new": NEW}), before)


def test_expiry_is_exact_and_a_slow_clock_is_forgiven():
    token = signing.sign(KEYS, ["store"], ttl_s=60, now=NOW)

    assert signing.verify(KEYS, token, now=NOW + 59.9)
    assert signing.verify(KEYS, token, now=NOW - signing.LEEWAY_S)
    with pytest.raises(TokenError, match=r"^token expired$"):
        signing.verify(KEYS, token, now=NOW + 60)
    with pytest.raises(TokenError, match="not valid yet; check this machine's clock"):
        signing.verify(KEYS, token, now=NOW - signing.LEEWAY_S - 1)


def test_time_is_now_unless_said():
    token = signing.sign(KEYS, ["store"], ttl_s=60)

    assert 0 <= time.time() - signing.verify(KEYS, token)["iat"] < 5


@pytest.mark.parametrize(
    ("token", "met"),
    [
        (by_hand({"alg": "none"}, CLAIMS), "expected algorithm HS256"),
        (by_hand(HEADER | {"alg": "none"}, CLAIMS).rpartition(".")[0] + ".", "malformed"),
        (by_hand(HEADER | {"alg": "HS512"}, CLAIMS), "expected algorithm HS256"),
        (by_hand(HEADER | {"kid": "gone"}, CLAIMS), "wrong signature"),
        (by_hand(HEADER | {"kid": "__proto__"}, CLAIMS, b""), "wrong signature"),
        (by_hand(HEADER | {"kid": ["new"]}, CLAIMS), "wrong signature"),
        (by_hand({"alg": "HS256"}, CLAIMS, b""), "wrong signature"),
        (by_hand(HEADER, CLAIMS, OLD), "wrong signature"),
        (by_hand(HEADER, CLAIMS | {"aud": "portal"}), "for another audience"),
        (by_hand(HEADER, {"exp": NOW + 60}), "for another audience"),
        (by_hand(HEADER, CLAIMS | {"exp": None}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"exp": "tomorrow"}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"exp": True}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"nbf": []}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"exp": float("nan")}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"exp": float("inf")}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"exp": 10**400}), "malformed"),
        (by_hand(HEADER, CLAIMS | {"nbf": float("nan")}), "malformed"),
        (by_hand(HEADER | {"kid": None}, CLAIMS), "wrong signature"),
        (by_hand(HEADER, CLAIMS | {"sub": "x" * signing.MAX_CHARS}), "malformed"),
        (by_hand(HEADER, [1]), "malformed"),
        (by_hand([1], CLAIMS), "malformed"),
        (by_hand(HEADER, CLAIMS) + "=", "malformed"),
        (by_hand(HEADER, CLAIMS).replace(".", "..", 1), "malformed"),
        ("", "malformed"),
        ("a.b", "malformed"),
        ("..", "malformed"),
        ("\ud800.é.\x00", "malformed"),
    ],
)
def test_a_forged_token_opens_nothing(token, met):
    with pytest.raises(TokenError, match=met) as caught:
        signing.verify(KEYS, token, now=NOW)

    assert token[:20] not in str(caught.value) or not token


@given(st.integers(0, 10_000), st.sampled_from("ABCxyz019-_"))
def test_a_changed_character_is_noticed(at, letter):
    token = by_hand(HEADER, CLAIMS)
    at %= len(token)
    changed = token[:at] + letter + token[at + 1 :]

    if changed == token:
        return
    with pytest.raises(TokenError, match=r"malformed|wrong|algorithm"):
        signing.verify(KEYS, changed, now=NOW)


def test_a_signature_has_one_spelling():
    token = by_hand(HEADER, CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]

    with pytest.raises(TokenError, match="malformed"):
        signing.verify(KEYS, twin, now=NOW)


@given(st.text())
def test_noise_is_no_token(text):
    with pytest.raises(TokenError, match="malformed"):
        signing.verify(KEYS, text)


@pytest.mark.parametrize(
    ("scope", "need", "opens"),
    [
        (["i:abc"], "i:abc", True),
        (["i:abc"], "i:abcd", False),
        (["i:abc"], "i:abc/x", False),
        (["p:/dicom-web"], "p:/dicom-web", True),
        (["p:/dicom-web"], "p:/dicom-web/studies", True),
        (["p:/dicom-web"], "p:/dicom-web-private", False),
        (["p:/dicom-web/"], "p:/dicom-web", False),
        (["p:"], "p:/anything", True),
        (["store", "i:a"], "i:a", True),
        ([], "store", False),
        ("store", "store", False),
        (None, "store", False),
        ([None, 3, ["store"]], "store", False),
        (["reader:demo:ann"], "reader:demo:anna", False),
    ],
)
def test_a_scope_opens_itself_and_a_path_what_lies_below(scope, need, opens):
    assert signing.opens({"scope": scope}, need) is opens


def test_keys_are_read_newest_first():
    text = f"new:{NEW.hex()},\n old:{OLD.hex()}"

    assert dict(signing.keys_from_text(text).by_id) == {"new": NEW, "old": OLD}
    assert next(iter(signing.keys_from_text(text).by_id)) == "new"
    assert signing.keys_from_text(signing.new_keys())


@pytest.mark.parametrize(
    "text",
    ["", " , ", "ff" * 32, f"a:{'ff' * 31}", f":{'ff' * 32}", f"a b:{'ff' * 32}", "a:" + "zz" * 32],
)
def test_other_keys_are_refused_without_showing_them(text):
    with pytest.raises(
        ConfigError, match=r"expected (token keys as id:hex|at least one)"
    ) as caught:
        signing.keys_from_text(text)

    assert "ffff" not in str(caught.value)
    assert "zzzz" not in str(caught.value)


def test_keys_never_show_their_secrets():
    assert repr(KEYS) == "Keys(new, old)"


NAMES = st.from_regex(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,20}", fullmatch=True)


@given(st.lists(NAMES, max_size=4, unique_by=str.lower), st.integers(0, 3))
def test_keys_of_jobs_come_and_go_and_rotation_leaves_them(names, rotations):
    text = start = signing.new_keys("k0")
    kids = [signing.new_job_kid(name) for name in names]
    for kid in kids:
        text = signing.with_job(text, kid)
    for _ in range(rotations):
        text = signing.rotated(text)
    held = list(signing.keys_from_text(text).by_id)

    for kid in kids:
        text = signing.without_job(text, kid)

    general = min(rotations, 1) + 1
    assert held[general:] == kids
    assert len(signing.keys_from_text(text).by_id) == general
    assert rotations or text == start


def test_a_job_signs_by_its_own_key_and_by_no_other():
    kid = signing.new_job_kid("chest-1")
    keys = signing.keys_from_text(signing.with_job(signing.new_keys("k1"), kid))
    general = signing.Keys({"k1": keys.by_id["k1"]})

    own = signing.sign(keys, ["i:a"], ttl_s=60, kid=kid)

    assert signing.verify(keys, own)
    with pytest.raises(TokenError, match="wrong signature"):
        signing.verify(general, own)
    with pytest.raises(ConfigError, match="expected the token key of this job, met none"):
        signing.sign(general, ["i:a"], ttl_s=60, kid=kid)


def test_a_jobs_key_has_another_id_each_time():
    kids = {signing.new_job_kid("chest-1") for _ in range(3)}

    assert len(kids) == 3
    assert {kid.rpartition("-")[0] for kid in kids} == {signing.job_kid("CHEST-1")}


@pytest.mark.parametrize("scope", [["p:"], ["i:a", "p:"], ["store"], ["reader:a"], [["i:a"]]])
def test_a_jobs_key_opens_images_and_no_more(scope):
    keys = signing.keys_from_text(signing.new_keys(signing.new_job_kid("chest-1")))

    assert signing.verify(keys, signing.sign(keys, ["i:a", "i:b"], ttl_s=60))
    with pytest.raises(TokenError, match=r"^a labeling job's key opens images and no more"):
        signing.verify(keys, signing.sign(keys, scope, ttl_s=60))


def test_the_last_key_is_not_taken_away():
    kid = signing.new_job_kid("chest-1")

    with pytest.raises(ConfigError, match="expected at least one token key"):
        signing.without_job(signing.new_keys(kid), kid)
