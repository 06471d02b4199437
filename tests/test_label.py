"""The command whole: a job with every check on, closed by its lead, reopened, its log verified."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from specimens import document

from cxr.contract import labels, manifest

ROOT = Path(__file__).parents[1]
SETTINGS = [
    "job=demo", "job.name=checked", "job.synthetic.images=12", "job.synthetic.rows=96",
    "job.synthetic.columns=80", "labeling.port=0",
]  # fmt: skip
TEAM = "team.readers=[{id: ann}, {id: bob, roles: [lead, adjudicator]}]"


def environment(folder):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CXR_")}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "CXR_ROOT": str(folder), "BROWSER": "true"}


def label(folder, *arguments):
    """Run the command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "cxr.label", *SETTINGS, *arguments], env=environment(folder),
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@contextmanager
def served(folder, *arguments):
    """Run the command while its portal is used; gives reader → personal link."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cxr.label", *SETTINGS, *arguments], env=environment(folder),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    links = {}
    try:
        while len(links) < 2:
            line = process.stdout.readline()
            assert line, "the portal ended before it printed its links"
            if found := re.match(r"(\w+) \(.*\) enters at (http\S+)", line):
                links[found[1]] = found[2]
        yield process, links
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def entered(link):
    client = httpx.Client(follow_redirects=True, base_url=link.partition("/enter")[0])
    assert client.get(link).status_code == 200
    return client


def answer(client, letters):
    """Answer the next image the same way for all findings but those of the letters."""
    offered = client.get("/api/task").json()
    task = offered["task"]
    if task is None:
        return None
    names = labels.from_data_object({"labels": task["input"]["labels"]})
    said = document(letters * (len(names.names) - 1) + ("p" if letters == "a" else "a"), names)
    reply = client.post(
        task["submitUrl"], json={"annotation": json.dumps(said)},
        headers={"X-CSRF": offered["csrf"]},
    )  # fmt: skip
    assert reply.status_code == 200, reply.text
    return task["id"]


@pytest.mark.slow
def test_a_job_goes_on_until_its_lead_closes_it_and_can_be_reopened(tmp_path):
    settings = ("job.workers_per_object=1", TEAM, "job.closes=lead", "job.repeats=0.3")
    output = tmp_path / "jobs" / "checked" / "manifests" / "output" / "output.manifest"

    with served(tmp_path, *settings) as (process, links):
        ann, bob = entered(links["ann"]), entered(links["bob"])
        answered = 0
        while answer(ann, "a"):
            answered += 1
        assert process.poll() is None
        csrf = re.search(r'name="cxr-csrf" content="(\w+)"', bob.get("/job").text)
        bob.post("/job/close", headers={"X-CSRF": csrf[1]}).raise_for_status()
        process.wait(timeout=30)
    first = [manifest.labelled(line, "checked") for line in manifest.read(output)]

    with served(tmp_path, *settings, "reopen=true") as (process, links):
        ann = entered(links["ann"])
        listed = ann.get("/api/answered").json()["answered"]
        corrected = ann.get(f"/api/tasks/{listed[-1]['id']}").json()["task"]
        csrf = ann.get("/api/task").json()["csrf"]
        names = labels.from_data_object({"labels": corrected["input"]["labels"]})
        said = document("p" * (len(names.names) - 1) + "a", names)
        reply = ann.post(
            corrected["submitUrl"], json={"annotation": json.dumps(said)}, headers={"X-CSRF": csrf}
        )
        assert reply.status_code == 200, reply.text
    second = [manifest.labelled(line, "checked") for line in manifest.read(output)]

    assert answered > len(first) == len(second) > 0  # some were asked twice
    changed = [b for a, b in zip(first, second, strict=True) if a.states != b.states]
    assert len(changed) == 1
    assert changed[0].states["Edema"] == "present"
    quality = json.loads((tmp_path / "jobs" / "checked" / "quality.json").read_text())
    assert quality["workers"]["ann"]["repeats"]["equal"] == 1
    status, said, _ = label(tmp_path, *settings, "audit=verify")
    assert (status, said.endswith("none changed or missing\n")) == (0, True)


@pytest.mark.slow
def test_every_answer_that_was_accepted_is_in_the_manifest(tmp_path):
    output = tmp_path / "jobs" / "checked" / "manifests" / "output" / "output.manifest"

    with served(tmp_path, "job.workers_per_object=1", TEAM) as (process, links):
        ann = entered(links["ann"])
        while answer(ann, "a"):
            pass
        listed = ann.get("/api/answered").json()["answered"][0]
        task = ann.get(f"/api/tasks/{listed['id']}").json()["task"]
        names = labels.from_data_object({"labels": task["input"]["labels"]})
        headers = {"X-CSRF": ann.get("/api/csrf").json()["csrf"]}
        accepted = []
        with suppress(httpx.TransportError):  # the portal is gone
            while True:  # correct until nobody takes it
                said = document(
                    "a" * (len(names.names) - 1) + "p", names, comment=f"{len(accepted)}"
                )
                content = json.dumps({"annotation": json.dumps(said)})
                ann.post(task["submitUrl"], content=content, headers=headers).raise_for_status()
                accepted.append(content)
        process.wait(timeout=30)

    (line,) = [one for one in manifest.read(output) if manifest.source(one) == listed["itemId"]]
    (kept,) = line["checked"]["annotationsFromAllWorkers"]
    assert len(accepted) > 5
    assert kept["annotationData"]["content"] == accepted[-1]


@pytest.mark.slow
def test_scripted_readers_are_checked_by_known_answers(tmp_path):
    known = ("job.name=known", "job.workers_per_object=1", "team.readers=[{id: sure, script: "
             "{sensitivity: 1.0, specificity: 1.0, seed: 1}}]", "job.synthetic.seed=3")  # fmt: skip
    assert label(tmp_path, *known)[0] == 0
    path = tmp_path / "jobs" / "known" / "manifests" / "output" / "output.manifest"

    # the truth of both draws is needed to answer both jobs' images
    truth = tmp_path / "synthetic" / "truth.csv"
    before = truth.read_text()
    status, _, said = label(
        tmp_path, f"job.honeypots={{manifest: {path}, share: 0.3}}",
        "job.consolidation=dawid_skene",
    )  # fmt: skip

    assert status == 0, said
    assert truth.read_text() != before
    quality = json.loads((tmp_path / "jobs" / "checked" / "quality.json").read_text())
    assert set(quality["workers"]) == {"careful", "quick", "novice"}
    assert all(worker["honeypots"] for worker in quality["workers"].values())

    status, _, said = label(tmp_path, "job.show=[age]")
    assert status == 0
    assert "job.show=[age] and job.unit=image change nothing here: the job's lines keep" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_stopped_portal_leaves_the_manifest_of_what_there_is(tmp_path, how):
    with served(tmp_path, TEAM, "job.workers_per_object=1") as (process, links):
        answer(entered(links["ann"]), "a")
        process.send_signal(how)
        status = process.wait(timeout=30)

    output = tmp_path / "jobs" / "checked" / "manifests" / "output" / "output.manifest"
    found = [manifest.labelled(line, "checked") for line in manifest.read(output)]
    assert status == 0
    assert sum(line is not None for line in found) == 1
