"""Rotation Lambda: a new key in front of those that sign image URLs.

Secrets Manager calls `handler` four times a rotation, and again where one fails (its rotation
protocol: createSecret, setSecret, testSecret, finishSecret); so every step may run twice. What
reads the keys, gateways and the pre-annotation Lambda, asks for them every minute or less.

Needs secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and UpdateSecretVersionStage on
the secret, and kms:Decrypt and kms:GenerateDataKey on its key.
"""

import uuid
from collections.abc import Callable
from typing import Any

from cxr.contract import signing, telling
from cxr.errors import ConfigError, TokenError

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
_TRIES = 5


def handler(event: dict[str, Any], context: object) -> None:
    """Take one step of a rotation.

    Args:
        event: `Step`, `SecretId` and `ClientRequestToken`, which becomes the version's ID.
        context: Lambda's; only its request ID is read.

    Raises:
        CxrError: The secret or the step is not what the protocol says; the message holds no key.
    """
    try:
        done = _step(event)
    except Exception as error:  # noqa: BLE001 - the function's edge: what leaves it is logged
        refused = telling.nameless(error)
    else:
        telling.tell("rotate-keys", context, step=event["Step"], done=done)
        return
    raise refused


def _step(event: dict[str, Any]) -> bool:
    """Take the step; False where there was nothing left to do."""
    import boto3  # in every Lambda's runtime

    steps: dict[str, Callable[[Any, str, str], bool]] = {
        "createSecret": _create,
        "setSecret": lambda *_: False,  # nobody has to be told: all who need the keys ask for them
        "testSecret": _test,
        "finishSecret": _finish,
    }
    step, arn, version = event["Step"], event["SecretId"], event["ClientRequestToken"]
    if step not in steps:
        raise ConfigError("expected a step of a rotation").at("Step")
    client = boto3.client("secretsmanager")
    told = client.describe_secret(SecretId=arn)
    if not told.get("RotationEnabled", False):
        raise ConfigError("expected a secret that rotates").at("RotationEnabled")
    stages = told.get("VersionIdsToStages", {}).get(version)
    if stages is None:
        raise ConfigError("expected a version of the secret").at("ClientRequestToken")
    if CURRENT in stages or (step == "finishSecret" and PENDING not in stages):
        return False  # it was finished before
    if PENDING not in stages:
        raise ConfigError("expected the version that is pending").at("ClientRequestToken")
    return steps[step](client, arn, version)


def _create(client: Any, arn: str, version: str) -> bool:
    """Draw the new key, once: the version keeps what it got first."""
    try:
        client.get_secret_value(SecretId=arn, VersionId=version, VersionStage=PENDING)
    except client.exceptions.ResourceNotFoundException:
        text = _current(client, arn)[1]
        drawn = signing.new_keys() if _is_first(text) else signing.rotated(text)
        client.put_secret_value(
            SecretId=arn, ClientRequestToken=version, SecretString=drawn, VersionStages=[PENDING]
        )
        return True
    return False


def _test(client: Any, arn: str, version: str) -> bool:
    """See that the new key signs, and that what the one before signed still opens."""
    new = signing.keys_from_text(_text(client, arn, VersionId=version, VersionStage=PENDING))
    text = _current(client, arn)[1]
    for signer in (new, new if _is_first(text) else signing.keys_from_text(text)):
        token = signing.sign(signer, ["i:test"], ttl_s=60)
        if not signing.opens(signing.verify(new, token), "i:test"):
            raise TokenError("expected the new keys to open it")
    return True


def _finish(client: Any, arn: str, version: str) -> bool:
    """Make the new version the current one, with the keys that jobs have at this moment.

    A job may have begun or ended since the new key was drawn, and a version cannot be changed; so
    then a third one, of both, becomes the current one.
    """
    for _ in range(_TRIES):
        current, text = _current(client, arn)
        pending = _text(client, arn, VersionId=version, VersionStage=PENDING)
        wanted = signing.with_jobs_of(pending, text)
        becomes = version
        if signing.keys_from_text(wanted) != signing.keys_from_text(pending):
            becomes = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{version} {current}"))
            client.put_secret_value(
                SecretId=arn, ClientRequestToken=becomes, SecretString=wanted,
                VersionStages=["CXRDRAFT"],
            )  # fmt: skip
        if _moved(client, arn, becomes, current):
            break
    else:
        raise ConfigError("expected a secret that nobody else changes").at(CURRENT)
    # a version that stays pending beside another current one would stop the next rotation
    client.update_secret_version_stage(
        SecretId=arn, VersionStage=PENDING, RemoveFromVersionId=version
    )
    return True


def _moved(client: Any, arn: str, becomes: str, current: str) -> bool:
    """Make a version the current one, unless another has become it since it was read."""
    try:
        client.update_secret_version_stage(
            SecretId=arn, VersionStage=CURRENT, MoveToVersionId=becomes, RemoveFromVersionId=current
        )
    except client.exceptions.InvalidParameterException:
        if _current(client, arn)[0] == current:
            raise
        return False
    return True


def _current(client: Any, arn: str) -> tuple[str, str]:
    found = client.get_secret_value(SecretId=arn, VersionStage=CURRENT)
    return str(found["VersionId"]), str(found["SecretString"])


def _is_first(text: str) -> bool:
    """Say whether this is what a stack draws, before any key: a word, as a password is."""
    return ":" not in text and len(text.split()) == 1


def _text(client: Any, arn: str, **version: str) -> str:
    return str(client.get_secret_value(SecretId=arn, **version)["SecretString"])
