"""scripts/stack.py as a person runs it, on the AWS double."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cxr.contract import jobs, labels
from cxr.infra.aws import Account, deployment, stacks

ROOT = Path(__file__).parents[1]
VPC = ("VpcId=vpc-0123", "SubnetIds=subnet-01,subnet-02", "RouteTableIds=rtb-01")

pytestmark = pytest.mark.aws


@pytest.fixture
def changesets(aws):
    """What a stack can be made to suffer; imported late, since few files need moto."""
    from aws_double import changesets

    return changesets


def stack(aws, *words, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "stack.py", *words],
        env={**os.environ, **aws.environment, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def said(done):
    """What a command that went well printed as NAME=value."""
    assert done.returncode == 0, done.stderr
    lines = [line.partition("=") for line in done.stdout.splitlines()]
    return {name: value for name, equals, value in lines if equals and " " not in name}


def refused(done):
    """The one line of a command that did not."""
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def labeling(aws):
    """A labeling stack with a team of its own: what `up` printed, and all it said."""
    done = stack(
        aws,
        "up",
        "labeling",
        "script-labeling",
        "JobsPrefix=cxr/tests",
        "MakeNotebook=true",
        "NotebookInternet=true",
    )
    return said(done), done


def test_up_makes_the_stack_and_says_what_comes_next(aws, labeling):
    outputs, done = labeling

    assert outputs["SageMakerAnnotationS3Bucket"].startswith("script-labeling-bucket-")
    assert ":role/script-labeling-LabelingRole-" in outputs["SMGTLabelingExecutionRole"]
    assert outputs["JobsPrefix"] == "cxr/tests"
    assert done.stdout.splitlines()[-1].startswith("next: python -m cxr.label ")
    assert done.stdout.splitlines()[-1].endswith(
        " aws.stack=script-labeling dry_run=true labeling.images=s3"
    )
    assert "add Bucket (AWS::S3::Bucket)" in done.stderr.splitlines()


def test_the_team_is_one_that_sagemaker_knows(aws, labeling):
    outputs, _ = labeling

    team = aws.client("sagemaker").describe_workteam(WorkteamName="script-labeling-readers")

    assert team["Workteam"]["WorkteamArn"] == outputs["WorkteamArn"]
    assert outputs["ReadersPoolId"]


def test_the_functions_run_the_uploaded_zip_with_the_stacks_own_settings(aws, labeling):
    outputs, _ = labeling

    made = aws.client("lambda").get_function(FunctionName=outputs["PreLabelLambdaArn"])

    settings = made["Configuration"]["Environment"]["Variables"]
    bucket = outputs["SageMakerAnnotationS3Bucket"]
    assert settings["CXR_JOBS"] == f"s3://{bucket}/cxr/tests/jobs"
    assert settings["CXR_TOKEN_SECRET"] == ""
    assert made["Configuration"]["Runtime"] == "python3.13"


def test_the_deployed_function_answers_by_the_settings_in_the_stacks_bucket(aws, labeling):
    outputs, _ = labeling
    bucket = outputs["SageMakerAnnotationS3Bucket"]
    settings = jobs.Settings(
        attribute="chest-1",
        label_set=labels.LabelSet("chest", ("Pneumonia",)),
        viewer_url="s3://b/v.js",
    )
    aws.client("s3").put_object(
        Bucket=bucket,
        Key=f"cxr/tests/jobs/{jobs.key('chest-1')}",
        Body=json.dumps(jobs.to_document(settings)),
    )
    event = {
        "version": "2018-10-16",
        "labelingJobArn": f"arn:aws:sagemaker:{aws.region}:{aws.account}:labeling-job/chest-1",
        "dataObject": {"source-ref": f"s3://{bucket}/cxr/tests/jobs/chest-1/images/1.dcm"},
    }

    met = aws.client("lambda").invoke(
        FunctionName=outputs["PreLabelLambdaArn"], Payload=json.dumps(event)
    )

    answer = json.loads(met["Payload"].read())
    assert "FunctionError" not in met, answer
    assert answer["taskInput"]["labels"] == ["Pneumonia"]
    assert answer["taskInput"]["viewerSrc"] == "s3://b/v.js"
    assert answer["taskInput"]["imageUrl"] == event["dataObject"]["source-ref"]


def test_the_notebook_instance_fetches_its_notebook_when_it_is_made(aws, labeling):
    outputs, _ = labeling
    sagemaker = aws.client("sagemaker")

    made = sagemaker.describe_notebook_instance(NotebookInstanceName=outputs["NotebookName"])
    listed = aws.client("cloudformation").list_stack_resources(StackName="script-labeling")
    physical = {
        r["LogicalResourceId"]: r["PhysicalResourceId"] for r in listed["StackResourceSummaries"]
    }
    setup = sagemaker.describe_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName=physical["NotebookSetup"].rpartition("/")[2]
    )

    assert made["InstanceType"] == "ml.m5.xlarge"
    assert made["DirectInternetAccess"] == "Enabled"  # no VPC was given, and it was asked for
    script = base64.b64decode(setup["OnCreate"][0]["Content"]).decode()
    source = re.search(r"s3://([^/]+)/(\S+/label_and_train\.ipynb)", script)
    stored = aws.client("s3").get_object(Bucket=source[1], Key=source[2])
    assert stored["Body"].read() == (ROOT / "scripts/notebooks/label_and_train.ipynb").read_bytes()


def test_up_again_changes_nothing_and_prints_the_same(aws, labeling):
    outputs, _ = labeling

    again = stack(aws, "up", "labeling", "script-labeling")

    assert said(again) == outputs
    assert "script-labeling is as asked already" in again.stderr


def test_up_with_one_parameter_leaves_the_others_as_they_were(aws, labeling):
    changed = stack(aws, "up", "labeling", "script-labeling", "LogDays=30")

    assert said(changed)["JobsPrefix"] == "cxr/tests"
    described = aws.client("cloudformation").describe_stacks(StackName="script-labeling")
    parameters = {
        p["ParameterKey"]: p["ParameterValue"] for p in described["Stacks"][0]["Parameters"]
    }
    assert parameters["LogDays"] == "30"
    assert parameters["LambdaKey"].endswith("/lambdas.zip")


def test_show_prints_outputs_and_names_what_was_changed_by_other_hands(
    aws, labeling, monkeypatch, changesets
):
    outputs, _ = labeling
    untouched = deployment.drift(Account(aws.region), "script-labeling")
    monkeypatch.setitem(changesets.DRIFTED, "script-labeling", ["Bucket"])

    shown = stack(aws, "show", "script-labeling")

    assert untouched == []
    assert said(shown) == outputs
    assert shown.stdout.splitlines()[-1] == "Bucket (AWS::S3::Bucket): MODIFIED"


def test_training_takes_bucket_key_and_prefix_of_the_labeling_stack(aws, labeling):
    outputs, _ = labeling

    done = stack(
        aws, "up", "training", "script-training", "--from", "script-labeling", *VPC,
        "MakeMlflow=true",
    )  # fmt: skip

    made = said(done)
    assert made["TrainingBucket"] == outputs["SageMakerAnnotationS3Bucket"]
    assert made["KmsKeyArn"] == outputs["KmsKeyArn"]
    assert made["JobsPrefix"] == "cxr/tests"
    assert made["SubnetIds"] == "subnet-01,subnet-02"
    assert made["SecurityGroupId"].startswith("sg-")
    assert made["MlflowTrackingServerArn"].endswith(
        ":mlflow-tracking-server/script-training-mlflow"
    )
    assert f"export CXR_MLFLOW_ARN={made['MlflowTrackingServerArn']}" in done.stdout.splitlines()


def test_down_leaves_data_alone(aws):
    account = Account(aws.region)
    bucket = deployment.deploy(account, "training", "script-down", {}).outputs["TrainingBucket"]
    aws.client("s3").put_object(Bucket=bucket, Key="cxr/runs/a/best.ckpt", Body=b"weights")

    told = refused(stack(aws, "down", "script-down"))
    gone = stack(aws, "down", "script-down", "--leave-data")

    assert told.startswith(f"script-down: bucket {bucket} holds data; empty it (aws s3 rm ")
    assert gone.returncode == 0
    assert f"kept: AWS::S3::Bucket {bucket}" in gone.stdout.splitlines()
    assert aws.client("s3").get_object(Bucket=bucket, Key="cxr/runs/a/best.ckpt")
    assert stacks.described_stack(account, "script-down") is None


def test_package_prints_content_addressed_keys_and_uploads_them_once(aws):
    first = said(stack(aws, "package"))
    bucket = first["LambdaBucket"]
    before = aws.client("s3").list_object_versions(Bucket=bucket).get("Versions", [])
    again = said(stack(aws, "package"))

    assert again == first
    assert aws.client("s3").list_object_versions(Bucket=bucket)["Versions"] == before
    assert bucket == "cxr-packages-123456789012-eu-central-1"
    assert first["LambdaKey"].endswith("/lambdas.zip")
    closed = aws.client("s3").get_public_access_block(Bucket=bucket)
    assert all(closed["PublicAccessBlockConfiguration"].values())
    policy = aws.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
    assert '"aws:SecureTransport": "false"' in policy


def test_a_bucket_of_packages_is_closed_again_and_trusted_in_nothing(aws):
    told = said(stack(aws, "package"))
    s3, bucket = aws.client("s3"), told["LambdaBucket"]
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key=told["LambdaKey"], Body=b"somebody else's code")

    again = stack(aws, "package")

    assert said(again) == told
    assert "does not hold what its key says, and is written anew" in again.stderr
    code = s3.get_object(Bucket=bucket, Key=told["LambdaKey"])["Body"].read()
    assert hashlib.sha256(code).hexdigest()[:32] == told["LambdaKey"].split("/")[1]
    closed = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(closed.values())
    assert "SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_a_failed_event_is_one_line_and_so_is_the_end(aws, monkeypatch, changesets):
    monkeypatch.setitem(changesets.FAILING, "Bucket", "script-failed-bucket\n already exists")

    done = stack(aws, "up", "training", "script-failed")

    assert refused(done) == (
        "script-failed: ROLLBACK_COMPLETE; scripts/stack.py show script-failed says what stands"
    )
    assert (
        "Bucket (AWS::S3::Bucket): CREATE_FAILED: script-failed-bucket already exists"
        in done.stderr.splitlines()
    )
    shown = stack(aws, "show", "script-failed")
    assert shown.stdout.splitlines() == [
        "script-failed: ROLLBACK_COMPLETE",
        "Bucket (AWS::S3::Bucket): CREATE_FAILED: script-failed-bucket already exists",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["up", "labeling", "x", "WorkerOrigin=https://a.example"],
         "WorkerOrigin: no such parameter; did you mean WorkerOrigins?"),
        (["explode"], "expected up, show, down, package, met 'explode'; --help says more"),
        ([], "expected up, show, down, package, met none; --help says more"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(aws, words, told):
    assert refused(stack(aws, *words)) == told


def test_names_and_regions_that_cannot_be_are_refused_before_credentials_are_asked_for(tmp_path):
    none = {**os.environ, "HOME": str(tmp_path), "AWS_REGION": "eu-central-1"}
    none = {key: value for key, value in none.items() if not key.startswith("AWS_ACCESS")}

    def told(*words, **environment):
        return refused(
            subprocess.run(
                [sys.executable, ROOT / "scripts" / "stack.py", *words],
                env=none | environment, capture_output=True, text=True, check=False, timeout=60,
            )
        )  # fmt: skip

    assert told("show", "my_stack").endswith("that begin with a letter, met 'my_stack'")
    assert told("up", "labeling", "a", "--from", "1").endswith("begin with a letter, met '1'")
    assert told("show", "a", AWS_REGION="here") == (
        "AWS_REGION: expected a region as eu-central-1, met 'here'"
    )


@pytest.mark.parametrize("script", ["stack.py", "bundle.py"])
def test_help_is_no_error_and_a_bare_call_says_what_is_wanted(script):
    helped, bare = (
        subprocess.run(
            [sys.executable, ROOT / "scripts" / script, *words],
            capture_output=True, text=True, check=False, timeout=60,
        )
        for words in (["--help"], [])
    )  # fmt: skip

    assert (helped.returncode, helped.stderr) == (0, "")
    assert script in helped.stdout
    assert refused(bare).startswith("expected ")


def test_without_a_region_it_says_so(aws):
    done = stack(aws, "show", "x", AWS_REGION="", AWS_DEFAULT_REGION="")

    assert refused(done) == "expected a region, met none; set AWS_REGION or add --region"
