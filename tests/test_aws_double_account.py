"""The double's account: Lambdas, roles, bad days, buckets, secrets and stacks."""

import json
import threading

import aws_requests
import cloudformation
import pytest
import requests
from aws_double.server import Aws, zipped
from aws_double.tasks import until
from aws_requests import NARROW, refused, store
from botocore.exceptions import ClientError

from cxr.infra.aws import lambdas

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def request_of(aws):
    return aws_requests.labeling(aws)


def test_lambdas_import_error_is_a_function_error(aws):
    aws.function("double-torch", {"a.py": "import numpy\ndef handler(e, c): ..."}, "a.handler")

    reply = aws.client("lambda").invoke(FunctionName="double-torch", Payload=b"{}")

    assert reply["FunctionError"] == "Unhandled"
    told = json.loads(reply["Payload"].read())
    assert told["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'numpy'" in told["errorMessage"]


def test_lambda_knows_nothing_of_this_checkout(aws):
    code = "import importlib.util as u\ndef handler(e, c): return str(u.find_spec('cxr'))"
    aws.function("double-alone", {"a.py": code}, "a.handler")

    reply = aws.client("lambda").invoke(FunctionName="double-alone", Payload=b"{}")

    assert json.loads(reply["Payload"].read()) == "None"


def test_lambda_that_takes_too_long_is_ended(aws):
    code = "import time\ndef handler(e, c): time.sleep(9)"
    aws.function("double-slow", {"a.py": code}, "a.handler", timeout_s=1)

    reply = aws.client("lambda").invoke(FunctionName="double-slow", Payload=b"{}")

    assert json.loads(reply["Payload"].read())["errorType"] == "Sandbox.Timedout"


def test_throttled_call_succeeds_after_so_many_tries(aws):
    sagemaker = aws.client("sagemaker")

    with aws.faults.throttle("sagemaker:ListLabelingJobs", times=2):
        told = sagemaker.list_labeling_jobs()["ResponseMetadata"]

    assert told["RetryAttempts"] == 2


def test_credentials_expire_until_there_are_new_ones(aws):
    sagemaker = aws.client("sagemaker")

    with aws.faults.expire(after=1):
        sagemaker.list_workteams()
        code = refused(aws, {}, "expired", "list_workteams")
        aws.sign_in()
        aws.client("sagemaker").list_workteams()

    assert code == "ExpiredTokenException"


def test_denial_names_action_and_resource(aws):
    with aws.faults.deny("sagemaker:DescribeTrainingJob"):
        told = r"perform: sagemaker:DescribeTrainingJob on resource: arn:aws:sagemaker:.*runs"
        request = {"TrainingJobName": "runs"}
        assert refused(aws, request, told, "describe_training_job") == "AccessDeniedException"


def test_skewed_clock_is_refused_by_each_service_in_its_words(aws):
    with aws.faults.clock(1200):
        code = refused(aws, {}, "Signature expired", "list_workteams")
        with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
            aws.client("s3").get_object(Bucket="double-labels", Key="in/template.html")

    assert code == "InvalidSignatureException"


def test_bucket_of_another_account_is_closed(aws):
    with aws.faults.foreign("double-labels"), pytest.raises(ClientError, match="AccessDenied"):
        aws.client("s3").get_object(Bucket="double-labels", Key="in/template.html")


def test_unsigned_and_expired_addresses_are_closed(aws, request_of):
    s3 = aws.client("s3")
    named = {"Bucket": "double-labels", "Key": "in/template.html"}
    good = s3.generate_presigned_url("get_object", Params=named, ExpiresIn=60)
    old = s3.generate_presigned_url("get_object", Params=named, ExpiresIn=-1)

    met = [requests.get(url, timeout=10).status_code for url in (good, old, good.split("?")[0])]

    assert met == [200, 403, 403]


def test_pages_of_other_origins_read_by_the_rules_of_the_bucket(aws, request_of):
    s3 = aws.client("s3")
    aws.bucket("double-cors")
    s3.put_object(Bucket="double-cors", Key="a", Body=b"a")
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["null"]}]
    s3.put_bucket_cors(Bucket="double-cors", CORSConfiguration={"CORSRules": rules})
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "double-cors", "Key": "a"})

    met = [
        requests.get(url, headers={"Origin": origin}, timeout=10).headers
        for origin in ("null", "https://evil.example")
    ]

    assert [m.get("Access-Control-Allow-Origin") for m in met] == ["null", None]


STACK = """
Parameters: {Small: {Type: Number, MaxValue: 5, Default: 1}}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      CorsConfiguration: {CorsRules: [{AllowedMethods: [GET], AllowedOrigins: ['null']}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: sagemaker.amazonaws.com}}]
  Database: {Type: AWS::RDS::DBCluster, Properties: {Engine: aurora-postgresql}}
  Team: {Type: AWS::SageMaker::Workteam, Properties: {WorkteamName: double-readers}}
Outputs:
  Bucket: {Value: !Ref Bucket}
  Role: {Value: !GetAtt Role.Arn}
  Database: {Value: !GetAtt Database.Endpoint.Address}
  Team: {Value: !Ref Team}
"""


