"""What the double's parts ask of the account: its own clients, S3 by URI, and what exists in it."""

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.awslambda.utils import get_backend
from moto.ec2 import ec2_backends
from moto.iam import iam_backends
from moto.kms import kms_backends
from moto.s3 import s3_backends

from aws_double.calls import ACCOUNT, OWN_KEY, REGION, RefusedError


class Account:
    """The account as its services see it from inside."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        session = boto3.Session(
            region_name=REGION, aws_access_key_id=OWN_KEY, aws_secret_access_key="double"
        )
        config = Config(max_pool_connections=32, s3={"addressing_style": "path"})
        self.s3 = session.client("s3", endpoint_url=endpoint, config=config)
        self.logs = session.client("logs", endpoint_url=endpoint, config=config)
        self._streams: set[tuple[str, str]] = set()

    def get(self, uri: str) -> bytes:
        """Read an object."""
        bucket, key = split(uri)
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put(self, uri: str, content: bytes | Any, kms_key: str | None = None) -> None:
        """Store bytes, or a document as JSON."""
        bucket, key = split(uri)
        whole = content if isinstance(content, bytes) else json.dumps(content).encode()
        more = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        self.s3.put_object(Bucket=bucket, Key=key, Body=whole, **more)

    def keys(self, uri: str) -> list[str]:
        """List the keys that begin with a URI's."""
        bucket, prefix = split(uri)
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def log(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Write lines to CloudWatch Logs."""
        if (group, stream) not in self._streams:
            for make, names in (
                (self.logs.create_log_group, {"logGroupName": group}),
                (self.logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
            ):
                with contextlib.suppress(self.logs.exceptions.ResourceAlreadyExistsException):
                    make(**names)
            self._streams.add((group, stream))
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line or " "} for line in lines]
        if events:
            self.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    # what must exist before a service takes a request that names it

    def need_role(self, arn: str, service: str) -> None:
        """Refuse a role that is not there, or does not trust a service."""
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        roles = [r for r in iam_backends[ACCOUNT]["aws"].roles.values() if r.name == name]
        told = (
            f"Could not assume role {arn}. Please ensure that the role exists and allows "
            f"principal '{service}' to assume the role."
        )
        if account != ACCOUNT or not roles:
            raise RefusedError("ValidationException", told)
        document = roles[0].assume_role_policy_document
        policy = json.loads(document) if isinstance(document, str) else document
        trusted: list[str] = []
        for statement in policy.get("Statement", ()):
            given = statement.get("Principal", {}).get("Service", [])
            trusted += [given] if isinstance(given, str) else given
        if service not in trusted:
            raise RefusedError("ValidationException", told)

    def function(self, arn: str) -> Any:
        """Give moto's function of an ARN or a name.

        Raises:
            RefusedError: There is none in this account and region.
        """
        parts = arn.split(":")
        here = len(parts) == 1 or parts[3:5] == [REGION, ACCOUNT]
        try:
            found = get_backend(ACCOUNT, REGION).get_function(arn) if here else None
        except Exception as error:  # moto's own, of several classes
            raise _no_function(arn) from error
        if found is None:
            raise _no_function(arn)
        return found

    def need_bucket(self, uri: str, field: str) -> None:
        """Refuse a bucket that is not there, or in another region."""
        bucket, _ = split(uri)
        found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
        if found is None:
            raise RefusedError("ValidationException", f"{field}: no such bucket: {bucket}")
        if found.region_name != REGION:
            raise RefusedError(
                "ValidationException",
                f"{field}: The bucket {bucket} is in {found.region_name}, not in {REGION}. "
                "Use a bucket in the same region.",
            )

    def need_object(self, uri: str, field: str) -> None:
        """Refuse an object that is not there."""
        self.need_bucket(uri, field)
        bucket, key = split(uri)
        try:
            self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise RefusedError("ValidationException", f"{field}: no such object: {uri}") from error

    def need_key(self, name: str | None, field: str) -> None:
        """Refuse a KMS key that is not there; None is the bucket's own."""
        if name is None:
            return
        keys = kms_backends[ACCOUNT][REGION]
        tail = name.rpartition("/")[2] if ":key/" in name else name
        known = tail in keys.keys or keys.get_key_id_from_alias(name) is not None
        if not known or (name.startswith("arn:") and f":{REGION}:{ACCOUNT}:" not in name):
            raise RefusedError("ValidationException", f"{field}: no such KMS key: {name}")

    def need_network(self, config: dict[str, list[str]] | None) -> None:
        """Refuse subnets and security groups that are not there."""
        if config is None:
            return
        cloud = ec2_backends[ACCOUNT][REGION]
        subnets = {s.id for s in cloud.describe_subnets()}
        groups = {g.id for g in cloud.describe_security_groups()}
        for name in [*set(config["Subnets"]) - subnets, *set(config["SecurityGroupIds"]) - groups]:
            raise RefusedError("ValidationException", f"VpcConfig: no such resource: {name}")


def split(uri: str) -> tuple[str, str]:
    """Split an s3:// URI into bucket and key."""
    if not uri.startswith("s3://"):
        raise RefusedError("ValidationException", f"expected an s3:// URI, met {uri}")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _no_function(arn: str) -> RefusedError:
    return RefusedError("ValidationException", f"The Lambda function does not exist: {arn}")
