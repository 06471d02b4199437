"""The keys that sign image URLs, in Secrets Manager: one more for a job, one less at its end.

Secrets Manager has no conditional write. So a changed text is first put as a version of its own,
and then made the current one only if the current one is still the version that was changed: two
people who start jobs at once, or a rotation between, lose nothing. No secret is ever in a message.

Needs secretsmanager:GetSecretValue, PutSecretValue and UpdateSecretVersionStage on the secret, and
kms:Decrypt and kms:GenerateDataKey on its key.
"""

import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from cxr.contract import signing
from cxr.errors import AwsError, ConfigError
from cxr.infra.aws import Account

_CURRENT = "AWSCURRENT"
_DRAFT = "CXRDRAFT"
"""Stage of a version that is not yet current; a version without any is deleted by and by."""
_TRIES = 8


def add_job_key(account: Account, secret_arn: str, kid: str) -> None:
    """Give a labeling job a key of its own behind the others, under an ID of `signing`'s.

    A key that is there already stays, so that a job followed again keeps its links.

    Raises:
        AwsError: Not allowed, no such secret, or others change it all the time.
        ConfigError: The secret does not hold keys.
    """
    _change(account, secret_arn, lambda text: signing.with_job(text, kid))


def remove_job_key(account: Account, secret_arn: str, kid: str) -> bool:
    """End every link of a labeling job, and say whether it had a key.

    Raises:
        AwsError: As `add_job_key`.
        ConfigError: As `add_job_key`.
    """
    return _change(account, secret_arn, lambda text: signing.without_job(text, kid))


def keys(account: Account, secret_arn: str) -> signing.Keys:
    """Read the keys.

    Raises:
        AwsError: Not allowed, or no such secret.
        ConfigError: The secret does not hold keys.
    """
    return _keys(secret_arn, _read(account, secret_arn)[1])


def _change(account: Account, secret_arn: str, changed: Callable[[str], str]) -> bool:
    for attempt in range(_TRIES):
        version, text = _read(account, secret_arn)
        _keys(secret_arn, text)
        wanted = changed(text)
        if wanted == text:
            return False
        draft = str(uuid.uuid4())
        account.call(
            "secretsmanager", "put_secret_value", secret_arn, SecretId=secret_arn,
            ClientRequestToken=draft, SecretString=wanted, VersionStages=[_DRAFT],
        )  # fmt: skip
        if _made_current(account, secret_arn, draft, instead_of=version):
            return True
        time.sleep(random.uniform(0.1, 0.5) * (attempt + 1))
    raise AwsError(
        f"secretsmanager:UpdateSecretVersionStage on {secret_arn}: somebody else changed it each "
        f"of {_TRIES} times; repeat the command"
    )


def _read(account: Account, secret_arn: str) -> tuple[str, str]:
    found = account.call(
        "secretsmanager", "get_secret_value", secret_arn, SecretId=secret_arn, VersionStage=_CURRENT
    )
    return str(found["VersionId"]), str(found.get("SecretString", ""))


def _keys(secret_arn: str, text: str) -> signing.Keys:
    try:
        return signing.keys_from_text(text)
    except ConfigError as error:
        raise ConfigError(f"{secret_arn}: {error}") from None


def _made_current(account: Account, secret_arn: str, draft: str, *, instead_of: str) -> bool:
    """Make a version the current one, unless another has become it since."""
    moved = {"SecretId": secret_arn, "VersionStage": _CURRENT}
    try:
        account.call(
            "secretsmanager", "update_secret_version_stage", secret_arn, **moved,
            MoveToVersionId=draft, RemoveFromVersionId=instead_of,
        )  # fmt: skip
        won = True
    except AwsError:
        if _read(account, secret_arn)[0] == instead_of:
            raise  # nobody else was first: it is refused
        won = False
    with suppress(AwsError):  # another's draft has taken the stage, and the next one will
        account.call(
            "secretsmanager", "update_secret_version_stage", secret_arn,
            SecretId=secret_arn, VersionStage=_DRAFT, RemoveFromVersionId=draft,
        )  # fmt: skip
    return won
