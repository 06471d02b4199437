"""A training job in its container: channels in, model and checkpoints out, one line if it fails."""

import base64
import csv
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
import zlib
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from specimens import dicom
from test_examples import line, written

from cxr import config, schema
from cxr.errors import RunError
from cxr.infra import checkpoints, container, tracking
from cxr.learning import folds, material, parcel, preparing
from cxr.learning.targets import Policy
from cxr.pacs.folder import FolderPacs

BOOT = Path(container.__file__)
NAMES = ("Edema", "No Finding")
EDITS = (
    "data.job=chest", "data.image_size=[32,32]", "data.batch_size=16", "data.folds=3",
    "model=densenet121", "model.net._target_=monai.networks.nets.DenseNet",
    "+model.net.init_features=4", "+model.net.growth_rate=2", "+model.net.block_config=[1,1]",
    "trainer.max_epochs=20",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "draws=100", "objective=val/loss",
)  # fmt: skip


def ordered(**changes):
    """The config as it is shipped, unresolved."""
    cfg = OmegaConf.to_container(config.compose("train", EDITS), resolve=False)
    cfg |= {
        "root": "${oc.env:CXR_ROOT}",
        "pacs": {"_target_": "cxr.pacs.shipped.ShippedPacs", "folder": "${root}/cache"},
    }
    cfg["tracking"]["uri"] = "sqlite:///${root}/runs/mlflow.db"
    return {"command": "train", "config": cfg | changes, "name": "shipped-1"}


def give(ml, order, **resources):
    """Write what SageMaker tells a container."""
    told = ml / "input" / "config"
    told.mkdir(parents=True, exist_ok=True)
    (told / "hyperparameters.json").write_text(json.dumps({"cxr": json.dumps(order)}))
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    (told / "resourceconfig.json").write_text(json.dumps(hosts | resources))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A job of 48 images of 16 patients at home, its split, and the channels made of it."""
    root = tmp_path_factory.mktemp("home")
    pacs = FolderPacs(root / "pacs")
    stored = [
        pacs.store(dicom(n, patient=f"SECRET-{n // 3}", study=f"9.{n // 3}")) for n in range(48)
    ]
    lines = [
        line(i.orthanc_id, states=("present", "absent") if n % 2 else ("absent", "present"))
        for n, i in enumerate(stored)
    ]
    job = root / "jobs" / "chest" / "manifests" / "output"
    job.mkdir(parents=True)
    written(job, *lines)
    ready = material.prepare(
        job / "output.manifest", pacs, root / "cache",
        attribute=None, policy=Policy(), image_size=(32, 32), preset="voi", workers=1,
    )  # fmt: skip
    cfg = config.check(config.compose("train", EDITS), schema.Train)
    splits = preparing.splits(cfg, root, root / "runs" / "here", ready, None)
    secret = tracking.secret(root)

    def pseudonym(name):
        return tracking.pseudonym(name, secret)

    parcel.write(
        ready, pseudonym, root / "cache",
        root / "channels" / "cache", preset="voi",
    )  # fmt: skip
    parcel.write_labels(
        ready, splits, pseudonym, root / "channels" / "manifest", attribute="chest", drawn=False
    )
    (root / "channels" / "code").mkdir()
    shutil.copyfile(BOOT, root / "channels" / "code" / "boot.py")
    return root, ready, splits


@pytest.fixture
def ml(tmp_path, home):
    """A container's /opt/ml with its channels, before it starts."""
    folder = tmp_path / "ml"
    shutil.copytree(home[0] / "channels", folder / "input" / "data")
    give(folder, ordered())
    return folder


