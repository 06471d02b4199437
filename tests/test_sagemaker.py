"""Training elsewhere: one command prepares, starts, follows and fetches, and pays for one job."""

import csv
import fcntl
import json
import math
import re
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from sagemaker_site import BUCKET, Site

from cxr.errors import AwsError, ConfigError, RunError
from cxr.infra.tracking import opened

pytestmark = pytest.mark.aws


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


KNOWN_HERE = {"cohort", "metadata_only", "subgroups"}
"""What takes sex and age, which no job is sent."""
ONE = ("name=one", "aws.tags={project: cxr, ward: 4b}", "onnx=true", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def trained(site):
    """A spot job: followed, left by Ctrl-C, then its machine is taken away, and followed again."""
    with site.aws.faults.interrupt("^epoch 2/3 "):
        with pytest.raises(KeyboardInterrupt), ctrl_c(site, "cxr-one"):
            site.train(*ONE)
        best = site.train(*ONE, "resume=true")
    return site, best


@contextmanager
def ctrl_c(site, job, number=signal.SIGINT, said=lambda: True):
    """Press it, or what else ends a command, once a job is under way."""

    def press():
        while job not in site.aws.training.jobs or not said():
            time.sleep(0.05)
        time.sleep(0.5)
        signal.raise_signal(number)

    threading.Thread(target=press, daemon=True).start()
    yield


@pytest.mark.slow
def test_a_spot_job_goes_on_from_its_checkpoint_and_its_run_lies_here_as_if_trained_here(trained):
    site, best = trained
    run = site.root / "runs" / "one"

    job = site.aws.training.jobs["cxr-one"]
    assert job.attempts == 2
    assert [name for name in site.aws.training.jobs if name.startswith("cxr-one")] == ["cxr-one"]
    states = [passed["Status"] for passed in job.transitions]
    assert states.count("Interrupted") == 1
    log = (run / "job.log").read_text()
    # the second may be: it may be taken away before its checkpoint is written
    assert [len(re.findall(f"^epoch {n}/3 ", log, re.MULTILINE)) for n in (1, 3)] == [1, 1]
    assert "goes on from its checkpoint" in log
    for name in ("best.ckpt", "model.onnx", "run.json", "metrics.json", "split.csv",
                 "predictions.csv", "report.html", "model-card.md"):  # fmt: skip
        assert (run / name).is_file(), name
    client = opened(f"sqlite:///{site.root}/mlflow.db")
    record = json.loads((run / "run.json").read_text())
    tracked = client.get_run(record["run_id"])
    told = client.get_metric_history(record["run_id"], "val/auroc_macro")
    assert sorted({m.step for m in told}) == [1, 2, 3]
    assert (record["kept"]["which"], record["kept"]["epoch"]) == ("last", 3)
    assert best == next(m.value for m in told if m.step == 3)
    assert tracked.data.params["data.job"] == "few"
    assert tracked.data.tags["sagemaker.job"] == "cxr-one"
    artifacts = {item.path for item in client.list_artifacts(record["run_id"])}
    assert {"model.onnx", "run.json", "report.html", "figures"} <= artifacts
    assert len(tracked.outputs.model_outputs) == 1  # holds the checkpoint


@pytest.mark.slow
def test_evaluation_here_finds_the_fetched_run_and_its_figures(trained, capsys):
    site, _ = trained
    metrics = json.loads((site.root / "runs" / "one" / "metrics.json").read_text())

    site.evaluate("run=one", "data=job", "data.job=few", "draws=100", "data.workers=1")

    assert "report: " in capsys.readouterr().out
    again = json.loads(
        (site.root / "runs" / "one" / "evaluations" / "few" / "metrics.json").read_text()
    )
    assert metrics["metadata_only"]["asked"] == ["view"]
    assert {"age", "sex"} <= set(again["metadata_only"]["asked"])
    for name in KNOWN_HERE:
        again.pop(name), metrics.pop(name, None)
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

    with (site.root / "synthetic" / "truth.csv").open(newline="") as file:
        at_home = {row["sop_instance_uid"] for row in csv.DictReader(file)}
    assert set(uids) == at_home  # put back as they were fetched
    named = [b"SYN7-", *(uid.encode() for uid in uids)]
    assert not [k for k, content in held.items() if any(name in content for name in named)]
    log = "\n".join(site.aws.training.jobs["cxr-one"].lines)
    assert "SYN7-" not in log
    assert not [uid for uid in uids if uid in log]


@pytest.mark.slow
def test_a_fetched_run_is_not_trained_again_by_accident(trained, told):
    site, best = trained
    before = list(site.aws.training.jobs)
    with pytest.raises(RunError, match="'one' is there already; choose another name"):
        site.train(*ONE)
    with pytest.raises(RunError, match="cxr-one has other settings than these"):
        site.train(*ONE, "resume=true", "seed=3")
    assert site.train(*ONE, "resume=true") == best
    assert list(site.aws.training.jobs) == before


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
        "compute.wheelhouse=null",
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
    assert (
        "price: 3.04 USD an hour (2 × ml.g5.2xlarge) at the listed on-demand price of us-east-1, "
        "30.40 USD in 10 h; spot costs less; volumes, stored and moved data and logs come on top\n"
    ) in out[end:]
    assert not (site.root / "runs" / "dry").exists()
    assert not (site.root / "wheelhouses").exists()
    sources = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in asked["InputDataConfig"]
    }
    assert sources["code"] == f"s3://{BUCKET}/cxr/training/channels/code/made-at-the-start/"
    assert "wheels: made at the start, hence made-at-the-start in the channel code" in out
    monkeypatch.undo()
    assert stored(site) == before


