"""Trials of a sweep run several at a time, and one that fails or is interrupted ends no other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
PLUGIN = """
from hydra_plugins.cxr_at_once import AtOnceLauncher

class Telling(AtOnceLauncher):
    def launch(self, job_overrides, initial_job_idx):
        found = super().launch(job_overrides, initial_job_idx)
        print([one.return_value for one in found], flush=True)
        return found
"""
APP = """
import os, sys, time
import hydra

def say(text):
    os.write(1, f"{text}\\n".encode())  # at once: others write there, too

@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(cfg):
    if cfg.x < 0:
        sys.exit("x: expected none below 0")
    try:
        say(f"begin {cfg.x}")
        time.sleep(cfg.seconds)
    except KeyboardInterrupt:
        say(f"goes on {cfg.x}")
        sys.exit(130)
    say(f"end {cfg.x}")
    return cfg.x * 10

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [_self_]
x: 0
seconds: 0.3
compute: {at_once: 2}
hydra:
  launcher: {_target_: hydra_plugins.telling.Telling}
  sweep: {dir: .}
  output_subdir: null
  job_logging: {handlers: {console: {stream: "ext://sys.stderr"}}}
  hydra_logging: {handlers: {console: {stream: "ext://sys.stderr"}}}
"""


@pytest.fixture
def app(tmp_path):
    """A command that waits, as one does that follows a job."""
    (tmp_path / "hydra_plugins").mkdir()  # Hydra takes plugins from nowhere else
    (tmp_path / "hydra_plugins" / "telling.py").write_text(PLUGIN)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "app.yaml").write_text(CONFIG)

    def start(*overrides):
        return subprocess.Popen(
            [sys.executable, "app.py", "-m", *overrides], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{SRC}", "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    return start


def test_results_come_in_order_and_so_many_run_at_a_time(app):
    out, err = app("x=3,1,2").communicate(timeout=60)

    lines = out.splitlines()
    assert lines[-1] == "[30, 10, 20]", err
    assert set(lines[:2]) == {"begin 3", "begin 1"}
    assert lines.index("begin 2") > min(lines.index("end 3"), lines.index("end 1"))


def test_one_at_a_time_runs_in_the_command_itself(app):
    out, err = app("x=2,1", "compute.at_once=1", "seconds=0").communicate(timeout=60)

    assert out.splitlines() == ["begin 2", "end 2", "begin 1", "end 1", "[20, 10]"], err


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_trial_that_fails_ends_no_other_and_is_named(app, at_once):
    done = app("x=-1,5,6", f"compute.at_once={at_once}")
    out, err = done.communicate(timeout=60)

    assert done.returncode != 0
    assert {"end 5", "end 6"} <= set(out.splitlines())
    assert err.splitlines()[-1].endswith(
        "1 of 3 trials ended without a result: trial 0 (x=-1 "
        f"compute.at_once={at_once}); the first: x: expected none below 0"
    )


def test_ctrl_c_reaches_each_trial_once_and_begins_no_more(app):
    done = app("x=1,2,3", "seconds=30")
    begun = [done.stdout.readline() for _ in range(2)]

    done.send_signal(signal.SIGINT)
    out, _ = done.communicate(timeout=20)

    assert sorted(begun) == ["begin 1\n", "begin 2\n"]
    assert sorted(out.splitlines()) == ["goes on 1", "goes on 2"]
    assert done.returncode not in (0, None)