def test_stack_is_made_with_what_moto_lacks(aws):
    stacks = aws.client("cloudformation")

    stacks.create_stack(StackName="double", TemplateBody=STACK, Capabilities=["CAPABILITY_IAM"])

    told = stacks.describe_stacks(StackName="double")["Stacks"][0]
    made = {output["OutputKey"]: output["OutputValue"] for output in told["Outputs"]}
    assert told["StackStatus"] == "CREATE_COMPLETE"
    assert made["Team"].endswith(":workteam/private-crowd/double-readers")
    assert aws.client("s3").get_bucket_cors(Bucket=made["Bucket"])["CORSRules"]
    team = aws.client("sagemaker").describe_workteam(WorkteamName="double-readers")
    assert team["Workteam"]["WorkteamArn"] == made["Team"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "CAPABILITY_IAM"),
        ({"Capabilities": ["CAPABILITY_IAM"], "Large": "1"}, r"\[Large\] do not exist"),
        ({"Capabilities": ["CAPABILITY_IAM"], "Small": "6"}, "'Small' must be from None to 5"),
    ],
)
def test_stack_is_refused(aws, given, match):
    names = [
        {"ParameterKey": key, "ParameterValue": value}
        for key, value in given.items()
        if key != "Capabilities"
    ]
    capable = {key: value for key, value in given.items() if key == "Capabilities"}
    with pytest.raises(ClientError, match=match):
        aws.client("cloudformation").create_stack(
            StackName="refused", TemplateBody=STACK, Parameters=names, **capable
        )


READER = """
import boto3
def handler(event, context):
    return boto3.client("s3").get_object(Bucket="double-labels", Key=event)["ETag"]
"""


def test_lambda_may_do_what_its_role_may_and_no_more(aws, request_of):
    store(aws, "out/secret", "x")
    aws.role("double-narrow-role", "lambda.amazonaws.com", NARROW)
    aws.function("double-narrow", {"a.py": READER}, "a.handler")

    replies = [
        aws.client("lambda").invoke(FunctionName="double-narrow", Payload=json.dumps(key))
        for key in ("in/template.html", "out/secret")
    ]

    assert "FunctionError" not in replies[0]
    told = json.loads(replies[1]["Payload"].read())["errorMessage"]
    assert "perform: s3:GetObject on resource: arn:aws:s3:::double-labels/out/secret" in told


def test_failed_rotation_leaves_the_secret(aws):
    code = "def handler(event, context):\n    print(event['Step'])\n    1 / 0\n"
    arn = aws.function("double-rotate", {"a.py": code}, "a.handler")
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name="double-key", SecretString="one")

    secrets.rotate_secret(SecretId="double-key", RotationLambdaARN=arn)

    assert "createSecret" in aws.logs["double-rotate"]
    assert secrets.get_secret_value(SecretId="double-key")["SecretString"] == "one"


def test_deployed_zip_rotates_a_secret(aws, tmp_path):
    lambdas.build(tmp_path / "lambdas.zip")
    whole = (tmp_path / "lambdas.zip").read_bytes()
    arn = aws.function("double-keys", whole, "rotate_keys.handler")
    secrets, kept = aws.client("secretsmanager"), "first:" + "ab" * 32
    secrets.create_secret(Name="double-keys", SecretString=kept)

    secrets.rotate_secret(
        SecretId="double-keys", RotationLambdaARN=arn, RotationRules={"AutomaticallyAfterDays": 30}
    )

    text = secrets.get_secret_value(SecretId="double-keys")["SecretString"]
    assert text.endswith(" " + kept)
    assert "ab" * 32 not in aws.logs["double-keys"]


def test_stack_whose_function_has_no_code_is_rolled_back(aws):
    body = """
Resources:
  Function:
    Type: AWS::Lambda::Function
    Properties: {Code: {S3Bucket: double-labels, S3Key: none.zip}, Role: r, Runtime: python3.13}
"""
    stacks = aws.client("cloudformation")

    stacks.create_stack(StackName="codeless", TemplateBody=body)

    assert stacks.describe_stacks(StackName="codeless")["Stacks"][0]["StackStatus"] == (
        "ROLLBACK_COMPLETE"
    )
    events = stacks.describe_stack_events(StackName="codeless")["StackEvents"]
    assert any("NoSuchKey" in event.get("ResourceStatusReason", "") for event in events)


@pytest.mark.parametrize("name", ["labeling", "training"])
def test_our_templates_are_deployed(aws, name):
    bucket = aws.bucket("double-code")
    code = zipped({"pre_annotation.py": "", "post_annotation.py": ""})
    aws.client("s3").put_object(Bucket=bucket, Key="lambdas.zip", Body=code)
    given = {"labeling": {"LambdaBucket": bucket, "LambdaKey": "lambdas.zip"}, "training": {}}
    stacks = aws.client("cloudformation")

    stacks.create_stack(
        StackName=f"double-{name}",
        TemplateBody=(cloudformation.FOLDER / f"{name}.yaml").read_text(),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given[name].items()],
        Capabilities=["CAPABILITY_IAM"],
    )

    made = stacks.describe_stacks(StackName=f"double-{name}")["Stacks"][0]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    assert all(output["OutputValue"] for output in made["Outputs"])


def test_nothing_is_left_of_a_double_that_was_stopped(aws):
    before = threading.active_count()
    other = Aws()
    other.function("double-left", {"a.py": "def handler(event, context): ..."}, "a.handler")
    other.client("lambda").invoke(FunctionName="double-left", Payload=b"{}")

    other.stop()

    assert until(lambda: threading.active_count() <= before, 10)
    with pytest.raises(requests.ConnectionError):
        requests.get(other.endpoint, timeout=5)
    assert aws.client("s3").list_buckets()["Buckets"]