def test_an_instance_without_a_price_says_where_to_set_one():
    from cxr.aws_schema import SageMakerCompute
    from cxr.infra.sagemaker import request

    settings = SageMakerCompute.model_construct(
        instance="ml.p6.48xlarge", count=3, max_hours=2.0, prices_usd={}, spot=True, keep_alive_s=0
    )

    assert request.ceiling(settings) == (
        "no price is listed for ml.p6.48xlarge: set it in compute.prices_usd, an hour in USD, for "
        "a ceiling; at most 3 × 2 h are paid for"
    )


def test_a_ceiling_has_the_time_a_warm_machine_waits_and_is_each_trials():
    from cxr.aws_schema import SageMakerCompute
    from cxr.infra.sagemaker import request

    settings = SageMakerCompute.model_construct(
        instance="a", count=1, max_hours=1.0, prices_usd={"a": 1.5}, spot=False, keep_alive_s=3600
    )

    said = request.ceiling(settings, each=True)

    assert "3.00 USD in 1 h and 3600 s of keep_alive_s for each trial; volumes" in said


# without a training that is run: what goes wrong


@pytest.mark.slow
def test_a_job_that_fails_says_why_and_is_started_again_only_on_request(site, told):
    faults = site.aws.faults

    with (
        faults.job_fails("AlgorithmError: val has no finding, exit code: 1", "cxr-bad*"),
        pytest.raises(RunError, match="cxr-bad failed: AlgorithmError: val has no finding"),
    ):
        site.train("name=bad")
    with pytest.raises(RunError, match=r"cxr-bad failed: .*; add resume=true to start a new job"):
        site.train("name=bad")
    with (
        faults.job_fails("CapacityError: none left", "cxr-bad-try2"),
        pytest.raises(RunError, match="cxr-bad-try2 failed: CapacityError: none left"),
    ):
        site.train("name=bad", "resume=true")

    first, second = (site.aws.training.jobs[n].request for n in ("cxr-bad", "cxr-bad-try2"))
    assert first["CheckpointConfig"] == second["CheckpointConfig"]
    assert first["InputDataConfig"] == second["InputDataConfig"]
    assert first["HyperParameters"] == second["HyperParameters"]


@pytest.mark.slow
def test_a_job_left_by_kill_or_by_a_closed_terminal_goes_on_and_is_not_paid_for_twice(site, told):
    with pytest.raises(KeyboardInterrupt), ctrl_c(site, "cxr-halt", signal.SIGTERM):
        site.train("name=halt")
    again = ctrl_c(
        site, "cxr-halt", signal.SIGHUP,
        lambda: "cxr-halt is there already (InProgress), and nothing new is started"
        in told.messages,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt), again:
        site.train("name=halt")
    with pytest.raises(
        RunError, match=r"cxr-halt trains the same .* by: .*name=halt resume=true; a name="
    ):
        site.train()  # the very same command without a name
    with site.aws.faults.job_fails("over"), pytest.raises(RunError, match="cxr-asked failed"):
        site.train("name=asked")
    site.aws.client("sagemaker").stop_training_job(TrainingJobName="cxr-halt")
    with pytest.raises(RunError, match="cxr-halt stopped"):
        site.train("name=halt")

    left = [m for m in told.messages if "cxr-halt goes on without being followed" in m]
    (begun,) = [m for m in told.messages if "follow the job by:" in m and "name=halt" in m]
    assert len(left) == 2
    assert all(m.endswith("name=halt resume=true") for m in (*left, begun))


