"""What people send to a gateway, and what they should get: one table for all who judge requests.

Each row: a name, the request line's target, headers, and the status from the gateway and from our
own server, which holds fewer paths and is no proxy. Words in braces are filled in by `filled`.
"""

import time
from dataclasses import dataclass

from gateways import HEADER, JOB, JOB_KID, OLD, b64, by_hand, claims, token

from cxr.contract import signing

MULTIPART = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"'}
PNG = {"Accept": "image/png"}


@dataclass(frozen=True)
class Case:
    """One request, with what the gateway and our own server say to it."""

    name: str
    target: str
    gateway: int
    ours: int
    headers: tuple[tuple[str, str], ...] = ()


def case(name, target, gateway, ours=None, headers=()):
    pairs = tuple(headers.items()) if isinstance(headers, dict) else tuple(headers)
    return Case(name, target, gateway, gateway if ours is None else ours, pairs)


def bearer(name):
    return {"Authorization": f"Bearer {{{name}}}"}


OPENED = [
    case("a link", "{file}?token={good}", 200),
    case("a bearer", "{file}", 200, headers=bearer("good")),
    case("a bearer in small letters", "{file}", 200, headers={"authorization": "bearer {good}"}),
    case("a token under an older key", "{file}?token={older}", 200),
    case("a token with escapes", "{file}?%74oken={escaped}", 200),
    case("a token under a labeling job's key", "{file}?token={of_job}", 200),
    case("a slow clock is forgiven", "{file}?token={slow_clock}", 200),
    case("no nbf", "{file}?token={no_nbf}", 200),
    case("other parameters go no further", "{file}?a=b&token={good}&expand&x", 200),
    case("a preview", "/instances/{id}/preview?token={good}", 200, 404),
    case("a rendered image", "/instances/{id}/rendered?token={good}&quality=90", 200, 404),
    case("a raw frame", "/instances/{id}/frames/0/raw?token={good}", 200, 404),
    case("a frame's preview", "/instances/{id}/frames/0/preview?token={good}", 200, 404),
    case("tags", "/instances/{id}/simplified-tags?token={good}", 200, 404),
    case("a folder of paths", "{file}?token={below_instances}", 200),
    case("all paths", "{file}?token={all_paths}", 200),
    case("WADO-RS", "{path}?token={good}", 200, headers=MULTIPART),
    case("WADO-RS of a study", "{study}?token={study_wide}", 200, headers=MULTIPART),
    case("an instance of that study", "{path}?token={study_wide}", 200, headers=MULTIPART),
    case("frames", "{path}/frames/1?token={good}", 200, headers=OCTETS),
    case("metadata", "{path}/metadata?token={good}", 200),
    case("series metadata", "{series}/metadata?token={study_wide}", 200),
    case("study metadata", "{study}/metadata?token={study_wide}", 200),
    case("drawn", "{path}/rendered?viewport=64%2C64&token={good}", 200, 404, headers=PNG),
    case("drawn frame", "{path}/frames/1/rendered?token={good}", 200, 404, headers=PNG),
    case("WADO-URI", "{wado}&contentType=application%2Fdicom&token={good}", 200),
    case("all of WADO-URI", "{wado}&contentType=application%2Fdicom&token={all_wado}", 200),
    case("what is not there", "/instances/{nothing}/file?token={for_nothing}", 404),
]
UNVERIFIED = [
    case("no token", "{file}", 401),
    case("no token for a path that is none", "/system", 401),
    case("Orthanc's own credentials", "{file}", 401, headers={"Authorization": "{basic}"}),
    case("credentials beside a token", "{file}?token={good}", 401,
         headers={"Authorization": "{basic}"}),
    case("an empty token", "{file}?token=", 401),
    case("a token without =", "{file}?token", 401),
    case("an empty bearer", "{file}", 401, headers={"Authorization": "Bearer "}),
    case("bearer alone", "{file}", 401, headers={"Authorization": "Bearer"}),
    case("another scheme", "{file}", 401, headers={"Authorization": "Token {good}"}),
    case("a token in a cookie", "{file}", 401, headers={"Cookie": "token={good}"}),
    case("a token in a fragment's place", "{file}?a%23token={good}", 401),
    case("a token after ;", "{file}?a=b;token={good}", 401),
    case("TOKEN", "{file}?TOKEN={good}", 401),
    case("two tokens", "{file}?token={good}&token=x", 401),
    case("one token twice", "{file}?token={good}&token={good}", 401),
    case("one escaped, one not", "{file}?token={good}&tok%65n={good}", 401),
    case("a token here and there", "{file}?token={good}", 401, headers=bearer("good")),
    case("two bearers", "{file}", 400, 401,
         headers=[("Authorization", "Bearer {good}"), ("Authorization", "Bearer {good}")]),
    case("a bearer and credentials", "{file}", 400, 401,
         headers=[("Authorization", "Bearer {good}"), ("Authorization", "{basic}")]),
    case("two bearers in one", "{file}", 401, headers={"Authorization": "Bearer {good}, {good}"}),
    *(
        case(f"token: {name}", "{file}?token={%s}" % name, 401)  # noqa: UP031 braces are ours
        for name in (
            "expired", "expires_now", "not_yet", "wrong_key", "unknown_kid", "proto_kid",
            "constructor_kid", "no_kid", "null_kid", "number_kid", "list_kid", "kid_of_another",
            "job_paths", "job_both", "job_wado", "job_text", "job_nested", "job_null",
            "alg_none", "alg_none_unsigned", "alg_list", "alg_small", "alg_hs512", "alg_missing",
            "swapped_claims", "changed_signature", "no_signature", "twin_signature", "padded",
            "plus_signature", "newline", "four_parts", "two_parts", "empty_parts", "garbage",
            "dots", "huge", "other_audience", "list_audience", "no_audience", "exp_true",
            "exp_text", "exp_null", "exp_missing", "exp_nan", "exp_infinite", "exp_1e999",
            "exp_beyond", "exp_list", "nbf_text", "nbf_null", "nbf_false", "nbf_nan", "list_claims",
            "text_claims", "null_claims", "number_claims", "null_header", "list_header",
            "not_json", "not_utf8",
        )
    ),
]  # fmt: skip
CLOSED = [
    case("another instance", "/instances/{other}/file?token={good}", 403),
    case("another study", "{other_study}?token={good}", 403),
    case("the series above", "{series}?token={good}", 403),
    case("the study above", "{study}?token={good}", 403),
    case("a longer UID", "{study}1?token={study_wide}", 403),
    case("a shorter UID", "{shorter}?token={study_wide}", 403),
    case("another object by WADO-URI", "/wado?requestType=WADO&objectUID=1.2.3&token={good}", 403),
    case("two objects", "{wado}&objectUID=1.2.3&token={good}", 403),
    case("one object twice", "{wado}&objectUID={uid}&token={good}", 403),
    case("no object", "/wado?requestType=WADO&token={good}", 403),
    case("a small o", "/wado?requestType=WADO&objectuid={uid}&token={good}", 403),
    *(
        case(f"scope: {name}", "{file}?token={%s}" % name, 403)  # noqa: UP031 braces are ours
        for name in ("no_scope", "text_scope", "object_scope", "null_scope", "nested_scope",
                     "number_scope", "store_scope", "reader_scope", "upper_scope", "file_scope")
    ),
    # behind a scope wide enough for anything there is nothing but images
    *(
        case(f"closed: {path}", f"{path}?token={{all_paths}}", 403, 404)
        for path in ("/", "/system", "/statistics", "/instances", "/patients", "/studies",
                     "/changes", "/exports", "/jobs", "/tools", "/tools/find", "/tools/reset",
                     "/tools/execute-script", "/plugins", "/plugins/explorer.js",
                     "/app/explorer.html", "/modalities", "/peers", "/queries", "/@pacs",
                     "/@closed", "/verify", "/dicom-web/servers", "/dicom-web/info",
                     "/instances/{id}", "/instances/{id}/tags", "/instances/{id}/metadata",
                     "/instances/{id}/attachments", "/instances/{id}/attachments/dicom/data",
                     "/instances/{id}/anonymize", "/instances/{id}/export", "/instances/{id}/nifti",
                     "/instances/{id}/content/PatientName", "/instances/{id}/file/",
                     "/instances/{id}/file;x", "/instances/{id}/File", "/instances/{id}/./file",
                     "/instances/{id}/frames/0", "/instances/{id}/frames/-1/raw",
                     "/instances/{id}x/file", "/instances/x{id}/file", "/wado/", "/Wado",
                     "/dicom-web", "/dicom-web/", "{path}/", "{path}/bulk/7fe00010",
                     "{path}/frames", "{path}/frames/1,2", "{path}/thumbnail", "{study}/archive",
                     "/dicom-web/studies/*", "/dicom-web/studies/{id}/series/{id}/instances/{id}x")
    ),
    case("capitals", "/instances/{upper}/file?token={all_paths}", 403, 404),
    case("searching studies", "/dicom-web/studies?token={all_paths}", 403, 200),
    case("searching instances", "/dicom-web/instances?token={all_paths}", 403, 200),
    case("searching a study", "{study}/series?token={all_paths}", 403, 200),
    case("a frame that is no number", "{path}/frames/x?token={all_paths}", 403, 404),
    *(
        case(f"query: {query}", f"{{path}}/rendered?{query}&token={{good}}", 403, 404)
        for query in ("viewport=1&viewport=2", "viewport=1%262", "viewport=1%0D%0AX:y",
                      "viewport=1 2".replace(" ", "+"), "viewport=%00", "viewport=%25",
                      "viewport=%E2%82%AC", "viewport=%3F", "window=" + "9" * 300, "quality=<")
    ),
]  # fmt: skip
TRAVERSING = [
    case(f"path: {path[:60]}", f"{path}?token={{all_paths}}", 400)
    for path in (
        "/instances/{id}/../{other}/file", "/instances/{id}/..", "/..", "/../etc/passwd",
        "/instances/{id}/%2e%2e/{other}/file", "/instances/{id}/%2E./{other}/file",
        "/instances/{id}/..%2f{other}/file", "/instances/{id}%2ffile", "/instances/{id}//file",
        "//instances/{id}/file", "/instances/{id}/file%00", "/instances/{id}/file%3F",
        "/instances/{id}/file%0d%0aX:%20y", "/instances/{id}/file%20", "/%69nstances/{id}/file",
        "/instances/{id}/file\\..\\x", "/instances\\{id}\\file", "{path}/../../../../../../system",
        "{path}%2f..%2f..%2f..", "/instances/{id}/....//file", "/instances/{id}/%252e%252e/file",
        "/instances/{id}/file%c0%ae", "/.%2e/system", "/instances/{id}/é", "/instances/{id}/..;/x",
        "/wado/../instances/{id}/file", "/verify/../instances/{id}/file", "/..verify",
    )
]  # fmt: skip
CASES = [*OPENED, *UNVERIFIED, *CLOSED, *TRAVERSING]


