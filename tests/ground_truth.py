"""A Ground Truth job to be, for tests: arguments, settings, and its account."""

from cxr.infra.aws import Account
from cxr.labeling.groundtruth.settings import Settings

REGION = "eu-central-1"
NUMBER = "123456789012"


def arn(service, resource, region=REGION):
    return f"arn:aws:{service}:{region}:{NUMBER}:{resource}"


ARNS = {
    "role_arn": f"arn:aws:iam::{NUMBER}:role/labeling",
    "workteam_arn": arn("sagemaker", "workteam/private-crowd/radiology"),
    "pre_lambda_arn": arn("lambda", "function:pre"),
    "post_lambda_arn": arn("lambda", "function:post"),
    "token_secret_arn": arn("secretsmanager", "secret:keys"),
}


def settings(**changes):
    return Settings(**ARNS | changes)


def account(**changes):
    return Account(**{"region": REGION, "bucket": "cxr-bucket"} | changes)


def arguments(**changes):
    """The command's words for a job of three drawn images."""
    words = {f"labeling.{name}": value for name, value in ARNS.items()} | {
        "aws": "account",
        "labeling": "groundtruth",
        "job": "frontal",
        "job.synthetic.images": 3,
        "job.synthetic.rows": 96,
        "job.synthetic.columns": 80,
    }
    words |= {name.replace("__", "."): value for name, value in changes.items()}
    return [f"{name}={value}" for name, value in words.items()]