@pytest.mark.slow
def test_what_was_sent_is_not_sent_again(site, told):
    with site.aws.faults.job_fails("no"):
        with pytest.raises(RunError, match="cxr-sent-once failed"):
            site.train("name=sent-once")
        told.clear()
        with pytest.raises(RunError, match="cxr-sent-twice failed"):
            site.train("name=sent-twice", "model.optimizer.lr=1e-2")

    assert not [r for r in told.messages if r.startswith("sending")]
    first, second = (site.aws.training.jobs[n].request for n in ("cxr-sent-once", "cxr-sent-twice"))
    assert first["InputDataConfig"] == second["InputDataConfig"]


@pytest.mark.slow
def test_following_outlasts_throttling_and_an_expired_sign_in(site, told):
    def repair():
        while not [m for m in told.messages if "following waits" in m]:
            time.sleep(0.05)
        left.set()

    left = threading.Event()
    threading.Thread(target=repair, daemon=True).start()
    with site.aws.faults.job_fails("over", "cxr-worn"), site.aws.faults.throttle("sagemaker:D*", 3):
        expired(site, left)
        with pytest.raises(RunError, match="cxr-worn failed: over"):
            site.train("name=worn")

    assert [m for m in told.messages if "have expired or are unknown" in m]
    assert "following cxr-worn again" in told.messages


def expired(site, until):
    """Let credentials expire once the job is taken, until somebody signs in."""

    def run():
        while "cxr-worn" not in site.aws.training.jobs:
            time.sleep(0.01)
        with site.aws.faults.expire():
            until.wait(30)

    threading.Thread(target=run, daemon=True).start()


@pytest.mark.slow
def test_without_leave_to_read_logs_a_job_is_followed_all_the_same(site, told):
    with (
        site.aws.faults.job_fails("over", "cxr-mute"),
        site.aws.faults.deny("logs:DescribeLogStreams"),
        pytest.raises(RunError, match="cxr-mute failed: over"),
    ):
        site.train("name=mute")

    (warned,) = [m for m in told.messages if "logs:DescribeLogStreams" in m]
    assert "not allowed" in warned
    assert "followed without its log" in warned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (("deny", "sagemaker:CreateTrainingJob"),
         "sagemaker:CreateTrainingJob on cxr-denied: not allowed"),
        (("foreign", BUCKET), f"s3:[A-Za-z]+ on s3://{BUCKET}/.*: not allowed"),
        (("clock", 3600.0), "check this machine's clock"),
        (("expire", 0), "have expired or are unknown; sign in"),
    ],
)  # fmt: skip
def test_a_refusal_names_action_and_resource_and_leaves_nothing_half_begun(site, fault, match):
    name, given = fault

    with getattr(site.aws.faults, name)(given), pytest.raises(AwsError, match=match):
        site.train("name=denied")

    assert "cxr-denied" not in site.aws.training.jobs
    assert not (site.root / "runs" / "denied" / "sagemaker.json").exists()


def test_wrong_labels_are_refused_before_anything_is_sent(site):
    before = stored(site)

    with pytest.raises(ConfigError, match="objective: expected a label of job 'few'"):
        site.train("name=typo", "objective=val/auroc/Edemma", "data.image_size=[32,32]")

    assert stored(site) == before
    assert "cxr-typo" not in site.aws.training.jobs


def test_a_machine_that_there_is_not_is_refused_before_anything_is_prepared(site):
    with pytest.raises(ConfigError, match=r"met 'ml\.g5\.2xlrage'; did you mean ml\.g5\.2xlarge\?"):
        site.train("name=typo", "compute.instance=ml.g5.2xlrage", "data.job=none-such")


def test_a_role_is_needed_and_its_place_named(site):
    with pytest.raises(ConfigError, match=r"compute\.role_arn: expected the output TrainingRole"):
        site.train("name=roleless", "compute.role_arn=null")


