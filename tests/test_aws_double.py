"""The double keeps AWS's rules: what it refuses, what it runs, what it leaves behind."""

import json
import tarfile
from io import BytesIO

import pytest
import requests
from aws_double.tasks import until
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws

PRE = """
def handler(event, context):
    print("asked")
    return {"taskInput": {"source": event["dataObject"]["source"]}}
"""
POST = """
import json, boto3
def handler(event, context):
    bucket, key = event["payload"]["s3Uri"][5:].split("/", 1)
    items = json.loads(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    def label(item):
        return {"answers": len(item["annotations"]), "object": item["dataObject"]}
    return [{"datasetObjectId": item["datasetObjectId"], "consolidatedAnnotation":
             {"content": {event["labelAttributeName"]: label(item)}}} for item in items]
"""
TEMPLATE = """<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form><input type="hidden" name="annotation" value="{{ task.input.source }}">
<crowd-button form-action="submit">Submit</crowd-button></crowd-form>"""


@pytest.fixture(scope="module")
def request_of(aws):
    """Give a good CreateLabelingJob request of a name."""
    bucket = aws.bucket("double-labels")
    store(aws, "in/input.manifest", '{"source": "one", "note": 1}\n{"source": "two"}\n')
    store(aws, "in/template.html", TEMPLATE)
    pre = aws.function("double-pre", {"pre.py": PRE}, "pre.handler")
    post = aws.function("double-post", {"post.py": POST}, "post.handler")
    role = aws.role("double-labeling")

    def made(name, **changes):
        manifest = {"ManifestS3Uri": f"s3://{bucket}/in/input.manifest"}
        human = {
            "WorkteamArn": aws.team,
            "UiConfig": {"UiTemplateS3Uri": f"s3://{bucket}/in/template.html"},
            "PreHumanTaskLambdaArn": pre,
            "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": post},
            "TaskTitle": "Label chest radiographs",
            "TaskDescription": "Answer every finding.",
            "TaskKeywords": ["chest"],
            "NumberOfHumanWorkersPerDataObject": 2,
            "TaskTimeLimitInSeconds": 60,
            "TaskAvailabilityLifetimeInSeconds": 600,
            "MaxConcurrentTaskCount": 10,
        }
        whole = {
            "LabelingJobName": name,
            "LabelAttributeName": "chest",
            "InputConfig": {"DataSource": {"S3DataSource": manifest}},
            "OutputConfig": {"S3OutputPath": f"s3://{bucket}/out/"},
            "RoleArn": role,
        }
        human |= {k: changes.pop(k) for k in list(changes) if k in human}
        return whole | {"HumanTaskConfig": human} | changes

    return made


@pytest.fixture(scope="module")
def training_of(aws):
    """Give a good CreateTrainingJob request of a name and a script."""
    bucket, role = aws.bucket("double-training"), aws.role("double-training")

    def made(name, script, **changes):
        store(aws, f"{name}/code/boot.py", script, bucket)
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://{bucket}/{name}/code/",
            "S3DataDistributionType": "FullyReplicated",
        }
        return {
            "TrainingJobName": name,
            "RoleArn": role,
            "HyperParameters": {"cxr": "{}"},
            "AlgorithmSpecification": {
                "TrainingImage": "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/boot.py"],
                "MetricDefinitions": [{"Name": "auroc", "Regex": "val/auroc=([0-9.]+)"}],
            },
            "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
            "ResourceConfig": {
                "InstanceType": "ml.g5.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        } | changes

    return made


def store(aws, key, text, bucket="double-labels"):
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())


def output(aws, job):
    told = aws.client("sagemaker").describe_labeling_job(LabelingJobName=job)
    bucket, key = told["LabelingJobOutput"]["OutputDatasetS3Uri"][5:].split("/", 1)
    text = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    return [json.loads(line) for line in text.splitlines()]


