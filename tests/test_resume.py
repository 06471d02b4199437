"""However a training ends, the same command goes on, and nobody can tell from its figures."""

import json
import os
import re
import signal
import time

import pytest
import torch
from ingest_command import problem
from mlflow import MlflowClient
from training_site import Site

from cxr.infra import checkpoints, holds

LIVELY = (
    "trainer.max_epochs=7", "trainer.ema=0.9", "trainer.accumulate=2", "augment.mixup=0.4",
    "augment.erase=0.5", "model.schedule=cosine", "+model.net.dropout_prob=0.3",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory, preloaded):
    return Site(tmp_path_factory.mktemp("site"), preloaded)


@pytest.fixture(scope="module")
def whole(site):
    """A run that nothing interrupted."""
    run = site.train("name=whole-0", *LIVELY)
    assert run.ends() == 0, run.err
    return run


@pytest.fixture(scope="module")
def ended(site, whole):
    """A run that was terminated, killed, torn and terminated again, and then went on to the end."""
    stages = []

    def stage(*overrides, until, by):
        run = site.train("name=parts", *LIVELY, *overrides).reaches(until)
        if by == signal.SIGTERM:  # twice, as a scheduler and a launcher do
            os.kill(run.pid, by)
            time.sleep(0.05)
        stages.append((run, run.ends(by), status(site, "parts")))

    stage(until="epoch 2/7", by=signal.SIGTERM)
    stage("resume=true", until="epoch 5/7", by=signal.SIGKILL)
    last = site.root / "runs" / "parts" / checkpoints.LAST
    os.truncate(last, last.stat().st_size - 1000)  # as after a power loss
    stage("resume=true", until="kept the ", by=signal.SIGTERM)
    stage("resume=true", until="", by=0)
    return stages


def runs(site, name):
    client = MlflowClient(f"sqlite:///{site.root}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'cxr'")
    return client, client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")


def status(site, name):
    _, found = runs(site, name)
    return [run.info.status for run in found]


def history(site, name):
    """Metric → epoch → every value that was told of it."""
    client, (run,) = runs(site, name)
    told = {}
    for metric in run.data.metrics:
        for each in client.get_metric_history(run.info.run_id, metric):
            told.setdefault(metric, {}).setdefault(each.step, set()).add(each.value)
    return {metric: told[metric] for metric in told if not metric.startswith("system/")}


def figures(site, name):
    """All of metrics.json but what every run has of its own."""
    document = json.loads((site.root / "runs" / name / "metrics.json").read_text())
    return {
        key: value for key, value in document.items() if key not in ("run", "run_id", "created")
    }


def test_a_terminated_run_exits_143_and_is_marked_killed(ended):
    (first, terminated, marked), (_, killed, running), (third, again, evaluating), _ = ended

    assert (terminated, marked) == (143, ["KILLED"])
    assert (killed, running) == (-signal.SIGKILL, ["RUNNING"])
    assert (again, evaluating) == (143, ["KILLED"])
    assert "Traceback" not in first.err + third.err


def test_an_interrupted_run_has_the_figures_of_a_whole_one(site, whole, ended):
    expected, met = history(site, "whole-0"), history(site, "parts")

    assert ended[-1][1:] == (0, ["FINISHED"])
    assert {"train/loss", "train/lr", "val/loss", "val/auroc_macro"} <= met.keys()
    assert met == expected
    assert set(met["val/loss"]) == set(range(1, 8))
    assert all(len(values) == 1 for epochs in met.values() for values in epochs.values())
    assert figures(site, "parts") == figures(site, "whole-0")


def test_what_is_kept_is_bit_for_bit_that_of_a_whole_run(site, whole, ended):
    kept = [
        torch.load(site.root / "runs" / name / "best.ckpt", weights_only=True)
        for name in ("whole-0", "parts")
    ]

    assert kept[0]["epoch"] == kept[1]["epoch"]
    for name, value in kept[0]["state_dict"].items():
        assert torch.equal(value, kept[1]["state_dict"][name]), name


