"""Rotating a secret: as moto does it, but that a failing function leaves the current version."""

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager import secretsmanager_backends

from aws_double.calls import ACCOUNT, REGION, Call, RefusedError


def rotate(call: Call) -> dict[str, Any]:
    """Answer RotateSecret, which says nothing of how the function fared.

    Raises:
        RefusedError: There is no such secret or function.
    """
    asked, backend = call.request, secretsmanager_backends[ACCOUNT][REGION]
    try:
        told = backend.rotate_secret(
            secret_id=asked["SecretId"],
            client_request_token=asked.get("ClientRequestToken"),
            rotation_lambda_arn=asked.get("RotationLambdaARN"),
            rotation_rules=asked.get("RotationRules"),
            rotate_immediately=asked.get("RotateImmediately", True),
        )
    except JsonRESTError as error:
        raise RefusedError(error.error_type, error.message) from error
    secret = backend.secrets[asked["SecretId"]]
    for name, version in secret.versions.items():
        if "AWSCURRENT" in version["version_stages"]:
            secret.set_default_version_id(name)
    document: dict[str, Any] = json.loads(told)
    return document
