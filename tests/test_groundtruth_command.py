"""The command with labeling=groundtruth, as a process: interrupted, followed again, previewed."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import ground_truth
import numpy as np
import pytest
from PIL import Image
from specimens import document

from cxr.contract import labels, manifest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cloud(aws, tmp_path_factory):
    return ground_truth.Cloud(aws, tmp_path_factory.mktemp("cloud"), "command")


def answers(task, worker):
    label_set = labels.from_data_object({"labels": task["labels"]})
    said = document("p" + "a" * (len(label_set.names) - 1), label_set)
    return {"annotation": json.dumps(said)}


@contextmanager
def process(cloud, folder, **words):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CXR_")}
    environment = kept | cloud.aws.environment | {
        "PYTHONPATH": str(ROOT / "src"), "CXR_ROOT": str(folder), "CXR_BUCKET": cloud.bucket,
    }  # fmt: skip
    given = {f"labeling.{name}": arn for name, arn in cloud.arns.items()}
    given |= {"labeling.poll_s": 0.1}
    arguments = ground_truth.arguments(**given | words)
    with subprocess.Popen(
        [sys.executable, "-m", "cxr.label", *arguments], env=environment, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.slow
def test_ctrl_c_leaves_the_job_at_work_and_the_same_command_goes_on(cloud, aws, tmp_path):
    name = "interrupted"
    with process(cloud, tmp_path, job__name=name) as first:
        assert aws.tasks(name, seconds=60)
        while '"InProgress"' not in (tmp_path / "jobs" / name / "groundtruth.json").read_text():
            time.sleep(0.05)
        time.sleep(1)
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert f"job {name} goes on in Ground Truth, and the same command follows it again" in told
    assert "Traceback" not in told
    assert len(cloud.keys()) == 2

    running = aws.labeling.jobs[name].answering
    for task in running.tasks:
        running.submit(task, answers(task.input, task.worker))
    with process(cloud, tmp_path, job__name=name) as second:
        said, told = second.communicate(timeout=120)

    assert second.returncode == 0, told
    assert "3/3 labelled" in said
    path = tmp_path / "jobs" / name / "manifests" / "output" / "output.manifest"
    assert str(path) in said
    assert all(manifest.labelled(line, name) for line in manifest.read(path))
    assert len(cloud.keys()) == 1


@pytest.mark.slow
def test_a_failed_job_is_one_line_and_exit_1(cloud, aws, tmp_path):
    with (
        aws.faults.job_fails("ClientError: no access", "fails"),
        process(cloud, tmp_path, job__name="fails") as started,
    ):
        _, told = started.communicate(timeout=120)

    assert started.returncode == 1
    assert told.splitlines()[-1] == (
        "labeling job fails failed: ClientError: no access; requeue=true offers again what has "
        "no label"
    )


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("where", ["groundtruth", "local"])
def test_a_preview_is_the_real_page_on_the_real_image(cloud, browser, tmp_path, where):
    words = {"job__name": f"seen-{where}", "preview": "true"}
    if where == "local":
        words |= {"labeling": "local", "labeling.port": 0}
    with process(cloud, tmp_path, **words) as started:
        line = started.stdout.readline()
        while line and "preview at" not in line:
            line = started.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        page.wait_for_selector('html[data-cxr-ready="1"]', timeout=30_000)
        shot = Image.open(io.BytesIO(page.locator(".cxr-stage").screenshot()))
        drawn = np.asarray(shot.convert("L")).std()
        comments = page.locator("#cxr-root textarea:visible").count()
        page.keyboard.press("Shift+A")
        page.keyboard.press("Control+Enter")
        page.get_by_role("heading", name="Checked").wait_for(timeout=20_000)
        page.close()
        started.send_signal(signal.SIGINT)
        _, told = started.communicate(timeout=60)

    assert started.returncode == 0, told
    assert drawn > 5
    assert (comments > 0) is (where == "local")
    kept = {one.name for one in (tmp_path / "jobs" / words["job__name"]).iterdir()}
    assert not kept & {"answers.db", "groundtruth.json", "annotations", "manifests"}
