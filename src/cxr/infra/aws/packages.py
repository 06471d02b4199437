"""What stacks are given to run: the Lambdas' zip, the viewer, the notebook, under their digests.

The bucket holds code and no data. A key says what it holds, so what is there is never written again
and an older stack keeps what it runs.
"""

import hashlib
import json
import logging
import tempfile
from pathlib import Path

from cxr import places
from cxr.infra.aws import Account, MissingError, lambdas, objects

_log = logging.getLogger(__name__)
_CLOSED = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


def upload(account: Account, bucket: str | None = None) -> dict[str, str]:
    """Upload what is not there yet, and say where it lies.

    Args:
        account: Whose; its bucket and key are not used.
        bucket: Where to; None takes one of the account and region, made where there is none.

    Returns:
        Parameters of the templates: LambdaBucket, LambdaKey, and where they exist NotebookKey and
        ViewerKey.

    Raises:
        AwsError: Not allowed, or somebody else has the bucket.
    """
    plain = Account(account.region, account.profile, account.expected)  # the key is the bucket's
    name = bucket or _own_bucket(account)
    found = {"LambdaBucket": name}
    with tempfile.TemporaryDirectory() as folder:
        zipped = Path(folder) / "lambdas.zip"
        lambdas.build(zipped)
        for parameter, path in {"LambdaKey": zipped, **_files()}.items():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[parameter] = f"cxr/{digest[:32]}/{path.name}"
            uri = f"s3://{name}/{found[parameter]}"
            if not _is_there(plain, uri, digest):
                objects.upload(plain, path, uri)
    return found


def _is_there(account: Account, uri: str, digest: str) -> bool:
    """Say whether an object holds what its key says: stacks run it, whoever wrote it."""
    try:
        met = hashlib.sha256(objects.read(account, uri)).hexdigest()
    except MissingError:
        return False
    if met != digest:
        _log.warning("%s does not hold what its key says, and is written anew", uri)
    return met == digest


def _files() -> dict[str, Path]:
    """Give parameter and file of what is there: a checkout may have no viewer built."""
    found = {}
    dist = places.shipped("templates") / "viewer" / "dist"
    if (dist / "viewer.json").is_file():
        found["ViewerKey"] = dist / json.loads((dist / "viewer.json").read_text())["file"]
    notebook = places.shipped("conf").parent / "scripts" / "notebooks" / "label_and_train.ipynb"
    if notebook.is_file():
        found["NotebookKey"] = notebook
    return found


def _own_bucket(account: Account) -> str:
    """Give the name of the account's bucket for code, made if there is none, and closed again."""
    owner = account.check()
    name = f"cxr-packages-{owner}-{account.region}"
    try:
        # anybody can have made a bucket of this name before us
        account.call("s3", "head_bucket", name, Bucket=name, ExpectedBucketOwner=owner)
    except MissingError:
        where = {"LocationConstraint": account.region}
        more = {} if account.region == "us-east-1" else {"CreateBucketConfiguration": where}
        account.call("s3", "create_bucket", name, Bucket=name, **more)
    _close(account, name, owner)
    return name


def _close(account: Account, name: str, owner: str) -> None:
    """Set what the bucket has to be; every time, since the last may have been cut off half way."""
    partition = "aws-cn" if account.region.startswith("cn-") else "aws"
    arn = f"arn:{partition}:s3:::{name}"
    tls = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    encrypted = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    for operation, request in (
        ("put_public_access_block", {"PublicAccessBlockConfiguration": _CLOSED}),
        (
            "put_bucket_encryption",
            {"ServerSideEncryptionConfiguration": {"Rules": [encrypted]}},
        ),
        ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
        (
            "put_bucket_policy",
            {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [tls]})},
        ),
    ):
        account.call("s3", operation, name, Bucket=name, ExpectedBucketOwner=owner, **request)