def started(ml, **environment):
    return subprocess.Popen(
        [sys.executable, str(ml / "input" / "data" / "code" / "boot.py")],
        env=os.environ | {"CXR_ML_ROOT": str(ml), "CXR_NO_INSTALL": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def booted(ml, **environment):
    with started(ml, **environment) as process:
        return process.communicate(timeout=300)[0], process.returncode


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, home):
    """A job of two processes whose machine is taken away, and which goes on on two others."""
    names = ("first", "second", "third")
    first, second, third = (tmp_path_factory.mktemp(name) / "ml" for name in names)
    for ml in (first, second, third):
        shutil.copytree(home[0] / "channels", ml / "input" / "data")
    hosts = ["127.0.0.1", "127.0.0.2"]
    give(first, ordered())
    give(second, ordered(), hosts=hosts, current_host=hosts[0])
    give(third, ordered(), hosts=hosts, current_host=hosts[1])
    log = []
    with started(first, CXR_PROCESSES="2") as process:
        for said in process.stdout:
            log.append(said)
            if said.startswith("epoch 4/"):
                process.send_signal(signal.SIGTERM)
                break
        log.append(process.communicate(timeout=120)[0])
    for ml in (second, third):  # as SageMaker does, on every host
        shutil.copytree(first / "checkpoints", ml / "checkpoints")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with started(second, CXR_PORT=port) as again, started(third, CXR_PORT=port) as beside:
        told = again.communicate(timeout=300)[0]
        other = beside.communicate(timeout=60)[0]
    assert beside.returncode == again.returncode, told + other
    return first, second, process.returncode, "".join(log), again.returncode, told, third, other


@pytest.mark.slow
@pytest.mark.long
def test_a_job_that_is_stopped_ends_with_143_and_a_whole_checkpoint(interrupted):
    first, _, code, log, *_ = interrupted

    assert code == 143, log
    assert not (first / "output" / "failure").exists()
    run = first / "checkpoints" / "runs" / "shipped-1"
    assert checkpoints.is_whole(run.parent, "shipped-1")
    assert list(run.glob(".*")) == []
    assert list((first / "model").iterdir()) == []


@pytest.mark.slow
@pytest.mark.long
def test_a_job_that_is_started_again_goes_on_in_the_same_run(interrupted):
    first, second, _, _, code, log, *_ = interrupted
    runs = second / "checkpoints" / "runs"

    assert code == 0, log
    assert "run shipped-1 goes on from its checkpoint" in log
    epochs = [int(n) for n in re.findall(r"^epoch (\d+)/20", log, re.MULTILINE)]
    assert epochs == list(range(epochs[0], 21))
    assert epochs[0] >= 4  # told first, then kept
    before, after = (
        json.loads((ml / "checkpoints" / "runs" / "shipped-1" / "run.json").read_text())
        for ml in (first, second)
    )
    assert after["run_id"] == before["run_id"]
    with closing(sqlite3.connect(runs / "mlflow.db")) as tracked:
        assert tracked.execute("SELECT run_uuid, status FROM runs").fetchall() == [
            (after["run_id"], "FINISHED")
        ]
        steps = tracked.execute("SELECT step FROM metrics WHERE key = 'val/loss' ORDER BY step")
        assert {step for (step,) in steps} == set(range(1, 21))


@pytest.mark.slow
@pytest.mark.long
def test_a_job_trains_what_a_run_at_home_would(interrupted, home):
    _, second, *_ = interrupted
    root, ready, splits = home
    run = second / "checkpoints" / "runs" / "shipped-1"
    record = json.loads((run / "run.json").read_text())
    assert not {*folds.load(run / "split.csv")} & {*ready.sop_instance_uids}

    secret = tracking.secret(root)
    parcel.restore(run, root / "cache", lambda name: tracking.pseudonym(name, secret))

    assert folds.load(run / "split.csv") == dict(
        zip(ready.sop_instance_uids, map(str, splits), strict=True)
    )
    assert record["examples_sha256"] == ready.sha256
    assert record["manifest_sha256"] == ready.manifest_sha256
    with (run / "predictions.csv").open() as file:
        scored = {row["sop_instance_uid"] for row in csv.DictReader(file)}
    tested = np.array(ready.sop_instance_uids)[splits == "test"]
    assert scored == set(tested.tolist())


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_leave_one_run_and_one_voice(interrupted):
    first, second, _, before, _, log, third, other = interrupted
    runs = second / "checkpoints" / "runs"

    assert sorted(p.name for p in runs.iterdir()) == ["mlflow.db", "shipped-1"]
    assert before.count("48 images of 16 patients") == 1
    assert log.count("report: ") == 1
    assert len(re.findall("^epoch 20/20", log, re.MULTILINE)) == 1
    assert "epoch" not in other
    assert list((third / "model").iterdir()) == []
    was, now = (
        {p.relative_to(ml): p.read_bytes() for p in (ml / "checkpoints").rglob("*") if p.is_file()}
        for ml in (first, third)
    )
    assert now == was


@pytest.mark.slow
@pytest.mark.long
def test_the_model_comes_with_all_that_belongs_to_it(interrupted):
    _, second, *_ = interrupted
    model = second / "model"

    assert sorted(p.name for p in model.iterdir()) == [
        "best.ckpt", "metrics.json", "model-card.json", "model-card.md", "model.onnx",
        "report.html", "run.json",
    ]  # fmt: skip
    record = json.loads((model / "run.json").read_text())
    assert tuple(record["label_names"]) == NAMES
    assert record["thresholds"].keys() == set(NAMES)
    assert record["preset"] == "voi"
    assert "data:image" not in (model / "report.html").read_text()
    card = json.loads((model / "model-card.json").read_text())
    assert card["data"]["manifest_sha256"] == record["manifest_sha256"]
    assert "Not for diagnosis" in (model / "model-card.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_the_log_has_metrics_and_names_nobody(interrupted, home):
    _, _, _, before, _, log, _, other = interrupted

    assert re.search(r"^val/loss=\d\S* epoch=20$", log, re.MULTILINE)
    assert re.search(r"^test/auroc/Edema=\d\S*$", log, re.MULTILINE)
    named = ["SECRET", *home[1].sop_instance_uids, "9.1", "1.2.5."]
    said = before + log + other
    assert [name for name in named if re.search(rf"\b{re.escape(name)}\b", said)] == []
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_job_that_fails_leaves_one_line(ml):
    order = ordered()
    order["config"]["trainer"]["max_epochs"] = "many"
    give(ml, order)

    log, code = booted(ml)

    assert code == 1
    reason = 'trainer.max_epochs: expected an integer, met "many"'
    assert (ml / "output" / "failure").read_text() == reason
    assert log.splitlines()[-1] == reason
    assert "Traceback" not in log


def test_a_job_stopped_before_it_trains_leaves_no_reason(ml):
    (ml / "input" / "data" / "code" / "wheelhouse").mkdir()
    slow = ml / "slow"
    slow.write_text("#!/bin/sh\necho begun\nexec sleep 60\n")
    slow.chmod(0o700)

    with subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.executable = {str(slow)!r}; import runpy; "
         f"runpy.run_path({str(BOOT)!r}, run_name='__main__')"],
        env=os.environ | {"CXR_ML_ROOT": str(ml)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)

    assert code == 143
    assert not (ml / "output" / "failure").exists()


def test_a_container_without_wheels_says_so(ml):
    log, code = booted(ml, CXR_NO_INSTALL="")

    assert code == 1
    assert "expected wheels to install cxr from" in (ml / "output" / "failure").read_text()
    assert log.count("\n") == 1


def test_a_job_without_a_channel_says_so(ml):
    shutil.rmtree(ml / "input" / "data" / "cache")

    _, code = booted(ml)

    assert code == 1
    assert "expected a channel called cache" in (ml / "output" / "failure").read_text()


@pytest.mark.parametrize("form", ["once", "twice", "packed"])
def test_an_order_is_read_in_every_form_it_travels_in(tmp_path, form):
    order = {"command": "train", "config": {"data": {"job": "chest"}}, "name": "it's"[:2]}
    text = json.dumps(order)
    packed = json.dumps({"z": base64.b64encode(zlib.compress(text.encode())).decode()})
    sent = {"once": text, "twice": json.dumps(text), "packed": packed}[form]
    told = tmp_path / "input" / "config"
    told.mkdir(parents=True)
    (told / "hyperparameters.json").write_text(json.dumps({"cxr": sent}))

    assert container.read_order(tmp_path) == order


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"command": "train"}, "expected one hyperparameter cxr"),
        ([], "expected one hyperparameter cxr"),
        ({"z": "bm8="}, "expected one hyperparameter cxr"),
        ({"command": "label", "name": "a", "config": {"data": {"job": "b"}}}, "met 'label'"),
        ({"command": "train", "name": "../a", "config": {"data": {"job": "b"}}}, "met '../a'"),
        ({"command": "train", "name": "a", "config": {"data": {"job": "/b"}}}, "met '/b'"),
    ],
)
def test_another_order_is_refused(tmp_path, order, message):
    give(tmp_path, order)

    with pytest.raises(container.JobError, match=message):
        container.read_order(tmp_path)