def test_labeling_job_calls_both_lambdas_and_writes_its_output(aws, request_of):
    aws.workers["Whole"] = lambda given, worker: {"annotation": f"{given['source']}-{worker}"}

    arn = aws.client("sagemaker").create_labeling_job(**request_of("Whole"))["LabelingJobArn"]

    assert arn.endswith(":labeling-job/whole")
    assert aws.ended("Whole") == "Completed"
    first, second = output(aws, "Whole")
    assert first["chest"] == {"answers": 2, "object": {"content": "one"}}
    assert first["note"] == 1
    assert second["chest-metadata"].keys() == {
        "type", "job-name", "human-annotated", "creation-date",
    }  # fmt: skip
    assert aws.logs["double-pre"].count("asked") == 2


def test_training_job_runs_its_entry_point(aws, training_of):
    sagemaker = aws.client("sagemaker")

    sagemaker.create_training_job(**training_of("runs", "print('val/auroc=0.5')"))

    assert aws.ended("runs") == "Completed"
    told = sagemaker.describe_training_job(TrainingJobName="runs")
    assert [(m["MetricName"], m["Value"]) for m in told["FinalMetricDataList"]] == [("auroc", 0.5)]
    group = "/aws/sagemaker/TrainingJobs"
    streams = aws.client("logs").describe_log_streams(
        logGroupName=group, logStreamNamePrefix="runs/"
    )["logStreams"]
    events = aws.client("logs").get_log_events(
        logGroupName=group, logStreamName=streams[0]["logStreamName"]
    )["events"]
    assert [event["message"] for event in events] == ["val/auroc=0.5"]


def refused(aws, request, match, operation="create_labeling_job"):
    with pytest.raises(ClientError, match=match) as met:
        getattr(aws.client("sagemaker"), operation)(**request)
    return met.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"LabelAttributeName": "under_score"}, "'under_score' at 'labelAttributeName' .* pattern"),
        ({"LabelAttributeName": "chest-metadata"}, "must not end with -metadata"),
        ({"NumberOfHumanWorkersPerDataObject": 10}, "'humanTaskConfig.numberOf.* or equal to 9"),
        ({"TaskKeywords": ["X-ray"]}, "'humanTaskConfig.taskKeywords.1.member' .* pattern"),
        ({"TaskTimeLimitInSeconds": 28_801}, "taskTimeLimitInSeconds: 28801 is more than 28800"),
        ({"RoleArn": "arn:aws:iam::123456789012:role/none"}, "ensure that the role exists"),
        ({"WorkteamArn": "arn:aws:sagemaker:eu-central-1:123456789012:workteam/x"}, "no such team"),
        ({"PreHumanTaskLambdaArn": "arn:aws:lambda:eu-central-1:123456789012:function:x"}, "exist"),
        ({"OutputConfig": {"S3OutputPath": "s3://double-none/"}}, "s3OutputPath: no such bucket"),
        ({"LabelCategoryConfigS3Uri": "s3://double-labels/none"}, "no such object"),
    ],
)
def test_bad_labeling_request_is_refused_by_the_name_of_its_field(aws, request_of, changes, match):
    assert refused(aws, request_of("Bad", **changes), match) == "ValidationException"


def test_labeling_job_names_differ_by_more_than_case(aws, request_of):
    aws.workers["Once"] = lambda given, worker: {"annotation": "x"}
    aws.client("sagemaker").create_labeling_job(**request_of("Once"))

    assert refused(aws, request_of("oNCE"), "must be unique") == "ResourceInUse"
    aws.ended("Once")


def test_output_bucket_of_another_region_is_refused(aws, request_of):
    aws.bucket("double-elsewhere", "us-west-2")
    request = request_of("Far", OutputConfig={"S3OutputPath": "s3://double-elsewhere/out"})

    assert refused(aws, request, "is in us-west-2") == "ValidationException"


