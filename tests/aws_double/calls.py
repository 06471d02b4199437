"""A request to AWS, as far as the double must know it, and replies in each service's protocol."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.loaders
from botocore.model import ServiceModel

ACCOUNT, REGION = "123456789012", "eu-central-1"
OWN_KEY = "AKIADOUBLESOWNKEY000"
"""With this access key the double calls itself; no fault touches such calls."""
_SERVICES = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "secretsmanager": "secretsmanager",
    "TrentService": "kms",
    "AWSCognitoIdentityProviderService": "cognito-idp",
}
_CREDENTIAL = re.compile(r"Credential=([^/,]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_MODELS: dict[str, ServiceModel] = {}


class RefusedError(Exception):
    """What AWS answers instead of doing it.

    Attributes:
        code: As boto3 shows it in `error.response["Error"]["Code"]`.
        status: HTTP status.
        headers: More headers of the reply.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.headers = code, status, headers or {}


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        service: The service that it is signed for; empty where it is not signed.
        operation: As policies name it behind the colon, such as PutObject.
        key: Access key ID; empty where it is not signed.
        region: Of the signature.
        signed_at: When, by the clock of the caller.
        bucket: Of S3, else empty.
        object: Key in the bucket.
        request: The parameters, where the protocol is JSON.
        presigned: Whether the signature is in the address.
    """

    service: str
    operation: str
    key: str = ""
    region: str = REGION
    signed_at: datetime | None = None
    bucket: str = ""
    object: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    presigned: bool = False

    @property
    def action(self) -> str:
        return f"{self.service}:{self.operation}"

    @property
    def resource(self) -> str:
        """The ARN that a refusal names."""
        if self.service == "s3":
            return f"arn:aws:s3:::{self.bucket}" + (f"/{self.object}" if self.object else "")
        named = [v for k, v in self.request.items() if k.endswith(("Name", "Arn", "Id"))]
        return f"arn:aws:{self.service}:{self.region}:{ACCOUNT}:{named[0] if named else '*'}"


def model(service: str) -> ServiceModel:
    """Give botocore's description of a service."""
    if service not in _MODELS:
        loaded = botocore.loaders.create_loader().load_service_model(service, "service-2")
        _MODELS[service] = ServiceModel(loaded, service)
    return _MODELS[service]


def read(environ: dict[str, Any]) -> Call:
    """Understand a WSGI request, whose body is left to be read again."""
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    presigned = "X-Amz-Credential" in query
    if presigned:
        found = _CREDENTIAL.search("Credential=" + query["X-Amz-Credential"][0])
    stamp = environ.get("HTTP_X_AMZ_DATE") or query.get("X-Amz-Date", [""])[0]
    given: dict[str, Any] = {"presigned": presigned}
    if stamp:
        given["signed_at"] = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if found:
        given["key"], _, given["region"], service = found.groups()
    else:
        service = ""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        prefix, _, operation = target.rpartition(".")
        service = service or _SERVICES.get(prefix, "")
        return Call(service, operation, request=_json(environ), **given)
    if service == "lambda":
        return Call(service, _lambda(environ["REQUEST_METHOD"], environ["PATH_INFO"]), **given)
    if service in ("s3", ""):
        bucket, _, key = environ["PATH_INFO"].removeprefix("/").partition("/")
        operation = _s3(environ, query, key)
        return Call("s3", operation, bucket=bucket, object=key, **given)
    form = parse_qs(body(environ).decode(errors="replace"))
    return Call(service, form.get("Action", ["Unknown"])[0], **given)


def body(environ: dict[str, Any]) -> bytes:
    """Read a request's body, and put it back."""
    content: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(content)
    return content


def _json(environ: dict[str, Any]) -> dict[str, Any]:
    try:
        given = json.loads(body(environ) or b"{}")
    except ValueError as error:
        raise RefusedError("SerializationException", str(error)) from error
    return given if isinstance(given, dict) else {}


def _lambda(method: str, path: str) -> str:
    tail = path.rstrip("/").rpartition("/")[2]
    named = {"invocations": "InvokeFunction", "code": "UpdateFunctionCode"}
    if tail in named:
        return named[tail]
    if tail == "functions":
        return "CreateFunction" if method == "POST" else "ListFunctions"
    return {"DELETE": "DeleteFunction", "PUT": "UpdateFunction"}.get(method, "GetFunction")


def _s3(environ: dict[str, Any], query: dict[str, list[str]], key: str) -> str:
    method = environ["REQUEST_METHOD"]
    if environ["PATH_INFO"] == "/":
        return "ListAllMyBuckets"
    if key:
        parts = "uploads" in query or "uploadId" in query
        if method == "POST" or (parts and method == "PUT"):
            return "PutObject"
        verbs = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject"}
        if method == "DELETE":
            return "AbortMultipartUpload" if parts else "DeleteObject"
        return verbs.get(method, method)
    if method == "POST":
        return "DeleteObject" if "delete" in query else "PostObject"
    plain = not set(query) - {"list-type", "prefix", "delimiter", "max-keys", "encoding-type",
                              "continuation-token", "start-after", "fetch-owner"}  # fmt: skip
    if plain:
        return {"PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(method, "ListBucket")
    sub = next(iter(query)).title().replace("-", "")
    return ("Get" if method == "GET" else "Put") + f"Bucket{sub}"


def refusal(call: Call, error: RefusedError) -> tuple[str, list[tuple[str, str]], bytes]:
    """Say no as the service would: status line, headers, body."""
    status = f"{error.status} {HTTPStatus(error.status).phrase}"
    headers = {"x-amzn-RequestId": "00000000-0000-4000-8000-000000000000"} | error.headers
    if call.service in ("s3", ""):
        text = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{error.code}</Code>"
            f"<Message>{escape(str(error))}</Message><Bucket>{escape(call.bucket)}</Bucket></Error>"
        )
        headers["Content-Type"] = "application/xml"
    elif model(call.service).protocol in ("query", "ec2"):
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code>"
            f"<Message>{escape(str(error))}</Message></Error></ErrorResponse>"
        )
        headers["Content-Type"] = "text/xml"
    else:
        text = json.dumps({"__type": error.code, "message": str(error)})
        headers |= {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": error.code}
    return status, list(headers.items()), text.encode()


def answer(document: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Give a JSON service's reply; times are seconds since 1970."""

    def seconds(value: Any) -> float:
        return float(value.timestamp())

    text = json.dumps(document, default=seconds)
    return "200 OK", [("Content-Type", "application/x-amz-json-1.1")], text.encode()
