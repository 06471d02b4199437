"""Files in S3 are read and written in buckets of the account's own, and in no other."""

import pytest

from cxr.errors import AwsError
from cxr.infra.aws import Account, MissingError, objects

pytestmark = pytest.mark.aws


@pytest.fixture
def account(aws):
    return Account(aws.region, bucket=aws.bucket("objects-own"))


@pytest.fixture
def lent(aws):
    """A bucket of another account, whose policy lets everybody in."""
    from aws_double import storage

    name = aws.bucket("objects-lent")
    aws.client("s3").put_object(Bucket=name, Key="cxr/a", Body=b"there")
    storage.OWNERS[name] = "210987654321"
    yield f"s3://{name}/cxr"
    del storage.OWNERS[name]


def test_files_go_there_and_come_back(account, tmp_path):
    uri = account.where("files")
    (tmp_path / "a").write_bytes(b"one")

    objects.upload_all(account, {"x/a": tmp_path / "a"}, uri)
    objects.write(account, f"{uri}/b", b"two")

    assert objects.read(account, f"{uri}/x/a") == b"one"
    assert [name for name, _ in objects.below(account, uri)] == [f"{uri}/b", f"{uri}/x/a"]
    assert {p.name for p in objects.download_all(account, uri, tmp_path / "back")} == {"a", "b"}
    assert objects.exists(account, f"{uri}/b")
    assert objects.delete_all(account, uri) == 2
    assert not objects.exists(account, f"{uri}/b")
    with pytest.raises(MissingError):
        objects.read(account, f"{uri}/b")


CALLS = {
    "read": lambda a, uri, file: objects.read(a, f"{uri}/a"),
    "write": lambda a, uri, file: objects.write(a, f"{uri}/b", b"patient"),
    "upload": lambda a, uri, file: objects.upload(a, file, f"{uri}/b"),
    "download": lambda a, uri, file: objects.download(a, f"{uri}/a", file.with_name("got")),
    "below": lambda a, uri, file: list(objects.below(a, uri)),
    "exists": lambda a, uri, file: objects.exists(a, f"{uri}/a"),
    "delete": lambda a, uri, file: objects.delete_all(a, uri),
    "region": lambda a, uri, file: objects.check_region(a),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_of_another_account_is_refused_however_open_it_is(
    aws, account, lent, tmp_path, call
):
    file = tmp_path / "file"
    file.write_bytes(b"patient")
    other = Account(aws.region, bucket="objects-lent")

    with pytest.raises(
        AwsError,
        match=r"aws\.bucket: expected a bucket of account 123456789012, .* met objects-lent of an",
    ):
        CALLS[call](other, lent, file)

    listed = aws.client("s3").list_objects_v2(Bucket="objects-lent")["Contents"]
    assert [item["Key"] for item in listed] == ["cxr/a"]


def test_what_was_written_lately_is_told_from_what_was_not(aws, account):
    uri = account.where("age")

    assert not objects.is_recent(account, uri, 1)
    objects.write(account, uri, b"")
    assert objects.is_recent(account, uri, 1)
    assert not objects.is_recent(account, uri, 0)


def test_an_action_that_is_refused_is_not_taken_for_another_account(aws, account):
    with aws.faults.deny("s3:PutObject"), pytest.raises(AwsError, match="not allowed; add this"):
        objects.write(account, account.where("denied"), b"x")


def test_whose_credentials_these_are_is_asked_once_for_a_sign_in(aws, account):
    denied = pytest.raises(AwsError, match="sts:GetCallerIdentity")
    with aws.faults.deny("sts:GetCallerIdentity"), denied:
        account.owner()
    assert account.owner() == "123456789012"
    with aws.faults.deny("sts:GetCallerIdentity"):
        assert account.owner() == "123456789012"
        account.fresh()
        with pytest.raises(AwsError, match="sts:GetCallerIdentity"):
            account.owner()