def test_manifest_line_without_a_source_fails_the_job(aws, request_of):
    store(aws, "in/bad.manifest", '{"source": "one"}\n{"sauce": "two"}\n')
    where = {"ManifestS3Uri": "s3://double-labels/in/bad.manifest"}
    request = request_of("Lineless", InputConfig={"DataSource": {"S3DataSource": where}})

    aws.client("sagemaker").create_labeling_job(**request)

    assert aws.ended("Lineless") == "Failed"
    assert "line 2 of the manifest" in aws.labeling.jobs["Lineless"].reason


def test_labelled_object_is_not_asked_again(aws, request_of):
    asked = []
    aws.workers["Chained"] = lambda given, worker: asked.append(given["source"]) or {"a": "x"}
    store(aws, "in/chain.manifest", '{"source": "one", "chest": {"n": 1}}\n{"source": "two"}\n')
    where = {"ManifestS3Uri": "s3://double-labels/in/chain.manifest"}
    request = request_of("Chained", InputConfig={"DataSource": {"S3DataSource": where}})

    aws.client("sagemaker").create_labeling_job(**request)

    assert aws.ended("Chained") == "Completed"
    assert set(asked) == {"two"}
    assert output(aws, "Chained")[0]["chest"] == {"n": 1}


def test_label_categories_reach_the_post_annotation_lambda(aws, request_of):
    aws.workers["Named"] = lambda given, worker: {"annotation": "x"}
    document = {"document-version": "2018-11-28", "labels": [{"label": "Edema"}, {"label": "Mass"}]}
    store(aws, "in/categories.json", json.dumps(document))
    code = "def handler(event, context):\n    print(event['labelCategories'])\n    return []\n"
    arn = aws.function("double-names", {"names.py": code}, "names.handler")

    aws.client("sagemaker").create_labeling_job(
        **request_of(
            "Named",
            LabelCategoryConfigS3Uri="s3://double-labels/in/categories.json",
            AnnotationConsolidationConfig={"AnnotationConsolidationLambdaArn": arn},
        )
    )

    assert aws.ended("Named") == "Completed"
    assert "['Edema', 'Mass']" in aws.logs["double-names"]
    reasons = [line["chest-metadata"]["failure-reason"] for line in output(aws, "Named")]
    assert reasons == ["ClientError: the post-annotation Lambda left this object out"] * 2


def test_failed_and_unanswered_objects_keep_their_reason(aws, request_of):
    aws.workers["Lossy"] = lambda given, worker: {"annotation": "x"}

    with aws.faults.object_fails(0, "Lossy"), aws.faults.nobody(1, "Lossy"):
        aws.client("sagemaker").create_labeling_job(**request_of("Lossy"))
        status = aws.ended("Lossy")

    reasons = [line["chest-metadata"]["failure-reason"] for line in output(aws, "Lossy")]
    assert status == "Completed"
    assert "pre-annotation" in reasons[0]
    assert "no worker answered" in reasons[1]
    assert aws.labeling.jobs["Lossy"].counters["FailedNonRetryableError"] == 2


def test_partial_output_leaves_the_other_lines_as_they_were(aws, request_of):
    aws.workers["Partly"] = lambda given, worker: {"annotation": "x"}

    with aws.faults.partial(1, "Partly"):
        aws.client("sagemaker").create_labeling_job(**request_of("Partly"))
        status = aws.ended("Partly")

    assert status == "Stopped"
    assert ["chest" in line for line in output(aws, "Partly")] == [True, False]


def test_stopped_labeling_job_ends_and_keeps_what_it_has(aws, request_of):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_labeling_job(**request_of("Halted"))
    aws.tasks("Halted")

    sagemaker.stop_labeling_job(LabelingJobName="Halted")

    assert aws.ended("Halted") == "Stopped"
    assert output(aws, "Halted") == [{"source": "one", "note": 1}, {"source": "two"}]
    again = {"LabelingJobName": "Halted"}
    assert refused(aws, again, "Stopped state", "stop_labeling_job") == "ValidationException"


