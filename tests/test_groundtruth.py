"""Labeling jobs of Ground Truth from start to output manifest, on the AWS double."""

import json
import shutil

import ground_truth
import pytest
from ground_truth import answers, run

from cxr.contract import manifest, signing
from cxr.labeling import Job, Reader
from cxr.labeling.answers import Answers
from cxr.labeling.local import LocalLabeling


@pytest.fixture(scope="module")
def cloud(aws, tmp_path_factory):
    return ground_truth.Cloud(aws, tmp_path_factory.mktemp("cloud"), "labels")


def at_the_portal(job, folder, workers):
    """The same answers by the local portal's backend; gives the output manifest."""
    there = Job(
        job.name, folder / "jobs" / job.name, job.labels, tuple(map(Reader, workers)),
        workers_per_object=len(workers), consolidation=job.consolidation,
    )  # fmt: skip
    there.folder.mkdir(parents=True)
    shutil.copy(job.input_manifest, there.input_manifest)
    kept = Answers(
        there.folder / "answers.db", workers_per_object=len(workers), task_time_limit_s=3600,
        readers=list(workers), audit_key=b"k" * 32,
    )  # fmt: skip
    kept.add(manifest.read(there.input_manifest), there.name)
    for number, worker in enumerate(workers):
        while task := kept.assign(worker):
            form = answers({"itemId": manifest.source(task.data_object)}, number)
            kept.submit(task.id, json.dumps(form), skipped=False)
    kept.close()
    backend = LocalLabeling(pacs=None, keys=signing.keys_from_text(ground_truth.KEY), port=0)
    backend._open(there, there.input_manifest)
    try:
        return backend.collect(there)
    finally:
        backend.close()


def plain(path, name):
    """The manifest's lines without the times that differ."""
    lines = path.read_text().splitlines()
    for line in lines:
        at = json.loads(line)[f"{name}-metadata"]["creation-date"]
        yield line.replace(at, "<time>")


@pytest.mark.parametrize("rule", ["majority", "any_present", "dawid_skene"])
def test_both_backends_write_the_same_manifest(cloud, aws, tmp_path, rule):
    name = f"same-{rule.replace('_', '-')}"
    aws.workers[name] = answers
    job = cloud.job(name, tmp_path, consolidation=rule)

    path = run(cloud.backend(), job)

    workers = [f"private.eu-central-1.{n:016x}" for n in range(2)]
    local = at_the_portal(job, tmp_path / "portal", workers)
    assert list(plain(path, name)) == list(plain(local, name))
    assert len(list(plain(path, name))) == 3
    for table in ("labels.csv", "answers.csv", "rois.csv", "agreement.json", "quality.json"):
        assert (job.folder / table).read_text() == (local.parents[2] / table).read_text()
    assert (job.folder / "failed.csv").read_text() == "index,source,reason\n"
