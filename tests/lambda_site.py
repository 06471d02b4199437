"""What the Lambdas meet on AWS: events as Ground Truth sends them, a job's settings, a secret."""

import json
from pathlib import Path

EVENTS = Path(__file__).parent / "events"
BUCKET = "cxr-bucket"
JOBS = f"s3://{BUCKET}/cxr/jobs"
PAYLOAD = "chest-1/annotations/consolidated-annotation/consolidation-request/iteration-1/"
KEY = "k1:" + "5a" * 32


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


def put(aws, key, content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def furnish(aws):
    """Lay out what a job of Ground Truth needs, and give the ARN of its secret."""
    aws.bucket(BUCKET)
    put(aws, "cxr/jobs/chest-1/settings.json", event("job_settings"))
    for path in (EVENTS / "answers").rglob("*.json"):
        put(aws, str(path.relative_to(EVENTS)), path.read_bytes())
    made = aws.client("secretsmanager").create_secret(Name="lambda-keys", SecretString=KEY)
    return made["ARN"]
