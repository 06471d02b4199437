"""The whole way on the AWS double: stacks, a job answered on the real page, a model, evaluation."""

import csv
import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from preloaded import Preloaded
from sagemaker_site import NET

from cxr.contract import manifest
from cxr.pacs.folder import FolderPacs

# though it opens a page, which has a minute for everything, others may run beside it
pytestmark = [pytest.mark.aws, pytest.mark.slow]
ROOT = Path(__file__).parents[1]
JOB = "ward"
COMMENT = "Frau Beispiel, 3. Stock"
DRAW = (
    "pacs=folder",
    "job.synthetic.images=48",
    "job.synthetic.rows=96",
    "job.synthetic.columns=80",
)
TINY = (
    "data=job", f"data.job={JOB}", "data.image_size=[32,32]", "data.batch_size=8", "draws=100",
    "data.workers=1", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "model=densenet121", f"model.net={NET}",
    "compute.poll_s=0.2", "compute.instance=ml.m5.xlarge",
)  # fmt: skip


class Way:
    """A data root on this machine, and an account on loopback."""

    def __init__(self, aws, root: Path, preloaded: Preloaded) -> None:
        self.aws, self.root, self._preloaded = aws, root, preloaded
        self.printed: dict[str, str] = {}
        wheel = root / "wheels" / "cxr-0.1.0-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("cxr/__init__.py", "")  # jobs of the double have cxr already

    @property
    def environment(self) -> dict[str, str]:
        return {**self.aws.environment, "CXR_ROOT": str(self.root)}

    def begin(self, *words) -> subprocess.Popen:
        """Start a command as a person does."""
        return subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=ROOT, text=True,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, running: subprocess.Popen) -> str:
        out, err = running.communicate(timeout=300)
        assert running.returncode == 0, out + err
        return out

    def run(self, *words) -> str:
        return self.end(self.begin(*words))

    def at_once(self, command: str, *words) -> str:
        """Run a command of ours in a process that another begins, which has loaded everything."""
        done = self._preloaded.run(f"cxr.{command}", *words, environment=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def way(aws, browser, preloaded, tmp_path_factory) -> Way:
    way = Way(aws, tmp_path_factory.mktemp("way"), preloaded)
    stack = (ROOT / "scripts" / "stack.py", "up")
    way.run(*stack, "labeling", "way-labeling", "MakeNotebook=false")
    way.run(*stack, "training", "way-training", "--from", "way-labeling", *network(aws))
    label = way.begin(
        "-m", "cxr.label", "job=frontal", f"job.name={JOB}", *DRAW, "labeling=groundtruth",
        "aws=account", "aws.stack=way-labeling", "labeling.images=s3", "labeling.poll_s=0.2",
        "labeling.free_text=true",
    )  # fmt: skip
    first, *others = aws.tasks(JOB, 120)  # the command begins, draws and uploads first
    answered = on_the_page(browser, first)
    drawn = truth(way.root)
    for task in others:
        submit(task, answered, drawn[image(task)])
    way.printed["label"] = way.end(label)
    way.printed["train"] = way.at_once(
        "train", *TINY, "name=first", "compute=sagemaker", "aws=account",
        "aws.stack=[way-labeling,way-training]", f"compute.wheelhouse={way.root}/wheels",
    )  # fmt: skip
    way.first = first
    return way


def network(aws) -> list[str]:
    """The account's own VPC, as parameters of a stack."""
    ec2 = aws.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"][:2]
    tables = ec2.describe_route_tables()["RouteTables"][:1]
    return [
        f"VpcId={subnets[0]['VpcId']}",
        f"SubnetIds={','.join(one['SubnetId'] for one in subnets)}",
        f"RouteTableIds={tables[0]['RouteTableId']}",
    ]


def on_the_page(browser, task) -> dict:
    """Answer as a reader does: a finding, a region for it, a comment, the rest absent."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(task.url)
    frame = page.frame("task")
    frame.wait_for_selector('html[data-cxr-ready="1"]', timeout=60_000)
    frame.locator('[data-label="Edema"] .cxr-name').click()
    page.keyboard.press("p")
    frame.locator('[data-label="Edema"] .cxr-name').click()
    page.keyboard.press("b")
    box = frame.locator(".cxr-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y - 50)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=4)
    page.mouse.up()
    page.keyboard.press("c")
    page.keyboard.type(COMMENT)
    frame.locator(".cxr-stage").hover()
    frame.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Shift+A")
    page.keyboard.press("Control+Enter")
    frame.locator("#done").wait_for(timeout=60_000)
    page.close()
    return json.loads(task.answer["annotation"])


def image(task) -> str:
    """The Orthanc ID of the copy in the bucket that a task shows."""
    return Path(task.input["source"]).stem


def truth(root: Path) -> dict[str, dict[str, str]]:
    with (root / "synthetic" / "truth.csv").open(newline="") as file:
        return {row["source"]: row for row in csv.DictReader(file)}


def submit(task, pattern: dict, drawn: dict[str, str]) -> None:
    """Answer as the page would that knew what was drawn."""
    found = {name for name, value in drawn.items() if value == "1"}
    if not found - {"Support Devices"}:
        found.add("No Finding")
    findings = [
        {**one, "state": "present" if one["label"] in found else "absent"}
        for one in pattern["findings"]
    ]
    said = {**pattern, "findings": findings, "rois": [], "comment": ""}
    said["task"] = {**pattern["task"], "itemId": task.input["itemId"]}
    form = json.dumps({"annotation": json.dumps(said)}).encode()
    sent = urllib.request.Request(f"{task.url}/answer", form, {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent, timeout=60) as reply:
        assert reply.status == 200


def test_what_a_reader_did_on_the_page_is_in_the_manifest(way) -> None:
    path = way.root / "jobs" / JOB / "manifests" / "output" / "output.manifest"
    found = {manifest.source(line): manifest.labelled(line) for line in manifest.read(path)}
    mine = found[image(way.first)]

    assert len(found) > 40
    assert all(found.values())
    assert mine.states["Edema"] == "present"
    (roi,) = mine.rois
    assert (roi["type"], roi["label"]) == ("rectangle", "Edema")
    (answer,) = mine.document["annotationsFromAllWorkers"]
    content = json.loads(answer["annotationData"]["content"])["annotation"]
    assert json.loads(content)["comment"] == COMMENT
    assert str(path) in way.printed["label"]


def test_the_model_trained_in_the_cloud_is_evaluated_here(way) -> None:
    run = way.root / "runs" / "first"
    told = way.at_once("evaluate", "run=first", *DRAW[:1], "data=job", f"data.job={JOB}",
                       "draws=100", "data.workers=1")  # fmt: skip

    here = json.loads((run / "evaluations" / JOB / "metrics.json").read_text())
    there = json.loads((run / "metrics.json").read_text())
    # the job knows patients by other names, so its bootstrap draws them in another order
    told_of = ("n", "positives", "positive_patients", "auroc", "ap", "threshold")
    for name, figures in here["labels"].items():
        assert {k: figures[k] for k in told_of} == {k: there["labels"][name][k] for k in told_of}
    assert here["images"] >= 5
    assert here["label_source"] == "readers"
    assert "report: " in told
    assert way.aws.training.jobs["cxr-first"].status == "Completed"


def test_no_log_of_a_lambda_or_a_job_names_anybody_or_an_answer(way) -> None:
    with FolderPacs(way.root / "pacs") as pacs:
        people = {one.patient_id for one in pacs.search()}
        uids = {one.sop_instance_uid for one in pacs.search()}
    lambdas = "\n".join(text for name, text in way.aws.logs.items() if "way-labeling" in name)
    job = "\n".join(way.aws.training.jobs["cxr-first"].lines)

    assert lambdas.count("\n") > 40
    assert "val/auroc_macro" in job
    said = {*people, *uids, *truth(way.root), COMMENT, "Beispiel"}
    assert [one for one in said if one in lambdas + job] == []
    answers = ("Edema", "Pneumonia", "present", "absent", "rectangle")
    assert [word for word in answers if word in lambdas] == []
