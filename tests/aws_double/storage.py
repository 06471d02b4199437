"""What S3 checks and moto does not: who asks, from which region, from which web page."""

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

from moto.s3 import s3_backends

from aws_double.calls import ACCOUNT, REGION, Call, RefusedError

OWNERS: dict[str, str] = {}  # of buckets that another account lets this one use
_ANYWHERE = {"CreateBucket", "ListAllMyBuckets", "GetBucketLocation"}
Reply = tuple[str, list[tuple[str, str]], bytes]


def bucket(name: str, region: str = REGION) -> str:
    """Make a bucket, if there is none of the name, and give the name."""
    backend = s3_backends[ACCOUNT]["aws"]
    if name not in backend.buckets:
        backend.create_bucket(name, region)
    return name


def answer(call: Call, environ: dict[str, Any]) -> Reply | None:
    """Refuse what S3 refuses; None leaves the rest to moto.

    Raises:
        RefusedError: Not signed, too late, from another region, or of another owner.
    """
    if environ["REQUEST_METHOD"] == "OPTIONS":
        found = cors(environ)
        return ("200 OK", found, b"") if found else ("403 Forbidden", [], b"CORSResponse")
    if not call.key:
        raise RefusedError("AccessDenied", "Access Denied", 403)
    if call.presigned:
        _check_presigned(call, environ)
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(call.bucket)
    met = OWNERS.get(call.bucket, ACCOUNT)
    if bucket is not None and environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", met) != met:
        raise RefusedError("AccessDenied", "Access Denied", 403)
    elsewhere = bucket is not None and bucket.region_name != call.region
    if bucket is not None and elsewhere and call.operation not in _ANYWHERE:
        raise RefusedError(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint.",
            301,
            {"x-amz-bucket-region": bucket.region_name},
        )
    return None


def cors(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """Give the headers by which a bucket's rules let another origin's page read a reply."""
    origin = environ.get("HTTP_ORIGIN")
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(environ["PATH_INFO"].split("/")[1])
    if origin is None or bucket is None:
        return []
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", environ["REQUEST_METHOD"])
    for rule in bucket.cors or []:
        if asked not in rule.allowed_methods:
            continue
        for allowed in rule.allowed_origins:
            if fnmatchcase(origin, allowed):
                told = {"Access-Control-Allow-Origin": "*" if allowed == "*" else origin}
                told["Access-Control-Allow-Methods"] = ", ".join(rule.allowed_methods)
                for name, values in {
                    "Access-Control-Allow-Headers": rule.allowed_headers,
                    "Access-Control-Expose-Headers": rule.exposed_headers,
                }.items():
                    if values:
                        listed = [values] if isinstance(values, str) else values
                        told[name] = ", ".join(listed)
                return list(told.items())
    return []


def _check_presigned(call: Call, environ: dict[str, Any]) -> None:
    query = parse_qs(environ["QUERY_STRING"])
    life_s = int(query["X-Amz-Expires"][0])
    if call.signed_at is None or datetime.now(UTC) > call.signed_at + timedelta(seconds=life_s):
        raise RefusedError("AccessDenied", "Request has expired", 403)
