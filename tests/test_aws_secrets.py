"""Token keys in Secrets Manager: a job's comes and goes, rotation draws new ones, none is lost."""

import json
import logging
import threading
import uuid

import pytest
from lambda_site import KEY

from cxr.contract import signing
from cxr.errors import AwsError, ConfigError, TokenError
from cxr.infra.aws import Account, lambdas, secrets
from cxr.labeling import handlers

CHEST, ENDS, BEGINS = map(signing.job_kid, ("chest-1", "ends", "begins"))
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


@pytest.fixture
def client(aws):
    return aws.client("secretsmanager")


@pytest.fixture
def arn(client):
    return client.create_secret(Name=f"keys-{uuid.uuid4()}", SecretString=KEY)["ARN"]


@pytest.fixture
def account(aws):
    return Account("eu-central-1")


@pytest.fixture(scope="module")
def begin(aws):
    """What Secrets Manager does before it calls the function; here one that leaves all to us."""
    arn = aws.function("no-rotation", {"idle.py": "handler = lambda *_: None"}, "idle.handler", {})

    def begun(client, secret):
        rules = {"AutomaticallyAfterDays": 30}
        return client.rotate_secret(SecretId=secret, RotationLambdaARN=arn, RotationRules=rules)[
            "VersionId"
        ]

    return begun


def text(client, arn):
    return client.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")["SecretString"]


def stages(client, arn):
    found = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    return sorted(stage for each in found.values() for stage in each)


def rotate(arn, version, *steps):
    handler = handlers.load("rotate_keys")
    for step in steps or STEPS:
        handler({"Step": step, "SecretId": arn, "ClientRequestToken": version}, None)


def test_a_jobs_key_stands_last_and_goes_with_it(client, account, arn):
    kid = signing.new_job_kid("Chest-1")
    secrets.add_job_key(account, arn, kid)
    during = text(client, arn)

    gone = secrets.remove_job_key(account, arn, kid)

    assert list(signing.keys_from_text(during).by_id) == ["k1", kid]
    assert gone
    assert text(client, arn) == KEY
    assert not secrets.remove_job_key(account, arn, kid)
    assert "CXRDRAFT" not in stages(client, arn)


def test_a_key_that_is_there_stays_as_it_is(client, account, arn):
    secrets.add_job_key(account, arn, CHEST)
    first = text(client, arn)

    secrets.add_job_key(account, arn, CHEST)

    assert text(client, arn) == first
    assert secrets.keys(account, arn) == signing.keys_from_text(first)


