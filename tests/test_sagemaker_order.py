"""What a training job is told: names AWS takes, one value it does not break, no secrets."""

import io
import json
import re
import shutil
import signal
import tarfile
import zipfile
from pathlib import Path

import hollow
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cxr import config, schema
from cxr.aws_schema import SageMakerCompute
from cxr.errors import ConfigError, RunError
from cxr.infra import compute, interrupts
from cxr.infra.aws import stacks
from cxr.infra.sagemaker import fetching, kept, order, request, wheels
from cxr.learning import ordering

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
TAKEN_BY_AWS = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


def composed(*overrides):
    return compute.plain(config.compose("train", ["name=r", "root=/r", "data.job=few", *overrides]))


ORDINARY = composed()


def told(*overrides, name="r"):
    return order.hyperparameter("train", *composed(*overrides), name)


@given(NAMES, st.integers(1, 99))
def test_every_run_gives_its_jobs_names_that_aws_takes(name, attempt):
    assert TAKEN_BY_AWS.fullmatch(order.job_name(name, attempt))


@given(NAMES, NAMES, st.integers(1, 3), st.integers(1, 3))
def test_two_runs_never_share_a_job(one, other, first, second):
    assume((one, first) != (other, second))

    # AWS does not tell capitals apart
    assert order.job_name(one, first).lower() != order.job_name(other, second).lower()


@pytest.mark.parametrize("name", ["a-2", "a-try2", "A", "a.b", "a_b", "a--b", "x" * 63])
def test_a_name_that_another_attempt_or_run_could_have_is_told_apart(name):
    others = {order.job_name(n, k) for n in ("a", "a-b", "x" * 62) for k in (1, 2, 3)}

    assert order.job_name(name, 1).lower() not in others


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=40), max_size=5))
def test_whatever_a_config_says_arrives_without_a_single_quote(extra):
    unresolved, resolved = ORDINARY

    value = order.hyperparameter(
        "train", unresolved | {"more": extra}, resolved | {"more": extra}, "r"
    )

    assert "'" not in value
    assert len(value) <= 2500
    assert order.unpacked(value)["config"]["more"] == extra


def test_a_job_is_told_its_config_unresolved_and_nothing_of_this_machine(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    value = told(
        "aws=account", "aws.bucket=secret-bucket", "compute=sagemaker", "pacs=orthanc",
        "model.optimizer.lr=3e-4",
    )  # fmt: skip

    document = order.unpacked(value)

    assert document["command"] == "train"
    assert document["name"] == "r"
    settings = document["config"]
    assert settings["root"] == "${oc.env:CXR_ROOT}"
    assert settings["compute"] == {"_target_": "cxr.infra.compute.Local"}
    assert settings["aws"] is None
    assert settings["pacs"]["_target_"] == "cxr.pacs.shipped.ShippedPacs"
    assert settings["tracking"]["uri"] == "sqlite:///${root}/runs/mlflow.db"
    assert settings["model"]["optimizer"]["lr"] == 3e-4
    assert "secret-bucket" not in json.dumps(document)
    assert "/r" not in json.dumps(document).replace("/runs", "")


def test_a_value_of_this_machines_environment_travels_resolved(monkeypatch):
    monkeypatch.setenv("JOB", "chest")

    document = order.unpacked(told("data.job=${oc.env:JOB}"))

    assert document["config"]["data"]["job"] == "chest"


def test_a_tracking_server_is_told_as_it_is_and_never_with_a_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example:5000")
    document = order.unpacked(told("tracking=server"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:pw@mlflow.example:5000")

    assert document["config"]["tracking"]["uri"] == "https://mlflow.example:5000"
    with pytest.raises(ConfigError, match=r"tracking\.uri: expected an address without user"):
        told("tracking=server")


def test_a_config_too_long_for_a_job_is_refused():
    long = [f"{i * 7919 % 10007:x}-{i * 104729:x}" for i in range(900)]
    unresolved, resolved = composed()
    unresolved["more"] = {"listed": long}

    with pytest.raises(ConfigError, match="fits into a training job's 2500 characters"):
        order.hyperparameter("train", unresolved, resolved, "r")


def test_a_secret_in_a_jobs_environment_is_refused():
    with pytest.raises(ConfigError, match=r"compute\.environment\.HF_TOKEN: expected no secret"):
        request._check_environment({"LEVEL": "debug", "HF_TOKEN": "x"})


@pytest.mark.parametrize(
    ("instance", "kind"),
    [("ml.g5.2xlarge", "gpu"), ("ml.p4d.24xlarge", "gpu"), ("ml.m5.xlarge", "cpu"),
     ("ml.c7i.large", "cpu")],
)  # fmt: skip
def test_the_image_follows_from_the_machine_unless_it_is_given(instance, kind):
    def settings(image):
        return SageMakerCompute.model_construct(
            instance=instance, image=image, images={"gpu": "gpu.{region}", "cpu": "cpu.{region}"}
        )

    assert request.image(settings(None), "eu-west-1") == f"{kind}.eu-west-1"
    assert request.image(settings("own:1"), "eu-west-1") == "own:1"


ARN = "arn:aws:sagemaker:eu-central-1:123456789012:mlflow-tracking-server/cxr"
ROLE = "arn:aws:iam::123456789012:role/training"


EVERYTHING = (
    "compute.spot=false", "compute.keep_alive_s=900", "tracking=sagemaker",
    "compute.subnets=[subnet-0a,subnet-0b]", "compute.security_groups=[sg-0c]",
)  # fmt: skip
NETWORK = {"Subnets": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0c"]}
DATABASE = "sqlite:///${root}/runs/mlflow.db"


@pytest.mark.slow  # the first to ask waits for the SDK
@pytest.mark.parametrize(
    ("words", "pool", "network", "isolated", "uri"),
    [((), None, None, True, DATABASE), (EVERYTHING, 900, NETWORK, False, ARN)],
)
def test_pool_network_and_tracking_server_are_asked_for_where_they_are_configured(
    monkeypatch, tmp_path, words, pool, network, isolated, uri
):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("CXR_MLFLOW_ARN", ARN)
    cfg = config.compose("train", [
        "name=r", "root=/r", "data.job=few", "aws=account", "aws.bucket=b-ucket",
        "compute=sagemaker", f"compute.role_arn={ROLE}", *words,
    ])  # fmt: skip
    checked = config.check(cfg, schema.Train)
    value = order.hyperparameter("train", *compute.plain(cfg), "r")

    asked = request.built(
        checked.compute, stacks.account(checked.aws), ordering.order(checked, tmp_path), "cxr-r",
        value, {"code": "s3://b-ucket/code/"},
    )  # fmt: skip

    assert asked["ResourceConfig"].get("KeepAlivePeriodInSeconds") == pool
    assert asked.get("VpcConfig") == network
    assert asked["EnableNetworkIsolation"] is isolated
    told = order.unpacked(asked["HyperParameters"]["cxr"])
    assert told["config"]["tracking"]["uri"] == uri


def test_a_damaged_note_of_a_job_says_what_to_do(tmp_path):
    (tmp_path / kept.NAME).write_text('{"job": 1')

    with pytest.raises(RunError, match="remove the file to look for the job by its name"):
        kept.read(tmp_path)


def packed(path, *sizes):
    with tarfile.open(path, "w:gz") as archive:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"{number}.onnx")
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(min(size, 1 << 20))) if size < 9e6 else None)
    return path


def test_a_model_larger_than_any_is_not_unpacked(tmp_path):
    huge = packed(tmp_path / "a.tar.gz", 9, 65 << 30)

    with pytest.raises(RunError, match="s3://b/m: expected at most 100000 files of 64 GiB"):
        fetching._unpack(huge, tmp_path / "run", "s3://b/m")

    assert not (tmp_path / "run" / "1.onnx").exists()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"x" + b, lambda b: b""])
