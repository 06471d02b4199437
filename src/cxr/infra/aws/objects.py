"""Files in S3: read, written, copied both ways; keys are s3:// URIs throughout.

Every call says whose the bucket has to be: names of deleted buckets can be taken by anybody.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from cxr.errors import AwsError
from cxr.infra.aws import Account, MissingError, RefusedError

_THREADS = 8
_THERE = ("PreconditionFailed", "ConditionalRequestConflict")


def parts(uri: str) -> tuple[str, str]:
    """Split an s3:// URI into bucket and key.

    >>> parts("s3://bucket/a/b.json")
    ('bucket', 'a/b.json')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise AwsError(f"expected an address as s3://bucket/key, met {uri!r}")
    return bucket, key


def read(account: Account, uri: str) -> bytes:
    """Give an object's bytes.

    Raises:
        MissingError: There is none.
        AwsError: It may not be read.
    """
    bucket, key = parts(uri)
    with _owned(account, "s3:GetObject", uri) as owner:
        told = account.client("s3").get_object(Bucket=bucket, Key=key, **owner)
        body: bytes = told["Body"].read()
    return body


def write(account: Account, uri: str, content: bytes, *, kind: str = "", tags: str = "") -> None:
    """Store bytes, encrypted by the account's key.

    Args:
        account: Whose bucket it is.
        uri: Where.
        content: What.
        kind: Media type; empty leaves it to S3.
        tags: As in a query, such as `cxr=image`; they need s3:PutObjectTagging.
    """
    bucket, key = parts(uri)
    more = ({"ContentType": kind} if kind else {}) | ({"Tagging": tags} if tags else {})
    with _owned(account, "s3:PutObject", uri) as owner:
        account.client("s3").put_object(
            Bucket=bucket, Key=key, Body=content, **more, **_encrypted(account), **owner
        )


def claim(account: Account, uri: str, content: bytes) -> bool:
    """Store bytes where nothing is; False where there is something, which stays.

    Of several who do so at once, one alone is told True.
    """
    from botocore.exceptions import ClientError

    bucket, key = parts(uri)
    with _owned(account, "s3:PutObject", uri) as owner:
        try:
            account.client("s3").put_object(
                Bucket=bucket,
                Key=key,
                Body=content,
                IfNoneMatch="*",
                **_encrypted(account),
                **owner,
            )
        except ClientError as error:
            # the latter while another's is being written
            if error.response["Error"]["Code"] not in _THERE:
                raise
            return False
    return True


def write_json(account: Account, uri: str, document: Any) -> None:
    """Store a document as JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    write(account, uri, text.encode(), kind="application/json")


def upload(account: Account, path: Path, uri: str, *, kind: str = "") -> None:
    """Store a file of any size, in parts."""
    bucket, key = parts(uri)
    extra = _encrypted(account) | ({"ContentType": kind} if kind else {})
    with _owned(account, "s3:PutObject", uri) as owner:
        account.client("s3").upload_file(str(path), bucket, key, ExtraArgs=extra | owner)


def upload_all(
    account: Account,
    files: dict[str, Path],
    uri: str,
    *,
    told: Callable[[int], None] | None = None,
) -> None:
    """Store many files below a URI.

    Args:
        account: Whose bucket it is.
        files: Key below `uri` → file.
        uri: Where they go.
        told: Called with how many are done.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = [
            pool.submit(upload, account, path, f"{uri.rstrip('/')}/{name}")
            for name, path in files.items()
        ]
        for count, job in enumerate(jobs, 1):
            job.result()
            if told:
                told(count)


def download(account: Account, uri: str, path: Path) -> None:
    """Fetch an object into a file, whole or not at all."""
    bucket, key = parts(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _owned(account, "s3:GetObject", uri) as owner:
        account.client("s3").download_file(bucket, key, str(part), ExtraArgs=owner)
    part.replace(path)


def below(account: Account, uri: str) -> Iterator[tuple[str, int]]:
    """Give URI and size in bytes of every object below a URI, in order of their keys."""
    bucket, prefix = parts(uri)
    with _owned(account, "s3:ListBucket", f"s3://{bucket}") as owner:
        pages = account.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, **owner):
            for item in page.get("Contents", ()):
                yield f"s3://{bucket}/{item['Key']}", int(item["Size"])