def test_hosts_are_counted_alike_on_all_of_them(tmp_path):
    give(tmp_path, {}, hosts=["algo-2", "algo-1"], current_host="algo-2")

    hosts = container.read_hosts(tmp_path)

    assert hosts == container.Hosts(("algo-1", "algo-2"), 1, "lo")
    assert container.read_hosts(tmp_path / "nothing") == container.Hosts(("localhost",), 0, "")


def test_hosts_without_this_one_are_refused(tmp_path):
    give(tmp_path, {}, current_host="algo-7")

    with pytest.raises(container.JobError, match="expected hosts, and current_host among them"):
        container.read_hosts(tmp_path)


def test_torchrun_is_called_where_there_are_several_processes(tmp_path):
    one, two = container.Hosts(("a",), 0, ""), container.Hosts(("a", "b"), 1, "eth0")

    alone = container.command(tmp_path, one, 1)
    beside = container.command(tmp_path, one, 4)
    apart = container.command(tmp_path, two, 8)

    assert "torch.distributed.run" not in alone
    assert {"torch.distributed.run", "--standalone", "--nproc-per-node=4"} <= set(beside)
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=a", "--nproc-per-node=8"} <= set(apart)
    assert alone[-6:] == beside[-6:] == apart[-6:]


def checkpoint(runs, name="one"):
    run = runs / name
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    with zipfile.ZipFile(run / "last.ckpt", "w") as archive:
        archive.writestr("data", os.urandom(5000))
    return run