def words(images):
    """What stands for the words in braces."""
    good = token(*images.scope)
    head, body, mac = good.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    forged = b64(by_hand(HEADER, claims(f"i:{images.other}")).split(".")[1].encode())
    now = int(time.time())
    one = f"i:{images.id}"

    def under(**header):
        return by_hand(HEADER | header, claims(*images.scope))

    def raw(text):
        return by_hand(HEADER, text)

    def of_job(scope):
        return by_hand(HEADER | {"kid": JOB_KID}, claims(scope=scope), JOB)

    def with_exp(text):
        return raw(f'{{"aud":"pacs","scope":["{one}"],"exp":{text}}}')

    unsigned = b64(b'{"alg":"none","kid":"new"}')
    study, _, uid = images.uids
    return {
        "id": images.id, "other": images.other, "upper": images.id.upper(), "uid": uid,
        "file": images.file, "path": images.path, "series": images.series, "study": images.study,
        "other_study": images.other_study, "shorter": images.study[:-1], "wado": images.wado,
        "nothing": "-".join(["0" * 8] * 5), "for_nothing": token(f"i:{'-'.join(['0' * 8] * 5)}"),
        "basic": images.basic, "good": good, "escaped": good.replace(".", "%2E"),
        "older": by_hand(HEADER | {"kid": "old"}, claims(one), OLD),
        "of_job": of_job([one, f"i:{images.other}"]), "job_paths": of_job(["p:"]),
        "job_both": of_job([one, f"p:/dicom-web/studies/{study}"]),
        "job_wado": of_job([f"w:{uid}"]), "job_text": of_job(one), "job_nested": of_job([[one]]),
        "job_null": of_job(None),
        "slow_clock": token(one, nbf=now + signing.LEEWAY_S - 5, exp=now + 600),
        "no_nbf": by_hand(HEADER, {"aud": "pacs", "scope": [one], "exp": now + 60}),
        "study_wide": token(f"p:/dicom-web/studies/{study}"), "all_paths": token("p:"),
        "below_instances": token("p:/instances"), "all_wado": token("p:/wado"),
        "expired": token(one, exp=now - 1), "expires_now": token(one, exp=now),
        "not_yet": token(one, nbf=now + signing.LEEWAY_S + 600, exp=now + 9999),
        "wrong_key": by_hand(HEADER, claims(one), b"x" * 32), "unknown_kid": under(kid="zz"),
        "proto_kid": by_hand(HEADER | {"kid": "__proto__"}, claims(one), b""),
        "constructor_kid": by_hand(HEADER | {"kid": "constructor"}, claims(one), b""),
        "no_kid": by_hand({"alg": "HS256"}, claims(one)), "null_kid": under(kid=None),
        "number_kid": under(kid=0), "list_kid": under(kid=["new"]),
        "kid_of_another": under(kid="old"), "alg_none": under(alg="none"),
        "alg_none_unsigned": f"{unsigned}.{body}.", "alg_list": under(alg=["HS256"]),
        "alg_small": under(alg="hs256"), "alg_hs512": under(alg="HS512"),
        "alg_missing": by_hand({"kid": "new"}, claims(one)),
        "swapped_claims": f"{head}.{forged}.{mac}",
        "changed_signature": f"{head}.{body}.{'B' if mac[0] == 'A' else 'A'}{mac[1:]}",
        "no_signature": f"{head}.{body}.", "padded": f"{good}%3D", "newline": f"{good}%0A",
        "twin_signature": good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1],
        "plus_signature": f"{head}.{body}.%2B{mac[1:]}", "four_parts": f"{good}.x",
        "two_parts": f"{head}.{body}", "empty_parts": "..", "garbage": "a.b.c",
        "dots": "." * 50, "huge": "a" * 9000, "other_audience": token(one, aud="cxr-session"),
        "list_audience": token(one, aud=["pacs"]), "no_audience": token(one, aud=None),
        "exp_true": token(one, exp=True), "exp_text": token(one, exp=str(now + 60)),
        "exp_null": token(one, exp=None), "exp_list": token(one, exp=[now + 60]),
        "exp_missing": raw(f'{{"aud":"pacs","scope":["{one}"]}}'), "exp_nan": with_exp("NaN"),
        "exp_infinite": with_exp("Infinity"), "exp_1e999": with_exp("1e999"),
        "exp_beyond": with_exp("1e300"), "nbf_text": token(one, nbf="0"),
        "nbf_null": token(one, nbf=None), "nbf_false": token(one, nbf=False),
        "nbf_nan": token(one, nbf=float("nan")), "list_claims": raw(f'[{{"aud":"pacs"}},{now}]'),
        "text_claims": raw('"pacs"'), "null_claims": raw("null"), "number_claims": raw("1"),
        "null_header": by_hand("null", claims(one)), "list_header": by_hand([1], claims(one)),
        "not_json": raw("{aud: 'pacs'}"), "not_utf8": f"{b64(bytes([255, 254]))}.{body}.{mac}",
        "no_scope": raw(f'{{"aud":"pacs","exp":{now + 60}}}'), "text_scope": token(scope=one),
        "object_scope": token(scope={one: one}), "null_scope": token(scope=None),
        "nested_scope": token(scope=[[one]]), "number_scope": token(scope=[0, None, True]),
        "store_scope": token("store"), "reader_scope": token("reader:demo:ann"),
        "upper_scope": token(one.upper()), "file_scope": token(f"p:{images.file}x"),
    }  # fmt: skip


def filled(case, known):
    """The target and headers of a case, with its words filled in."""
    return case.target.format(**known), [(n, v.format(**known)) for n, v in case.headers]
