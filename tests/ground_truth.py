"""A Ground Truth job to be, for tests: arguments, settings, and its account."""

import json

from specimens import LABELS, dicom, document, roi

from cxr.infra.aws import Account, lambdas, objects
from cxr.labeling import Job, selection
from cxr.labeling.groundtruth import GroundTruthLabeling
from cxr.labeling.groundtruth.settings import Settings
from cxr.pacs.folder import FolderPacs

REGION = "eu-central-1"
NUMBER = "123456789012"
PACS_URL = "https://images.hospital.example"
KEY = "k1:" + "5a" * 32


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
    if words["labeling"] != "groundtruth":  # which has no such keys
        ours = {f"labeling.{name}" for name in (*ARNS, "poll_s")}
        words = {name: value for name, value in words.items() if name not in ours}
    return [f"{name}={value}" for name, value in words.items()]


class Cloud:
    """An account with all that a labeling job needs, on the double, and a PACS of three images."""

    def __init__(self, aws, folder, name):
        self.aws, self.name, self.folder = aws, name, folder
        self.bucket = aws.bucket(f"cxr-{name}")
        jobs = f"s3://{self.bucket}/cxr/jobs"
        self.secret = aws.client("secretsmanager").create_secret(
            Name=f"keys-{name}", SecretString=KEY
        )["ARN"]
        zipped = folder / "lambdas.zip"
        lambdas.build(zipped)
        environment = {
            "CXR_JOBS": jobs, "CXR_TOKEN_SECRET": self.secret, "CXR_PACS_URL": PACS_URL,
        }  # fmt: skip
        pre, post = (
            aws.function(f"{name}-{which}", zipped.read_bytes(), f"{which}.handler", environment)
            for which in ("pre_annotation", "post_annotation")
        )
        self.arns = {
            "role_arn": aws.role(f"labeling-{name}"),
            "workteam_arn": aws.team,
            "pre_lambda_arn": pre,
            "post_lambda_arn": post,
            "token_secret_arn": self.secret,
        }
        self.pacs = FolderPacs(folder / "pacs")
        for number in (1, 2, 3):
            self.pacs.store(dicom(number))

    def keys(self):
        return self.aws.client("secretsmanager").get_secret_value(
            SecretId=self.secret, VersionStage="AWSCURRENT"
        )[
            "SecretString"
        ].split()  # fmt: skip

    def account(self, **changes):
        return account(**{"bucket": self.bucket} | changes)

    def backend(self, account=None, **changes):
        given = settings(**self.arns | {"poll_s": 0.05} | changes)
        return GroundTruthLabeling(pacs=self.pacs, account=account or self.account(), given=given)

    def job(self, name, root, **changes):
        made = Job(name, root / "jobs" / name, LABELS, **{"workers_per_object": 2} | changes)
        selection.from_query(made.folder, self.pacs, query={}, views=["frontal"], label_set=LABELS)
        return made

    def document(self, uri):
        bucket, key = objects.parts(uri)
        return json.loads(self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def files(self, below=""):
        uri = f"s3://{self.bucket}/{below}"
        return [one.removeprefix(f"s3://{self.bucket}/") for one, _ in objects.below(
            self.account(), uri
        )]  # fmt: skip


def run(backend, job, **options):
    """What the command does: to the end of the job, and its manifest."""
    try:
        backend.start(job, job.input_manifest, **options)
        backend.follow(job)
        return backend.collect(job)
    finally:
        backend.close()


def answers(task, worker):
    """Two workers who differ on the second label, as the page would send it."""
    said = document("apaa" if worker else "aapa", rois=[roi()] if worker else [])
    for item in said["findings"]:
        item["comment"] = "Größe, 50 %" if item["label"] == "Edema" else ""
    return {"annotation": json.dumps(said | {"task": {"itemId": task["itemId"]}})}
