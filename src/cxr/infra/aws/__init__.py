"""An AWS account, as one person or one job sees it: clients, and refusals in one line.

Credentials are found as the AWS CLI finds them. Nothing is asked of AWS before the first call.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from cxr import aws_schema
from cxr.errors import AwsError, ConfigError

_EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "UnrecognizedClientException",
    "InvalidClientTokenId",
}  # fmt: skip
_SKEWED = {"RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"}
_REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_BUSY = {
    "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded",
    "SlowDown", "ServiceUnavailable", "InternalFailure",
}  # fmt: skip
_AWAY = {
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
    "HTTPClientError", "ProxyConnectionError",
}  # fmt: skip
_ELSEWHERE = {
    "PermanentRedirect",
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}


class ExpiredError(AwsError):
    """The credentials are no longer, or not yet, good; after a new sign-in the same call works."""


class MissingError(AwsError):
    """There is no such thing in the account."""


class RefusedError(AwsError):
    """These credentials may not do it."""


class BusyError(AwsError):
    """AWS is busy or out of reach, even after all tries; later the same call works."""


def raised() -> tuple[type[Exception], ...]:
    """Give the errors of AWS's own library, for whoever calls it through another one."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return Boto3Error, BotoCoreError, ClientError


@dataclass(frozen=True)
class Account:
    """One account in one region.

    Attributes:
        region: Such as eu-central-1.
        profile: Of ~/.aws/config, or None.
        expected: The account's twelve digits, where others are to be refused.
        bucket: Where everything of ours is kept; None until a stack's outputs name it.
        prefix: In front of every key.
        kms_key: ARN of the key that encrypts what is stored, or None.
        tags: On every job.
        tries: Of one call, while AWS is busy.
    """

    region: str
    profile: str | None = None
    expected: str | None = None
    bucket: str | None = None
    prefix: str = "cxr"
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    tries: int = 8
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def of(cls, section: aws_schema.Aws) -> Self:
        """Give the account that the section `aws` of a config describes."""
        return cls(
            section.region, section.profile, section.account, section.bucket, section.prefix,
            section.kms_key, dict(section.tags),
        )  # fmt: skip

    def client(self, service: str) -> Any:
        """Give the boto3 client of a service; calls through it retry what is worth retrying."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        for chatty in ("boto3", "botocore", "s3transfer"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        retries = {"mode": "standard", "total_max_attempts": self.tries}
        with self._lock:
            try:
                if "session" not in self._made:
                    self._made["session"] = boto3.Session(
                        region_name=self.region, profile_name=self.profile
                    )
                if service not in self._made:
                    self._made[service] = self._made["session"].client(
                        service, config=Config(retries=retries, user_agent_extra="cxr")
                    )
            except BotoCoreError as error:
                raise ConfigError(f"aws.profile: {error}") from error
            return self._made[service]

    def call(self, service: str, operation: str, resource: str, **request: Any) -> dict[str, Any]:
        """Call one operation once; throttling is waited out.

        Args:
            service: As boto3 names it, such as `sagemaker`.
            operation: Its method, such as `describe_labeling_job`.
            resource: What it is about, for the message.
            request: The operation's parameters.

        Raises:
            ExpiredError: Sign in again.
            MissingError: There is no such thing.
            AwsError: Any other refusal, naming action and resource.
        """
        with self.explaining(_action(service, operation), resource):
            answer: dict[str, Any] = getattr(self.client(service), operation)(**request)
        return answer

    @contextmanager
    def explaining(self, action: str, resource: str) -> Iterator[None]:
        """Turn what boto3 raises inside the block into one of ours.

        Args:
            action: As policies name it, such as `s3:GetObject`.
            resource: What it is done to.
        """
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._refusal(error, action, resource) from error
        except (BotoCoreError, Boto3Error) as error:
            inner = error.__context__
            if isinstance(inner, ClientError):  # boto3's transfers wrap what S3 said
                raise self._refusal(inner, action, resource) from error
            raise _unreached(error, action, resource) from error

    def fresh(self) -> None:
        """Forget clients and credentials, so that the next call finds those of a new sign-in."""
        with self._lock:
            self._made.clear()

    def check(self) -> str:
        """Say which account the credentials are of.

        Raises:
            AwsError: There are none, they are refused, or they are another account's.
        """
        met = str(self.call("sts", "get_caller_identity", "the credentials")["Account"])
        if self.expected and met != self.expected:
            raise AwsError(
                f"aws.account: expected credentials of {self.expected}, met those of {met}; "
                "choose another aws.profile"
            )
        return met

    def owner(self) -> str:
        """Say whose the buckets have to be, asked once for a sign-in; see `check`."""
        if "owner" not in self._made:
            self._made["owner"] = self.check()
        return str(self._made["owner"])

    def where(self, *parts: str) -> str:
        """Give the s3:// URI of a key below the prefix.

        Raises:
            ConfigError: No bucket is known.
        """
        if self.bucket is None:
            raise ConfigError(
                "aws.bucket: expected the bucket that manifests and models go to, met none; set "
                "it, CXR_BUCKET, or aws.stack to a stack that has made one"
            )
        return "/".join([f"s3://{self.bucket}", self.prefix, *parts])

    def _refusal(self, error: Any, action: str, resource: str) -> AwsError:
        told = error.response.get("Error", {})
        code, said = str(told.get("Code", "")), " ".join(str(told.get("Message", "")).split())
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _EXPIRED:
            return ExpiredError(
                f"{action} on {resource}: the credentials have expired or are unknown; sign in "
                "again (aws sso login, aws configure) and repeat the command"
            )
        if code in _SKEWED:
            return AwsError(
                f"{action} on {resource}: the signature is refused; check this machine's clock, "
                "then the secret access key"
            )
        if code in _REFUSED or status == 403:
            return RefusedError(
                f"{action} on {resource}: not allowed; add this action on this resource to the "
                "role or user whose credentials these are"
                + (f" ({said[:200]})" if said and said != "Forbidden" else "")
            )
        if code in _ELSEWHERE or status == 301:
            return AwsError(
                f"{action} on {resource}: it is in another region than {self.region}; set "
                "aws.region"
            )
        if code in _BUSY:
            return BusyError(
                f"{action} on {resource}: AWS is busy ({code}), after "
                f"{self.tries} tries; repeat the command later"
            )
        missing = code in (
            "NoSuchKey", "NoSuchBucket", "404", "ResourceNotFoundException", "ResourceNotFound"
        )  # fmt: skip
        kind = MissingError if missing or "not found" in said or status == 404 else AwsError
        return kind(f"{action} on {resource}: {code}: {said[:300]}")


def _action(service: str, operation: str) -> str:
    return f"{service}:{''.join(word.capitalize() for word in operation.split('_'))}"


def _unreached(error: Exception, action: str, resource: str) -> AwsError:
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return ExpiredError(
            f"{action} on {resource}: expected credentials as the AWS CLI has them, met none; "
            "sign in (aws sso login, aws configure) or set aws.profile"
        )
    if name in ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"):
        return ExpiredError(f"{action} on {resource}: the sign-in has expired; aws sso login")
    where = os.environ.get("AWS_ENDPOINT_URL", "AWS")
    # a network that is away for a while is waited out like an AWS that is busy
    kind = BusyError if name in _AWAY else AwsError
    return kind(f"{action} on {resource}: {where} was not reached or understood: {error}"[:400])