@pytest.mark.slow
def test_a_job_of_this_name_that_another_site_started_is_not_taken_for_ours(site, tmp_path):
    with site.aws.faults.job_fails("over"), pytest.raises(RunError, match="cxr-ours failed"):
        site.train("name=ours")
    (site.root / "runs" / "ours" / "sagemaker.json").unlink()

    with pytest.raises(RunError, match="called cxr-ours is in the account already, of another run"):
        site.train("name=ours", "seed=9")
    labels = site.root / "jobs" / "few" / "manifests" / "output" / "output.manifest"
    before = labels.read_text()
    fewer = "".join(before.splitlines(keepends=True)[:-1])
    other_data = "cxr-ours was sent other labels or images than there are"
    try:
        labels.write_text(fewer)
        with pytest.raises(RunError, match=other_data):
            site.train("name=ours")
        labels.write_text(before)
        with pytest.raises(RunError, match="cxr-ours failed: over"):
            site.train("name=ours")  # the same settings: the file was lost, and the job is ours
        labels.write_text(fewer)
        with pytest.raises(RunError, match=other_data):
            site.train("name=ours", "resume=true")
    finally:
        labels.write_text(before)
    assert "cxr-ours-try2" not in site.aws.training.jobs


@pytest.mark.slow
def test_a_job_of_another_run_that_took_the_name_meanwhile_is_not_followed(site):
    def take():
        while not list(site.root.glob(".sending-*/labels/parcel.json")):
            time.sleep(0.01)
        other = site.aws.training.jobs["cxr-model"].request
        asked = {**other, "TrainingJobName": "cxr-race", "HyperParameters": {"cxr": "{}"}}
        site.aws.client("sagemaker").create_training_job(**asked)
        fcntl.flock(held, fcntl.LOCK_UN)

    with site.aws.faults.job_fails("over"):
        with pytest.raises(RunError, match="cxr-model failed"):
            site.train("name=model")
        with (site.root / ".sagemaker.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            threading.Thread(target=take, daemon=True).start()
            with pytest.raises(RunError, match="called cxr-race is in the account already, of an"):
                site.train("name=race")

    assert not (site.root / "runs" / "race" / "sagemaker.json").exists()


@pytest.mark.slow
def test_what_a_job_had_learned_when_it_ended_early_is_fetched_and_can_be_evaluated(
    trained, told, capsys
):
    site, _ = trained
    client, place = site.aws.client("s3"), "cxr/training/runs/cxr-{0}/checkpoints/runs/{0}/"
    for name in ("best.ckpt", "last.ckpt", "split.csv", "run.json", "predictions.csv"):
        body = client.get_object(Bucket=BUCKET, Key=place.format("one") + name)["Body"].read()
        if name == "run.json":  # thresholds are chosen at the end
            body = json.dumps(json.loads(body) | {"thresholds": {}}).encode()
        client.put_object(Bucket=BUCKET, Key=place.format("half") + name, Body=body)
    client.put_object(Bucket=BUCKET, Key=place.format("half") + "figures/", Body=b"")

    with (
        site.aws.faults.job_fails("its time was over"),
        pytest.raises(RunError, match=r"cxr-half failed: its time was over; partial: .*run=half"),
    ):
        site.train("name=half")
    site.evaluate("run=half", "data=job", "data.job=few", "draws=100", "data.workers=1")

    runs = site.root / "runs"
    assert (runs / "half" / "best.ckpt").read_bytes() == (runs / "one" / "best.ckpt").read_bytes()
    assert (runs / "half" / "split.csv").read_text() == (runs / "one" / "split.csv").read_text()
    assert "report: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_runs_its_jobs_abreast_and_names_every_trial_that_failed(site, preloaded):
    faults = site.aws.faults
    with (
        faults.job_fails("AlgorithmError: NaN", "cxr-sweep-0"),
        faults.job_fails("CapacityError: none left", "cxr-sweep-1"),
    ):
        # resumed, though none had begun: what is left of an interrupted sweep begins
        done = site.command(
            preloaded, "train", "-m", "name=sweep", "resume=true", "model.optimizer.lr=1e-3,1e-1"
        )
    err = done.stderr

    assert done.returncode == 1, err
    last = err.splitlines()[-1]
    assert last.startswith("2 of 2 trials ended without a result: trial 0 (")
    assert "model.optimizer.lr=0.1" in last
    assert "cxr-sweep-0 failed: AlgorithmError: NaN" in last
    assert "cxr-sweep-1 failed: CapacityError: none left" in err
    assert "Traceback" not in err
    assert err.index("trial 1 (") < err.index("failed: ")  # begun before the first was over
    first, second = (site.aws.training.jobs[f"cxr-sweep-{k}"].request for k in (0, 1))
    assert first["InputDataConfig"] == second["InputDataConfig"]
    assert err.count("sending cache") <= 1
