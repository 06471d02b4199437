"""Training elsewhere: one command prepares, starts, follows and fetches, and pays for one job."""

import json
import math
import re

import pytest
from sagemaker_site import BUCKET, Site

from cxr.errors import RunError
from cxr.infra.tracking import opened

pytestmark = pytest.mark.aws
EPOCH = re.compile(r"epoch \d/2 ")


@pytest.fixture(scope="module")
def site(aws, tmp_path_factory):
    """A labelled job of 48 images, and an account."""
    return Site(tmp_path_factory.mktemp("site"), aws)


@pytest.fixture
def told(caplog):
    """What is logged for the user."""
    caplog.set_level("INFO")
    return caplog


def stored(site):
    listed = site.aws.client("s3").list_objects_v2(Bucket=BUCKET)
    return {item["Key"]: item["Size"] for item in listed.get("Contents", ())}


def sent(site, name="one"):
    return site.aws.training.jobs[f"cxr-{name}"].request


@pytest.fixture(scope="module")
def trained(site):
    """A spot job whose machine is taken away after its first epoch."""
    with site.aws.faults.interrupt("epoch 1/2 "):
        best = site.train("name=one", "aws.tags={project: cxr, ward: 4b}", "onnx=true")
    return site, best


@pytest.mark.slow
def test_a_spot_job_goes_on_from_its_checkpoint_and_its_run_lies_here_as_if_trained_here(trained):
    site, best = trained
    run = site.root / "runs" / "one"

    job = site.aws.training.jobs["cxr-one"]
    assert job.attempts == 2
    states = [passed["Status"] for passed in job.transitions]
    assert states.count("Interrupted") == 1
    log = (run / "job.log").read_text()
    assert len(re.findall("^epoch 1/2 ", log, re.MULTILINE)) == 1  # the first is not run again
    assert "goes on from its checkpoint" in log
    for name in ("best.ckpt", "model.onnx", "run.json", "metrics.json", "split.csv",
                 "predictions.csv", "report.html", "model-card.md"):  # fmt: skip
        assert (run / name).is_file(), name
    client = opened(f"sqlite:///{site.root}/mlflow.db")
    record = json.loads((run / "run.json").read_text())
    tracked = client.get_run(record["run_id"])
    steps = [m.step for m in client.get_metric_history(record["run_id"], "val/auroc_macro")]
    assert steps == [1, 2]
    assert best == max(
        m.value for m in client.get_metric_history(record["run_id"], "val/auroc_macro")
    )
    assert tracked.data.params["data.job"] == "few"
    assert tracked.data.tags["sagemaker.job"] == "cxr-one"
    artifacts = {item.path for item in client.list_artifacts(record["run_id"])}
    assert {"best.ckpt", "model.onnx", "run.json", "report.html", "figures"} <= artifacts


@pytest.mark.slow
def test_evaluation_here_finds_the_fetched_run_and_its_figures(trained):
    site, _ = trained
    metrics = json.loads((site.root / "runs" / "one" / "metrics.json").read_text())

    done = site.command(
        "evaluate", "run=one", "data=job", "data.job=few", "draws=100", "data.workers=1", aws=False
    )
    out, err = done.communicate(timeout=120)

    assert done.returncode == 0, err
    assert "report: " in out
    again = json.loads(
        (site.root / "runs" / "one" / "evaluations" / "few" / "metrics.json").read_text()
    )
    assert again == metrics


@pytest.mark.slow
def test_what_is_sent_names_no_patient_and_the_log_no_image(trained):
    site, _ = trained
    uids = [
        line.partition(",")[0]
        for line in (site.root / "runs" / "one" / "split.csv").read_text().splitlines()[1:]
    ]

    keys = stored(site)
    client = site.aws.client("s3")
    held = {k: client.get_object(Bucket=BUCKET, Key=k)["Body"].read() for k in keys}

    assert not [k for k, content in held.items() if b"SYN7-" in content]
    log = "\n".join(site.aws.training.jobs["cxr-one"].lines)
    assert "SYN7-" not in log
    assert not [uid for uid in uids if uid in log]


@pytest.mark.slow
def test_a_fetched_run_is_not_trained_again_by_accident(trained, told):
    site, best = trained
    again = ("name=one", "aws.tags={project: cxr, ward: 4b}", "onnx=true")

    with pytest.raises(RunError, match="'one' is there already; choose another name"):
        site.train(*again)
    with pytest.raises(RunError, match="cxr-one has other settings than these"):
        site.train(*again, "resume=true", "seed=3")
    assert site.train(*again, "resume=true") == best
    assert len(site.aws.training.jobs) == 1


@pytest.mark.slow
def test_a_dry_run_prints_request_image_and_ceiling_without_credentials_and_sends_nothing(
    site, monkeypatch, capsys
):
    before = stored(site)
    for name in site.aws.environment:
        if name.startswith("AWS_") and "REGION" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    value = site.train(
        "name=dry", "compute.dry_run=true", "compute.instance=ml.g5.2xlarge", "compute.count=2",
        "compute.max_hours=10", "aws.kms_key=arn:aws:kms:eu-central-1:123456789012:key/abc",
    )  # fmt: skip
    out = capsys.readouterr().out

    assert math.isnan(value)
    asked, end = json.JSONDecoder().raw_decode(out)
    assert asked["TrainingJobName"] == "cxr-dry"
    assert asked["ResourceConfig"] == {
        "InstanceType": "ml.g5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100,
    }  # fmt: skip  # a g5 has a disk of its own, which takes no key
    assert asked["OutputDataConfig"]["KmsKeyId"].endswith("key/abc")
    assert asked["EnableInterContainerTrafficEncryption"] is True
    assert asked["EnableNetworkIsolation"] is True
    assert asked["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 36000, "MaxWaitTimeInSeconds": 172800,
    }  # fmt: skip
    assert "pytorch:2.13-cu133-amzn2023-sagemaker" in out[end:]
    assert "at most 3.04 USD an hour (2 × ml.g5.2xlarge, on demand), 30.40 USD in 10 h" in out
    assert not (site.root / "runs" / "dry").exists()
    monkeypatch.undo()
    assert stored(site) == before


def test_an_instance_without_a_price_says_where_to_set_one():
    from cxr.aws_schema import SageMakerCompute
    from cxr.infra.sagemaker import request

    settings = SageMakerCompute.model_construct(
        instance="ml.p6.48xlarge", count=3, max_hours=2.0, prices_usd={}, spot=True
    )

    assert request.ceiling(settings) == (
        "no price is listed for ml.p6.48xlarge: set it in compute.prices_usd, an hour in USD, for "
        "a ceiling; at most 3 × 2 h are paid for"
    )
