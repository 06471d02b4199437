"""What the Lambdas meet on AWS: events as Ground Truth sends them, an S3, a Secrets Manager."""

import json
from contextlib import contextmanager
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

EVENTS = Path(__file__).parent / "events"
BUCKET = "cxr-bucket"
JOBS = f"s3://{BUCKET}/cxr/jobs"
PAYLOAD = "chest-1/annotations/consolidated-annotation/consolidation-request/iteration-1/"
KEY = "k1:" + "5a" * 32


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


@contextmanager
def serving():
    """A moto server on a free port of this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    finally:
        server.stop()


def environment(url):
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def client(service, url):
    return boto3.client(
        service, endpoint_url=url, region_name="eu-central-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip


def put(url, key, content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    client("s3", url).put_object(Bucket=BUCKET, Key=key, Body=body)


def furnish(url):
    """Lay out what a job of Ground Truth needs, and give the ARN of its secret."""
    client("s3", url).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    put(url, "cxr/jobs/chest-1/settings.json", event("job_settings"))
    for path in (EVENTS / "answers").rglob("*.json"):
        put(url, str(path.relative_to(EVENTS)), path.read_bytes())
    made = client("secretsmanager", url).create_secret(Name="token-keys", SecretString=KEY)
    return made["ARN"]