def test_jobs_that_begin_at_once_all_get_their_key(client, account, arn):
    kids = [signing.new_job_kid("chest") for _ in range(4)]
    threads = [
        threading.Thread(target=secrets.add_job_key, args=(account, arn, kid)) for kid in kids
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(signing.keys_from_text(text(client, arn)).by_id) == {
        "k1", *kids
    }  # fmt: skip


def test_a_secret_of_another_kind_is_refused_and_not_shown(client, account, arn):
    client.put_secret_value(SecretId=arn, SecretString="hunter2")

    with pytest.raises(ConfigError, match="expected token keys as id:hex") as met:
        secrets.add_job_key(account, arn, CHEST)

    assert "hunter2" not in str(met.value)
    assert text(client, arn) == "hunter2"


def test_a_secret_that_is_not_there_is_named(account):
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:absent"

    with pytest.raises(AwsError, match=r"secretsmanager:GetSecretValue on arn.*absent"):
        secrets.add_job_key(account, arn, CHEST)


def test_no_secret_is_ever_logged(client, account, arn, caplog):
    caplog.set_level(logging.INFO)

    secrets.add_job_key(account, arn, CHEST)
    held = text(client, arn)
    secrets.remove_job_key(account, arn, CHEST)

    for part in held.split():
        assert part.partition(":")[2] not in caplog.text


def test_a_new_key_signs_and_the_one_before_still_opens(begin, client, account, arn, capsys):
    secrets.add_job_key(account, arn, CHEST)
    before = signing.keys_from_text(text(client, arn))
    token = signing.sign(before, ["i:a"], ttl_s=60)

    rotate(arn, begin(client, arn))

    after = signing.keys_from_text(text(client, arn))
    new, *kept = after.by_id
    assert kept == ["k1", CHEST]
    assert new not in before.by_id
    assert signing.verify(after, token)
    assert stages(client, arn) == ["AWSCURRENT", "AWSPREVIOUS"]
    told = capsys.readouterr().out
    assert [json.loads(line)["step"] for line in told.splitlines()] == list(STEPS)
    assert not [key for key in after.by_id.values() if key.hex() in told]


def test_two_rotations_later_the_first_key_is_gone(begin, client, arn):
    token = signing.sign(signing.keys_from_text(KEY), ["i:a"], ttl_s=60)

    for _ in range(2):
        rotate(arn, begin(client, arn))

    keys = signing.keys_from_text(text(client, arn))
    assert len(keys.by_id) == 2
    with pytest.raises(TokenError, match="wrong signature"):
        signing.verify(keys, token)


def test_every_step_may_run_twice(begin, client, arn):
    version = begin(client, arn)

    rotate(arn, version, *(step for step in STEPS for _ in range(2)))
    first = text(client, arn)
    rotate(arn, version)

    assert text(client, arn) == first
    assert len(signing.keys_from_text(first).by_id) == 2
    begin(client, arn)  # nothing pending stops it


def test_jobs_that_begin_and_end_while_keys_rotate_are_heeded(begin, client, account, arn):
    secrets.add_job_key(account, arn, ENDS)
    version = begin(client, arn)
    rotate(arn, version, "createSecret", "setSecret", "testSecret")
    secrets.remove_job_key(account, arn, ENDS)
    secrets.add_job_key(account, arn, BEGINS)

    rotate(arn, version, "finishSecret", "finishSecret")

    new, *kept = signing.keys_from_text(text(client, arn)).by_id
    assert kept == ["k1", BEGINS]
    assert new.startswith("k")
    assert "AWSPENDING" not in stages(client, arn)
    rotate(arn, begin(client, arn))  # the next one is not stopped by it
    assert BEGINS in signing.keys_from_text(text(client, arn)).by_id


def test_a_secret_that_a_stack_drew_gets_its_form_by_rotation(begin, client, arn):
    client.put_secret_value(SecretId=arn, SecretString="hY7pQ2" * 8)

    rotate(arn, begin(client, arn))

    assert len(signing.keys_from_text(text(client, arn)).by_id) == 1


def test_secrets_manager_rotates_by_the_zip(aws, client, arn, tmp_path):
    lambdas.build(tmp_path / "lambdas.zip")
    function = aws.function(
        "rotate", (tmp_path / "lambdas.zip").read_bytes(), "rotate_keys.handler", {}
    )

    client.rotate_secret(
        SecretId=arn, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 30}
    )

    keys = signing.keys_from_text(text(client, arn))
    assert list(keys.by_id)[1:] == ["k1"]
    assert stages(client, arn) == ["AWSCURRENT", "AWSPREVIOUS"]
    assert not [key for key in keys.by_id.values() if key.hex() in aws.logs["rotate"]]


@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({"Step": "dropSecret"}, r"^error ConfigError, field Step, line rotate_keys\.py:\d+$"),
        ({"ClientRequestToken": "0" * 36}, "^error ConfigError, field ClientRequestToken"),
        ({"SecretId": "absent"}, "^error ResourceNotFoundException, code ResourceNotFound"),
    ],
)
def test_a_step_that_is_none_is_refused(begin, client, arn, change, met):
    given = {"Step": "testSecret", "SecretId": arn, "ClientRequestToken": begin(client, arn)}

    with pytest.raises(Exception, match=met):
        handlers.load("rotate_keys")(given | change, None)


def test_a_version_that_is_neither_current_nor_pending_is_refused(begin, client, arn):
    version = begin(client, arn)
    rotate(arn, version)
    rotate(arn, begin(client, arn))  # by which it is no longer current

    with pytest.raises(Exception, match=r"^error ConfigError, field ClientRequestToken"):
        rotate(arn, version, "createSecret")


def test_a_pending_secret_that_is_broken_never_becomes_current(begin, client, arn):
    version = begin(client, arn)
    client.put_secret_value(
        SecretId=arn, ClientRequestToken=version, SecretString=signing.new_keys("k9"),
        VersionStages=["AWSPENDING"],
    )  # fmt: skip

    with pytest.raises(Exception, match=r"^error TokenError"):
        rotate(arn, version)

    assert text(client, arn) == KEY