def test_a_run_with_a_whole_checkpoint_goes_on(tmp_path):
    run = checkpoint(tmp_path)
    (run / ".last.ckpt.part").touch()

    assert checkpoints.is_whole(tmp_path, "one")
    assert not checkpoints.is_whole(tmp_path, "two")
    assert sorted(p.name for p in run.iterdir()) == ["last.ckpt", "run.json"]


@pytest.mark.parametrize("kept", [10, 3000, 5060])
def test_a_torn_checkpoint_is_not_taken(tmp_path, kept):
    last = checkpoint(tmp_path) / "last.ckpt"
    os.truncate(last, kept)

    assert not checkpoints.is_whole(tmp_path, "one")
    assert not last.exists()
    assert last.with_name("last.ckpt.torn").stat().st_size == kept


@contextmanager
def no_more_files():
    """This process may open none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_cannot_be_read_for_now_is_not_taken_for_torn(tmp_path):
    run = checkpoint(tmp_path)
    shutil.copy(run / "last.ckpt", run / "previous.ckpt")

    with no_more_files(), pytest.raises(RunError, match=r"last.ckpt: cannot be read: Too many op"):
        checkpoints.newest(run)
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(RunError, match=r"mlflow.db: cannot be read: unable to open database"):
        checkpoints.is_whole(tmp_path, "one")

    assert checkpoints.newest(run) == run / "last.ckpt"
    assert list(tmp_path.rglob("*.torn")) == []


def test_a_checkpoint_with_another_byte_in_it_is_not_taken(tmp_path):
    last = checkpoint(tmp_path) / "last.ckpt"
    data = bytearray(last.read_bytes())
    data[2000] ^= 1
    last.write_bytes(data)

    assert not checkpoints.is_whole(tmp_path, "one")


def test_the_checkpoint_before_a_torn_one_is_gone_on_from(tmp_path, caplog):
    run = checkpoint(tmp_path)
    shutil.copy(run / "last.ckpt", run / "previous.ckpt")
    os.truncate(run / "last.ckpt", 3000)

    assert checkpoints.is_whole(tmp_path, "one")
    assert checkpoints.newest(run) == run / "previous.ckpt"
    assert "last.ckpt of run one was cut off, and is not used" in caplog.text


@given(st.data())
@settings(max_examples=100)
def test_no_checkpoint_with_other_content_is_taken_for_whole(data):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("data", bytes(range(256)) * 4)
    torn = bytearray(written.getvalue())
    place = data.draw(st.integers(0, len(torn) - 1))
    if data.draw(st.booleans()):
        del torn[place:]
    else:
        torn[place] ^= data.draw(st.integers(1, 255))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "last.ckpt")
        path.write_bytes(torn)
        if checkpoints.is_whole_file(path):
            with zipfile.ZipFile(path) as archive:
                assert archive.read(archive.namelist()[0]) == bytes(range(256)) * 4


def test_a_torn_record_of_metrics_costs_no_checkpoint(tmp_path, caplog):
    last = checkpoint(tmp_path) / "last.ckpt"
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0" + bytes(500))

    assert checkpoints.is_whole(tmp_path, "one")
    assert last.exists()
    assert not (tmp_path / "mlflow.db").exists()
    assert "MLflow's record was cut off while it was copied" in caplog.text


def test_a_database_is_copied_whole_while_it_is_written_to(tmp_path):
    live, copy = tmp_path / "live.db", tmp_path / "synced" / "mlflow.db"
    copy.parent.mkdir()
    copied = checkpoints.Copied(live, copy)
    copied.renew()
    assert not copy.exists()

    with closing(sqlite3.connect(live)) as writer:
        writer.execute("CREATE TABLE told (metric)")
        writer.commit()
        writer.execute("INSERT INTO told VALUES (1)")  # and no commit
        copied.renew()

    with closing(sqlite3.connect(copy)) as read:
        assert read.execute("SELECT count(*) FROM told").fetchone() == (0,)
    assert [p.name for p in copy.parent.iterdir()] == ["mlflow.db"]


BROKEN = """
import sys
import tempfile
from cxr import config, schema
def broken(cfg, unresolved):
    return {}["1.2.840.113619.2.5"]
