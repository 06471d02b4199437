"""The commands as a user types them, from files to a report."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from preloaded import Preloaded

ROOT = Path(__file__).parents[1]
QUICK = ("trainer.max_epochs=1", "data.image_size=[64,64]", "draws=100")


Run = Callable[..., subprocess.CompletedProcess[str]]


def typed(command: str, *overrides: str | Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command from its very start; the others are begun by a process that loaded it all."""
    done = subprocess.run(
        [sys.executable, "-m", f"cxr.{command}", *map(str, overrides)],
        cwd=ROOT,
        env={**os.environ, "CXR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="session")
def cxr(preloaded: Preloaded) -> Run:
    def run(
        command: str,
        *overrides: str | Path,
        root: Path,
        fails: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        environment = {"CXR_ROOT": str(root), **(env or {})}
        done = preloaded.run(f"cxr.{command}", *overrides, environment=environment)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small demo job, labelled by the three scripted readers."""
    root = tmp_path_factory.mktemp("demo")
    typed("label", "job=demo", "job.synthetic.images=75", "labeling.port=0", root=root)
    return root


@pytest.fixture(scope="module")
def whole(demo: Path) -> subprocess.CompletedProcess[str]:
    """A run of it, `whole`."""
    return typed("train", "experiment=demo", "name=whole", "onnx=true", *QUICK, root=demo)


@pytest.mark.slow
def test_demo_goes_the_whole_way_through(
    demo: Path, whole: subprocess.CompletedProcess[str]
) -> None:
    done = whole
    run = demo / "runs" / "whole"
    assert f"report: {run / 'report.html'}" in done.stdout
    assert "Research use only" in done.stdout
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = json.loads((run / "run.json").read_text())["label_names"]
    assert list(rows[0]) == ["sop_instance_uid", *names]
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in names)
    split = {r["sop_instance_uid"]: r["split"] for r in csv.DictReader((run / "split.csv").open())}
    assert {split[row["sop_instance_uid"]] for row in rows} == {"test"}
    assert f"MLflow: mlflow ui --backend-store-uri sqlite:///{demo}/mlflow.db" in done.stdout
    tracked = {path.name: path for path in (demo / "mlartifacts").rglob("*") if path.is_file()}
    assert tracked.keys() >= {"run.json", "best.ckpt", "model.onnx", "report.html", "roc.svg"}
    assert done.stderr.splitlines()[-1].startswith("kept the best epoch: val/auroc_macro ")
    assert tracked["model.onnx"].read_bytes() == (run / "model.onnx").read_bytes()
    assert "data:image/png" in tracked["report.html"].read_text()  # synthetic, nobody's
    traced = typed("trace", f"sop_uid={rows[0]['sop_instance_uid']}", "format=json", root=demo)
    found = json.loads(traced.stdout)
    assert [one["of_this_file"] for one in found["pixels"]["decoded"]] == [True]
    assert {answer["worker"] for answer in found["jobs"][0]["answers"]} == {
        "careful", "novice", "quick",
    }  # fmt: skip
    kept = found["runs"][0]["predictions"][0]["probabilities"]
    assert kept == {name: float(rows[0][name]) for name in names}


@pytest.mark.slow
def test_what_cannot_be_trained_is_refused_before_a_run_begins(demo: Path, cxr: Run) -> None:
    wanted = ["experiment=demo", "name=refused", *QUICK]

    label = cxr("train", *wanted, "objective=val/auroc/edema", root=demo, fails=True)
    device = cxr(
        "train", *wanted, "trainer.accelerator=gpu", root=demo, fails=True,
        env={"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip

    assert label.stderr.splitlines()[-1] == (
        "objective: expected a label of job 'demo', met 'edema'; the nearest is 'Edema'"
    )
    assert device.stderr.startswith("trainer.accelerator: expected a GPU")
    assert device.stderr.count("\n") == 1
    assert not (demo / "runs" / "refused").exists()


@pytest.mark.slow
def test_a_run_whose_labels_changed_is_not_resumed_and_keeps_its_split(
    demo: Path, cxr: Run
) -> None:
    shutil.copytree(demo / "jobs" / "demo", demo / "jobs" / "grows")
    manifest = demo / "jobs" / "grows" / "manifests" / "output" / "output.manifest"
    lines = manifest.read_text().splitlines(keepends=True)
    wanted = ["experiment=demo", "data.job=grows", "name=grows", *QUICK]
    cxr("train", *wanted, root=demo)
    split = demo / "runs" / "grows" / "split.csv"
    before = split.read_bytes(), split.stat().st_mtime_ns

    manifest.write_text("".join(lines[:-1]))
    refused = cxr("train", *wanted, "resume=true", root=demo, fails=True)
    manifest.write_text("".join(reversed(lines)))
    resumed = cxr("train", *wanted, "resume=true", root=demo)

    assert refused.stderr.splitlines()[-1] == (
        "data.job: images or labels of 'grows' changed since 'grows' began; train under a new name"
    )
    assert "report: " in resumed.stdout
    assert (split.read_bytes(), split.stat().st_mtime_ns) == before


@pytest.mark.slow
def test_sweep_gives_a_run_for_each_value(demo: Path, cxr: Run) -> None:
    cxr(
        "train", "-m", "experiment=demo", "name=sweep", "model.optimizer.lr=1e-3,1e-4", *QUICK,
        root=demo,
    )  # fmt: skip

    for k in (0, 1):
        assert (demo / "runs" / f"sweep-{k}" / "metrics.json").is_file()
    compared = cxr("evaluate", "runs=[sweep-0,sweep-1]", "draws=100", root=demo)
    page = demo / "comparisons" / "sweep-0-vs-sweep-1" / "comparison.html"
    assert f"report: {page}" in compared.stdout
    said = json.loads(page.with_name("comparison.json").read_text())
    alone = json.loads((demo / "runs" / "sweep-1" / "metrics.json").read_text())
    assert said["images"] == alone["images"]
    assert said["macro"]["auroc"]["second"] == pytest.approx(alone["auroc_macro"])


@pytest.mark.slow
def test_taken_name_is_refused_and_an_interrupted_run_resumes(
    demo: Path, cxr: Run, preloaded: Preloaded
) -> None:
    run = demo / "runs" / "first"
    wanted = ["experiment=demo", "name=first", "data.image_size=[64,64]", "draws=100"]
    wanted.append("trainer.max_epochs=6")
    begun = preloaded.begin("cxr.train", *wanted, environment={"CXR_ROOT": str(demo)})
    killed = begun.reaches("epoch 2/6").ends(signal.SIGTERM, 120)
    record = json.loads((run / "run.json").read_text())

    again = cxr("train", *wanted, root=demo, fails=True)
    changed = cxr("train", *wanted, "resume=true", "seed=1", root=demo, fails=True)
    resumed = cxr("train", *wanted, "resume=true", root=demo)

    assert killed == 143
    assert again.returncode == 1
    assert again.stderr.strip().count("\n") == 0
    assert "resume=true" in again.stderr
    assert changed.stderr.startswith("seed: expected 42")
    assert "epoch 1/6" not in resumed.stderr
    assert "epoch 6/6" in resumed.stderr
    assert json.loads((run / "run.json").read_text())["run_id"] == record["run_id"]


@pytest.mark.slow
def test_run_scores_every_image_of_another_job(demo: Path, cxr: Run) -> None:
    cxr("train", "experiment=demo", "name=elsewhere", "data.test=none", *QUICK, root=demo)
    truth = demo / "synthetic" / "truth.csv"
    cxr(
        "label", "job=replay", "job.name=truth", f"job.answers={truth}", "job.views=[frontal]",
        root=demo,
    )  # fmt: skip

    done = cxr("evaluate", "run=elsewhere", "data=job", "data.job=truth", "draws=100", root=demo)

    place = demo / "runs" / "elsewhere" / "evaluations" / "truth"
    with (place / "predictions.csv").open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == 70
    assert (place / "report.html").is_file()
    assert "these figures flatter" in done.stderr


@pytest.mark.slow
def test_an_output_manifest_of_the_public_sample_trains_and_is_scored(demo: Path, cxr: Run) -> None:
    jobs = demo / "jobs"
    path = jobs / "sample" / "manifests" / "output" / "output.manifest"
    path.parent.mkdir(parents=True)
    lines = (jobs / "demo" / "manifests" / "output" / "output.manifest").read_text().splitlines()
    path.write_text("".join(json.dumps(of_the_sample(json.loads(line))) + "\n" for line in lines))

    done = cxr("train", "experiment=demo", "data.job=sample", "name=sample", *QUICK, root=demo)
    cxr("evaluate", "run=sample", "data=job", "data.job=sample", "draws=100", root=demo)

    run = demo / "runs" / "sample"
    assert "labels: readers" in done.stdout
    assert len(json.loads((run / "run.json").read_text())["label_names"]) == 14
    assert (run / "evaluations" / "sample" / "report.html").is_file()


def of_the_sample(line: dict) -> dict:
    """The same line as the published sample's Lambdas and page would leave it."""
    held = []
    for answer in line["demo"]["annotationsFromAllWorkers"]:
        said = json.loads(json.loads(answer["annotationData"]["content"])["annotation"])
        boxes = {item["label"]: item["state"] == "present" for item in said["findings"]}
        drawn = {"label": [name for name in boxes if boxes[name]], "imageurl": "https://o.example"}
        content = json.dumps({"disease": boxes, "labels": json.dumps(drawn)})
        held.append({"workerId": answer["workerId"], "annotationData": {"content": content}})
    told = {"type": "groundtruth/custom", "job-name": "labeling-job/a-2", "human-annotated": "yes"}
    return {
        "source": line["source"],
        "labels": line["labels"],
        "a-2": {"annotationsFromAllWorkers": held},
        "a-2-metadata": told | {"creation-date": "2021-01-15T05:22:56.000000"},
    }


@pytest.mark.slow
@pytest.mark.usefixtures("whole")
def test_nothing_identifying_reaches_logs_or_mlflow(demo: Path) -> None:
    manifest = demo / "jobs" / "demo" / "manifests" / "output" / "output.manifest"
    uids = {json.loads(line)["sop-instance-uid"] for line in manifest.read_text().splitlines()}
    sources = {json.loads(line)["source"] for line in manifest.read_text().splitlines()}

    kept = [p for p in (demo / "mlartifacts").rglob("*") if p.suffix not in (".ckpt", "")]
    logs = [*(demo / "logs").rglob("*.log"), *(demo / "runs").rglob("*.log"), demo / "mlflow.db"]
    assert kept
    assert len(logs) > 2
    for path in (*kept, *logs):
        text = path.read_bytes().decode(errors="replace")
        assert not re.search(r"SYN\d+-\d{4}", text), path
        assert not [uid for uid in uids | sources if uid in text], path


@pytest.mark.slow
@pytest.mark.real
def test_real_radiographs_go_the_whole_way_through(shared: Path, tmp_path: Path, cxr: Run) -> None:
    root = tmp_path / "root"
    ingest = cxr("ingest", f"folder={shared / 'nih-cxr' / 'dicom'}", root=root)
    again = cxr("ingest", f"folder={shared / 'nih-cxr' / 'dicom'}", root=root)
    cxr(
        "label", "job=replay", "labels=nih14", "job.name=nih",
        f"job.answers={shared / 'nih-cxr' / 'labels.csv'}", root=root,
    )  # fmt: skip
    train = cxr(
        "train", "data=job", "data.job=nih", "name=nih-1", "examples=true",
        *QUICK, root=root,
    )  # fmt: skip
    cxr("evaluate", "run=nih-1", "data=job", "data.job=nih", "draws=100", root=root)

    assert "519 stored" in ingest.stdout
    assert "0 stored, 519 there already" in again.stdout
    lines = (root / "jobs/nih/manifests/output/output.manifest").read_text().splitlines()
    assert len(lines) == 519
    meta = json.loads(lines[0])["nih-metadata"]
    assert (meta["human-annotated"], meta["label-source"]) == ("no", "report-text-mined")
    assert "report-text-mined" in train.stdout
    report = (root / "runs/nih-1/report.html").read_text()
    assert "text-mined" in report
    assert "data:image/png" in report
    (tracked,) = (root / "mlartifacts").rglob("report*.html")
    assert "data:image/png" not in tracked.read_text()
    assert root.stat().st_mode & 0o077 == 0
    first = (root / "runs/nih-1/predictions.csv").read_text()
    assert (root / "runs/nih-1/evaluations/nih/predictions.csv").read_text() == first


@pytest.mark.alone
@pytest.mark.real
def test_acceptance_of_the_spine(shared: Path, tmp_path: Path) -> None:
    script = shared / "accept" / "01-spine.sh"
    done = subprocess.run(
        ["bash", str(script)],
        cwd=ROOT,
        env={**os.environ, "CXR_ACCEPT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "519 images labelled" in done.stdout