def download_all(account: Account, uri: str, folder: Path) -> list[Path]:
    """Fetch every object below a URI into a folder, by the same relative names."""
    base, found = uri.rstrip("/") + "/", []
    for name, _ in below(account, base):
        relative = PurePosixPath(name.removeprefix(base))
        if relative.is_absolute() or ".." in relative.parts or name.endswith("/"):
            continue  # a key may be anything
        download(account, name, folder / relative)
        found.append(folder / relative)
    return found


def check_region(account: Account) -> None:
    """Refuse a bucket in another region than the account's: no job of SageMaker's takes one.

    Raises:
        AwsError: It is elsewhere, another account's, or not to be seen.
    """
    uri = account.where()
    bucket, _ = parts(uri)
    with _owned(account, "s3:ListBucket", f"s3://{bucket}") as owner:
        told = account.client("s3").head_bucket(Bucket=bucket, **owner)
    met = told.get("BucketRegion") or account.region
    if met != account.region:
        raise AwsError(
            f"aws.bucket: expected a bucket in aws.region {account.region}, met {bucket} in {met}"
        )


def exists(account: Account, uri: str) -> bool:
    """Say whether there is such an object."""
    bucket, key = parts(uri)
    try:
        with _owned(account, "s3:HeadObject", uri) as owner:
            account.client("s3").head_object(Bucket=bucket, Key=key, **owner)
    except MissingError:
        return False
    return True


def is_recent(account: Account, uri: str, days: float) -> bool:
    """Say whether there is such an object, written in the last so many days."""
    bucket, key = parts(uri)
    try:
        with _owned(account, "s3:HeadObject", uri) as owner:
            told = account.client("s3").head_object(Bucket=bucket, Key=key, **owner)
    except MissingError:
        return False
    return bool(datetime.now(UTC) - told["LastModified"] < timedelta(days=days))


def delete_all(account: Account, uri: str) -> int:
    """Delete every object below a URI, and say how many; versions stay where a bucket has them."""
    bucket, _ = parts(uri)
    names = [name for name, _ in below(account, uri.rstrip("/") + "/")]
    for start in range(0, len(names), 1000):
        keys = [{"Key": parts(name)[1]} for name in names[start : start + 1000]]
        with _owned(account, "s3:DeleteObject", uri) as owner:
            told = account.client("s3").delete_objects(
                Bucket=bucket, Delete={"Objects": keys}, **owner
            )
        if refused := told.get("Errors"):  # each key is allowed or refused by itself
            raise AwsError(
                f"s3:DeleteObject on {uri}: {len(refused)} of {len(keys)} are still there, "
                f"{refused[0].get('Code')}; add this action on this resource to the role or user"
            )
    return len(names)


@contextmanager
def _owned(account: Account, action: str, uri: str) -> Iterator[dict[str, str]]:
    """Give a call's parameters that say whose the bucket is, and explain what it refuses."""
    owner = {"ExpectedBucketOwner": account.owner()}
    try:
        with account.explaining(action, uri):
            yield owner
    except RefusedError as error:
        other = _of_another(account, parts(uri)[0])
        if other is None:
            raise
        raise other from error


def _of_another(account: Account, bucket: str) -> AwsError | None:
    """Tell a bucket that is another account's from a refused action: S3 says the same of both."""
    try:
        account.call("s3", "head_bucket", bucket, Bucket=bucket)
    except AwsError:
        return None  # we may not see the bucket at all, whosever it is
    try:
        account.call(
            "s3", "head_bucket", bucket, Bucket=bucket, ExpectedBucketOwner=account.owner()
        )
    except RefusedError:
        return AwsError(
            f"aws.bucket: expected a bucket of account {account.owner()}, whose credentials these "
            f"are, met {bucket} of another account; nothing is read from it or written to it"
        )
    return None


def _encrypted(account: Account) -> dict[str, str]:
    if account.kms_key is None:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": account.kms_key}