if sys.argv[1:]:
    config.command("train", schema.Train, broken)
broken(None, None)
"""


@pytest.mark.parametrize("at", ["in a command", "before it"])
def test_an_unforeseen_failure_names_its_place_and_nobody(tmp_path, at):
    (tmp_path / "broken.py").write_text(BROKEN)
    give(tmp_path, ordered())
    arguments = ["data.job=chest", f"root={tmp_path / 'work'}"] if at == "in a command" else []

    done = subprocess.run(
        [sys.executable, "-m", "cxr.infra.inside", "broken", *arguments],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1] / 'src'}",
                          "CXR_ML_ROOT": str(tmp_path), "CXR_IN_JOB": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    reason = (tmp_path / "output" / "failure").read_text()
    assert done.returncode == 1
    assert reason.startswith("KeyError at ")
    assert "broken.py:5" in reason or "cxr/" in reason
    assert "1.2.840" not in reason + done.stdout + done.stderr
    kept = tmp_path / "checkpoints" / "runs" / "shipped-1" / "traceback.txt"
    assert "1.2.840.113619.2.5" in kept.read_text()


@pytest.mark.slow
@pytest.mark.long
def test_a_job_whose_metrics_were_lost_goes_on_training_in_a_new_record(interrupted, ml):
    first, *_ = interrupted
    shutil.copytree(first / "checkpoints", ml / "checkpoints")
    os.truncate(ml / "checkpoints" / "runs" / "mlflow.db", 5000)

    log, code = booted(ml)

    assert code == 0, log
    assert "run shipped-1 goes on from its checkpoint" in log
    assert "its metrics begin anew, the training goes on" in log
    assert "epoch 1/20" not in log
    runs = ml / "checkpoints" / "runs"
    run_id = json.loads((runs / "shipped-1" / "run.json").read_text())["run_id"]
    with closing(sqlite3.connect(runs / "mlflow.db")) as tracked:
        told = tracked.execute("SELECT run_uuid, status FROM runs").fetchall()
    assert told == [(run_id, "FINISHED")]


def test_pictures_of_patients_are_not_handed_over(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("best.ckpt", "predictions.csv", "split.csv"):
        (run / name).touch()
    (run / "report.html").write_text("with pictures")
    (run / "report-without-pictures.html").write_text("without")

    container.hand_over(run, tmp_path / "model")

    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["best.ckpt", "report.html"]
    assert (tmp_path / "model" / "report.html").read_text() == "without"


def test_a_run_without_a_model_is_a_failure(tmp_path):
    with pytest.raises(container.JobError, match="training ended without a model"):
        container.hand_over(tmp_path, tmp_path / "model")


def test_the_entry_needs_the_standard_library_alone():
    tops = set(re.findall(r"^(?:from|import) (\w+)", BOOT.read_text(), re.MULTILINE))

    assert tops <= set(sys.stdlib_module_names)
    assert tops