def test_a_torn_checkpoint_is_told_of_and_the_one_before_is_gone_on_from(ended):
    _, (killed, _, _), (third, _, _), _ = ended

    assert "last.ckpt of run parts was cut off, and is not used; it is kept as" in third.err
    assert "epoch 7/7" in third.err
    assert "epoch 1/7" not in third.err
    assert "epoch 1/7" not in killed.err


def test_a_run_that_had_finished_training_goes_straight_to_its_evaluation(ended):
    last, _, _ = ended[-1]

    assert "epoch" not in last.err.partition("kept the ")[0]
    assert "in epoch" in last.err


def test_the_machine_is_recorded(site, whole):
    record = json.loads((site.root / "runs" / "whole-0" / "run.json").read_text())
    _, (run,) = runs(site, "whole-0")

    assert record["machine"]["threads"] == "1"
    assert record["machine"]["torch"] == torch.__version__
    assert record["machine"].keys() >= {"cpu", "cores", "precision", "instructions"}
    tags = {k.removeprefix("machine."): v for k, v in run.data.tags.items() if "machine." in k}
    assert tags == record["machine"]
    assert record["machine"]["cpu"] in (site.root / "runs" / "whole-0" / "report.html").read_text()


def test_a_loss_that_is_no_number_ends_the_run_in_one_line_that_names_images_by_pseudonyms(site):
    run = site.train(
        "name=lost", "trainer.max_epochs=40", "trainer.gradient_clip=null",
        "model.optimizer={_target_: torch.optim.SGD, lr: 9.9, weight_decay: 9.9}",
        "model.schedule=constant", "trainer.precision=32-true",
    )  # fmt: skip

    assert run.ends() == 1
    said = run.err.splitlines()[-1]
    assert said.startswith("the loss is ")
    assert "lower model.optimizer.lr" in said
    assert len(said.rpartition(": ")[2].split(", ")) == 4
    assert "1.2." not in said.rpartition(": ")[2]
    assert status(site, "lost") == ["FAILED"]
    assert checkpoints.newest(site.root / "runs" / "lost") is not None


def test_a_run_at_work_has_its_name_to_itself_and_keeps_withdrawals_out(site):
    first = site.train("name=long", "trainer.max_epochs=1000").reaches("epoch 1/1000")
    again = site.train("name=long", "trainer.max_epochs=1000", "resume=true")

    assert again.ends() == 1
    assert f"name: run 'long' is at work already, in process {first.pid} on " in again.err
    assert "Traceback" not in again.err
    assert f"met run 'long' in process {first.pid} on " in problem(site.root, "withdraw=P7")
    assert first.ends(signal.SIGKILL) == -signal.SIGKILL
    with holds.held(site.root, "long"):  # which its end has let go
        others = [
            site.start("cxr.ensemble", "runs=[whole-0,parts]", "name=long"),
            site.start("cxr.evaluate", "run=whole-0", "data=job", "data.job=few"),
        ]
        with holds.held(site.root, "whole-0", "few"):
            assert [other.ends() for other in others] == [1, 1]
    assert all("is at work already, in process" in other.err for other in others)


def test_an_interrupted_sweep_goes_on_with_what_is_left_of_it(site, whole):
    (_, (before,)), report = runs(site, "whole-0"), site.root / "runs" / "whole-0" / "report.html"
    written = report.stat().st_mtime_ns

    sweep = site.train("name=whole", *LIVELY, "data.fold=0,1", "resume=true", "-m")

    assert sweep.ends() == 0, sweep.err
    assert "whole-0 is finished, and is passed over" in sweep.err
    assert status(site, "whole-0") == status(site, "whole-1") == ["FINISHED"]
    assert report.stat().st_mtime_ns == written
    assert runs(site, "whole-0")[1][0].info.end_time == before.info.end_time
    assert (site.root / "runs" / "whole-1" / "report.html").exists()

    anew = site.train(*LIVELY, "resume=true", "-m")  # whose names hold the time

    assert anew.ends() == 1
    assert re.search(r"name: no run called 'densenet121-\d{8}-\d{6}-0' in .* to resume$", anew.err)
