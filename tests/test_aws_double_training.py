"""The double's training jobs really run, stop, are interrupted and fail."""

import aws_requests
import pytest
from aws_double.tasks import until
from aws_requests import members, refused

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def training_of(aws):
    return aws_requests.training(aws)


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


def test_machines_of_one_job_find_each_other(aws, training_of):
    script = """
import json, os, pathlib, socket
ml = pathlib.Path(os.environ["CXR_ML_ROOT"])
told = json.loads((ml / "input/config/resourceconfig.json").read_text())
print([socket.gethostbyname(host) for host in told["hosts"]], told["current_host"])
"""
    machines = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 10}

    aws.client("sagemaker").create_training_job(
        **training_of("pair", script, ResourceConfig=machines)
    )

    assert aws.ended("pair") == "Completed"
    hosts = "['127.0.0.1', '127.0.0.2']"
    lines = sorted(aws.training.jobs["pair"].lines)
    assert lines == [f"{hosts} 127.0.0.1", f"{hosts} 127.0.0.2"]
