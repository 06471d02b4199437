"""What stacks are given to run: the Lambdas' zip, the viewer, the notebook, under their digests.

The bucket holds code and no data. A key says what it holds, so what is there is never written again
and an older stack keeps what it runs.
"""

import hashlib
import json
import tempfile
from pathlib import Path

from cxr import places
from cxr.infra.aws import Account, MissingError, lambdas, objects

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
            if not objects.exists(plain, uri):
                objects.upload(plain, path, uri)
    return found


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
    """Give the name of the account's bucket for code, made if there is none."""
    owner = account.check()
    name = f"cxr-packages-{owner}-{account.region}"
    try:
        # anybody can have made a bucket of this name before us
        account.call("s3", "head_bucket", name, Bucket=name, ExpectedBucketOwner=owner)
    except MissingError:
        _make(account, name)
    return name


def _make(account: Account, name: str) -> None:
    where = {"LocationConstraint": account.region}
    more = {} if account.region == "us-east-1" else {"CreateBucketConfiguration": where}
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
    account.call("s3", "create_bucket", name, Bucket=name, **more)
    for operation, request in (
        ("put_public_access_block", {"PublicAccessBlockConfiguration": _CLOSED}),
        ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
        (
            "put_bucket_policy",
            {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [tls]})},
        ),
    ):
        account.call("s3", operation, name, Bucket=name, **request)