@pytest.mark.browser
def test_browser_answers_in_a_sandboxed_frame(aws, request_of, browser):
    aws.client("sagemaker").create_labeling_job(
        **request_of("Seen", NumberOfHumanWorkersPerDataObject=1)
    )

    page = browser.new_page()
    answers = []
    for task in aws.tasks("Seen"):
        page.goto(task.url)
        frame = page.frame_locator("iframe")
        frame.locator("crowd-button").click()
        frame.locator("#done").wait_for()
        answers.append(task.answer)
    page.close()

    assert answers == [{"annotation": "one"}, {"annotation": "two"}]
    assert aws.ended("Seen") == "Completed"


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


SPOT = """
import os, pathlib, signal, sys, time
ml = pathlib.Path(os.environ["CXR_ML_ROOT"])
step = ml / "checkpoints" / "step.txt"
if step.exists():
    print("resumed at", step.read_text())
    (ml / "model" / "weights").write_text("w")
    sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: (step.write_text("7"), sys.exit(143)))
print("epoch 1", flush=True)
time.sleep(30)
"""


def test_spot_interruption_restarts_with_the_checkpoints(aws, training_of):
    sagemaker = aws.client("sagemaker")
    request = training_of(
        "spotty",
        SPOT,
        EnableManagedSpotTraining=True,
        CheckpointConfig={"S3Uri": "s3://double-training/checkpoints/spotty"},
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    )

    with aws.faults.interrupt("epoch 1", job="spotty"):
        sagemaker.create_training_job(**request)
        status = aws.ended("spotty")

    assert status == "Completed"
    assert aws.training.jobs["spotty"].lines == ["epoch 1", "resumed at 7"]
    told = sagemaker.describe_training_job(TrainingJobName="spotty")
    assert "Interrupted" in [t["Status"] for t in told["SecondaryStatusTransitions"]]
    assert members(aws, told["ModelArtifacts"]["S3ModelArtifacts"]) == ["weights"]


def members(aws, uri):
    bucket, key = uri[5:].split("/", 1)
    content = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return tarfile.open(fileobj=BytesIO(content)).getnames()


def test_stop_sends_sigterm_and_keeps_the_model(aws, training_of):
    script = SPOT.replace("(step.write_text", "((ml / 'model' / 'last').write_text")
    sagemaker = aws.client("sagemaker")
    sagemaker.create_training_job(**training_of("halt", script))
    until(lambda: aws.training.jobs["halt"].lines == ["epoch 1"], 20)

    sagemaker.stop_training_job(TrainingJobName="halt")

    assert aws.ended("halt") == "Stopped"
    assert members(aws, aws.training.jobs["halt"].artifacts) == ["last"]


def test_failure_file_is_the_reason(aws, training_of):
    script = "import os\nopen(os.environ['CXR_ML_ROOT'] + '/output/failure', 'w').write('why')\n"

    aws.client("sagemaker").create_training_job(
        **training_of("broken", script + "raise SystemExit(3)")
    )

    assert aws.ended("broken") == "Failed"
    assert aws.training.jobs["broken"].reason == "AlgorithmError: why, exit code: 3"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"EnableManagedSpotTraining": True}, "maxWaitTimeInSeconds"),
        ({"HyperParameters": {"cxr": "x" * 2501}}, "'hyperParameters.cxr.member' .* 2500"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://double-none/x"}}, "no such bucket"),
        ({"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
    ],
)
def test_bad_training_request_is_refused(aws, training_of, changes, match):
    request = training_of("never", "", **changes)

    assert refused(aws, request, match, "create_training_job") == "ValidationException"


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


def test_template_is_rendered_as_a_preview(aws, request_of):
    told = aws.client("sagemaker").render_ui_template(
        UiTemplate={"Content": TEMPLATE},
        Task={"Input": '{"source": "<one>"}'},
        RoleArn=aws.role("double-labeling"),
    )

    assert 'value="&lt;one&gt;"' in told["RenderedContent"]