def test_a_damaged_model_is_told_in_one_line(tmp_path, damage):
    path = packed(tmp_path / "a.tar.gz", 9, 1 << 20)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(RunError, match="s3://b/m: expected an archive of the model, met one"):
        fetching._unpack(path, tmp_path / "run", "s3://b/m")


def test_runs_that_differ_by_name_alone_train_the_same():
    assert order.nameless(told(name="a")) == order.nameless(told("name=b", name="b"))
    assert order.nameless(told(name="a")) != order.nameless(told("seed=7", name="a"))


def test_what_is_ignored_by_whoever_started_a_command_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupts.like_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_folder_of_wheels_needs_cxrs_own_among_them(tmp_path):
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / "rich-13-py3-none-any.whl").touch()

    with pytest.raises(ConfigError, match=r"compute\.wheelhouse: expected a folder of wheels"):
        wheels.wheelhouse(str(tmp_path), tmp_path, "3.13")

    own = tmp_path / "wheelhouse" / "cxr-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(own, "w"):
        pass
    assert own in wheels.wheelhouse(str(tmp_path), tmp_path, "3.13")


@pytest.mark.slow
def test_a_wheelhouse_is_made_once_for_the_same_sources(tmp_path, monkeypatch):
    checkout, index = tmp_path / "checkout", tmp_path / "index"
    shutil.copytree(CHECKOUT / "scripts", checkout / "scripts")
    lock = checkout / "templates" / "viewer" / "package-lock.json"
    for folder in (checkout / "src" / "cxr", checkout / "conf", lock.parent, index):
        folder.mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "templates" / "viewer" / "package-lock.json", lock)
    (checkout / "constraints.txt").write_text("rich==13.1\n")
    (checkout / "pyproject.toml").write_text(
        "[build-system]\nrequires=[]\nbuild-backend='back'\nbackend-path=['.']\n"
    )
    shutil.copyfile(hollow.__file__, checkout / "hollow.py")
    (checkout / "back.py").write_text(BACKEND)
    hollow.wheel(index, "rich", "13.1")
    hollow.wheel(index, "rich", "14.0")
    hollow.wheel(index, "boto3", "1.44.5")
    hollow.wheel(index, "sagemaker-mlflow", "0.3.0")
    hollow.wheel(index, "torch", "2.6")
    hollow.wheel(index, "sagemaker", "3.27")
    hollow.wheel(index, "antlr4-python3-runtime", "4.9.3")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    first = wheels.wheelhouse(None, tmp_path / "kept", "3.13", checkout)
    again = wheels.wheelhouse(None, tmp_path / "kept", "3.13", checkout)
    (checkout / "src" / "cxr" / "more.py").write_text("x = 1")
    changed = wheels.wheelhouse(None, tmp_path / "kept", "3.13", checkout)

    assert [w.name.split("-py3")[0] for w in first] == [
        "cxr-1", "boto3-1.44.5", "rich-13.1", "sagemaker_mlflow-0.3.0",
    ]  # fmt: skip  # torch is in the image, and the SDK is for who starts jobs
    assert again == first
    assert (changed[0] != first[0], changed[1:] == first[1:]) == (True, True)


CHECKOUT = Path(__file__).parents[1]
BACKEND = """
import hollow, pathlib
NEEDS = ["rich", "torch", "boto3; extra == 'aws'", "sagemaker; extra == 'aws'"]
def build_wheel(folder, settings=None, metadata=None):
    return hollow.wheel(pathlib.Path(folder), "cxr", "1", NEEDS).name
"""
