"""Requests that the AWS double takes, for tests to spoil, and what tests read of its answers."""

import json
import tarfile
from io import BytesIO

import pytest
from botocore.exceptions import ClientError

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
NARROW = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::double-labels/in/*"}
    ],
}


def labeling(aws):
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


def training(aws):
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


def refused(aws, request, match, operation="create_labeling_job"):
    with pytest.raises(ClientError, match=match) as met:
        getattr(aws.client("sagemaker"), operation)(**request)
    return met.value.response["Error"]["Code"]


def members(aws, uri):
    bucket, key = uri[5:].split("/", 1)
    content = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return tarfile.open(fileobj=BytesIO(content)).getnames()
