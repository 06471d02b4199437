"""A whole job on this machine, over HTTP, in Ground Truth's layout; kill -9 loses nothing."""

import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from specimens import LABELS, dicom, form

from cxr.contract import labels, manifest, signing
from cxr.contract.labels import State
from cxr.errors import JobError
from cxr.labeling import Checks, Job, Reader, audit, scripted, selection
from cxr.labeling.answers import Answers
from cxr.labeling.local import LocalLabeling
from cxr.pacs.folder import FolderPacs

ROOT = Path(__file__).parents[1]
KEYS = signing.Keys({"test": b"k" * 32})


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    store = FolderPacs(tmp_path_factory.mktemp("pacs"), keys=KEYS)
    for number in range(6):
        store.store(dicom(number))
    return store


def begin(folder, pacs, *readers, **changes):
    job = Job("demo", folder, LABELS, readers, len(readers), **changes)
    selected = selection.from_query(folder, pacs, query={}, views=["frontal"], label_set=LABELS)
    backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0)
    backend.start(job, selected.path)
    return job, backend


def perfect(name):
    skill = {"sensitivity": 1.0, "specificity": 1.0, "uncertain": 0.0, "seed": 1}
    return Reader(name, skill)


@pytest.fixture
def labelled(tmp_path, pacs):
    """A job that three scripted readers answered over HTTP, and what was true."""
    job, backend = begin(tmp_path / "job", pacs, *map(perfect, ("ann", "bob", "eve")))
    sources = [manifest.source(line) for line in manifest.read(job.input_manifest)]
    truth = {
        source: {
            "Edema": State.ABSENT,
            "Lung Opacity": State.PRESENT if i % 2 else State.ABSENT,
            "Support Devices": State.PRESENT if i % 3 else State.ABSENT,
        }
        for i, source in enumerate(sources)
    }
    scripts = scripted.start(job, backend.links(job), truth)
    for script in scripts:
        script.join(60)
    assert [script.error for script in scripts] == [None] * 3
    yield job, backend, truth
    backend.close()


def test_a_whole_job_ends_in_ground_truths_output_manifest(labelled):
    job, backend, truth = labelled

    path = backend.collect(job)

    assert backend.status(job).state == "Completed"
    assert path == job.folder / "manifests" / "output" / "output.manifest"
    inputs, outputs = list(manifest.read(job.input_manifest)), list(manifest.read(path))
    assert len(outputs) == 6
    for before, after in zip(inputs, outputs, strict=True):
        assert after == before | {"demo": after["demo"], "demo-metadata": after["demo-metadata"]}
        found = manifest.labelled(after)
        true = truth[manifest.source(after)]
        assert {name: found.states[name] for name in true} == true
        assert found.usable
        assert found.label_source == "scripted-readers"
        workers = [a["workerId"] for a in after["demo"]["annotationsFromAllWorkers"]]
        assert workers == ["ann", "bob", "eve"]
    assert {line["demo-metadata"]["job-name"] for line in outputs} == {"demo"}
    assert {line["demo-metadata"]["human-annotated"] for line in outputs} == {"no"}


def test_worker_responses_and_requests_lie_where_ground_truth_puts_them(labelled):
    job, backend, _ = labelled
    backend.collect(job)

    again = backend.collect(job)

    annotations = job.folder / "annotations"
    responses = sorted(annotations.glob("worker-response/iteration-1/*/*.json"))
    assert [path.parent.name for path in responses] == list("012345")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\.json", responses[0].name)
    (first, *_) = json.loads(responses[0].read_text())["answers"]
    assert set(first) == {
        "acceptanceTime", "answerContent", "submissionTime", "timeSpentInSeconds", "workerId",
        "workerMetadata",
    }  # fmt: skip
    assert json.loads(first["answerContent"]["annotation"])["schema"] == "cxr-annotation/1"
    (request,) = annotations.glob(
        "consolidated-annotation/consolidation-request/iteration-1/*.json"
    )
    (entry, *_) = json.loads(request.read_text())
    assert set(entry) == {"datasetObjectId", "dataObject", "annotations"}
    lines = list(manifest.read(job.input_manifest))
    # of a line, Ground Truth passes the source and nothing else
    assert entry["dataObject"] == {"content": lines[int(entry["datasetObjectId"])]["source"]}
    assert again == job.output_manifest


def test_a_job_half_done_is_collected_with_what_there_is(tmp_path, pacs):
    job, backend = begin(tmp_path / "job", pacs, Reader("ann"))
    client = httpx.Client(verify=False, base_url=backend.status(job).url)
    client.get(backend.links(job)["ann"])
    answer(client)

    path = backend.collect(job)

    lines = list(manifest.read(path))
    done = [found for line in lines if (found := manifest.labelled(line))]
    assert backend.status(job).state == "InProgress"
    assert (backend.status(job).labelled, backend.status(job).total) == (1, 6)
    assert [found.label_source for found in done] == ["readers"]
    assert [m["human-annotated"] for line in lines if (m := line.get("demo-metadata"))] == ["yes"]
    client.close()
    backend.close()


def test_disputes_are_collected_as_decided(tmp_path, pacs):
    readers = (Reader("ann"), Reader("bob"))
    job, backend = begin(tmp_path / "job", pacs, *readers, consolidation="adjudicated")
    for reader, letters in (("ann", "paaa"), ("bob", "aaaa")):
        with httpx.Client(verify=False, base_url=backend.status(job).url) as client:
            client.get(backend.links(job)[reader])
            for _ in range(6):
                answer(client, letters)
    backend.close()
    with closing(
        Answers(job.folder / selection.ANSWERS, workers_per_object=2, task_time_limit_s=60)
    ) as answers:
        assert answers.decide(2, "judge", form("uaaa"))

    job, backend = begin(tmp_path / "job", pacs, *readers, consolidation="adjudicated")
    lines = list(manifest.read(backend.collect(job)))
    backend.close()

    found = [line["demo"]["findings"][0] for line in lines]
    assert [(item["state"], item["reason"]) for item in found[:3]] == [
        ("uncertain", "not_adjudicated"), ("uncertain", "not_adjudicated"),
        ("uncertain", "adjudicated"),
    ]  # fmt: skip
    assert ["adjudication" in line["demo"] for line in lines] == [False] * 2 + [True] + [False] * 3
    quality = json.loads((job.folder / "quality.json").read_text())
    assert {w: one["pace"]["answered"] for w, one in quality["workers"].items()} == {
        "ann": 6, "bob": 6
    }  # fmt: skip


def test_a_job_started_again_goes_on(tmp_path, pacs):
    job, backend = begin(tmp_path / "job", pacs, Reader("ann"))
    with httpx.Client(verify=False, base_url=backend.status(job).url) as client:
        client.get(backend.links(job)["ann"])
        answer(client)
    backend.close()

    job, backend = begin(tmp_path / "job", pacs, Reader("ann"))

    assert backend.status(job).labelled == 1
    backend.close()


def test_it_must_be_started_first(tmp_path, pacs):
    backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0)

    with pytest.raises(JobError, match=r"^start the job first$"):
        backend.status(Job("demo", tmp_path, LABELS))


def answer(client, letters="paaa"):
    offer = client.get("/api/task").json()
    response = client.post(
        offer["task"]["submitUrl"], content=form(letters), headers={"X-CSRF": offer["csrf"]}
    )
    assert response.status_code == 200
    return offer["task"]["input"]["source"]


# stands in for python -m cxr.label, without its config
PORTAL = """
import pathlib, signal, sys
sys.path[:0] = sys.argv[3:]
import test_local
pacs = test_local.FolderPacs(pathlib.Path(sys.argv[1]), keys=test_local.KEYS)
job, backend = test_local.begin(pathlib.Path(sys.argv[2]), pacs, test_local.Reader("ann"))
print(backend.links(job)["ann"], flush=True)
signal.pause()
"""


class Killable:
    """A portal in a process of its own."""

    def __init__(self, folder, pacs):
        paths = [str(ROOT / "src"), str(ROOT / "tests")]
        command = [sys.executable, "-c", PORTAL, str(pacs.folder), str(folder), *paths]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        link = self.process.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:")
        self.client = httpx.Client(verify=False, base_url=link.partition("/enter")[0], timeout=10)
        self.client.get(link)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.client.close()


@pytest.mark.slow
def test_kill_9_between_two_submissions_loses_nothing(tmp_path, pacs):
    answered = []
    for _ in range(3):
        portal = Killable(tmp_path / "job", pacs)
        answered.append(answer(portal.client))
        answered.append(answer(portal.client, "apua"))
        left_open = portal.client.get("/api/task").json()["task"]
        portal.kill()
        assert left_open is None or left_open["input"]["source"] not in answered

    job, backend = begin(tmp_path / "job", pacs, Reader("ann"))
    lines = {manifest.source(line): line for line in manifest.read(backend.collect(job))}
    backend.close()

    assert sorted(answered) == sorted(lines)
    assert [manifest.labelled(lines[source]).states["Edema"] for source in answered] == [
        State.PRESENT, State.ABSENT
    ] * 3  # fmt: skip


def test_a_job_is_served_by_one_process(tmp_path, pacs):
    job, backend = begin(tmp_path / "job", pacs, Reader("ann"))
    second = LocalLabeling(pacs=pacs, keys=KEYS, port=0)

    with pytest.raises(JobError, match=r"job\.lock: job 'job' is open in process \d+; stop that"):
        second.start(job, job.input_manifest)
    second.close()
    assert httpx.get(backend.status(job).url, verify=False).status_code in (200, 303)
    backend.close()

    second.start(job, job.input_manifest)
    second.close()


def test_every_export_is_in_the_log_and_its_end_beside_it(labelled):
    job, backend, _ = labelled
    path = backend.collect(job)
    backend.collect(job)

    count = audit.verify(job.folder / selection.ANSWERS, audit.keys(KEYS))

    heads = [line.split() for line in (job.folder / audit.HEAD).read_text().splitlines()]
    assert [int(head[0]) for head in heads] == [count - 1, count]
    with sqlite3.connect(job.folder / selection.ANSWERS) as db:
        rows = db.execute("SELECT hash, detail FROM audit WHERE event='exported'").fetchall()
    db.close()
    assert [row[0] for row in rows] == [head[1] for head in heads]
    told = json.loads(rows[1][1])
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["images"], told["labelled"]) == (6, 6)


def test_a_job_that_its_lead_closes_goes_on_until_then(tmp_path, pacs):
    job, backend = begin(tmp_path / "job", pacs, Reader("ann"), closes="lead")
    with httpx.Client(verify=False, base_url=backend.status(job).url) as client:
        client.get(backend.links(job)["ann"])
        answer(client)
        backend._opened.close_job("lead")
        assert backend.status(job).state == "Stopped"
        backend._opened.reopen_job("lead")
        for _ in range(5):
            answer(client)

    assert (backend.status(job).state, backend.status(job).labelled) == ("InProgress", 6)
    backend._opened.close_job("lead")
    assert backend.status(job).state == "Completed"
    backend.close()


def test_honeypots_are_answered_and_not_put_out(labelled, tmp_path, pacs):
    known = labelled[1].collect(labelled[0])
    mine = list(manifest.read(known))[:3]
    folder = tmp_path / "next"
    manifest.write(folder / "mine.manifest", ({"source": line["source"]} for line in mine))
    path = selection.from_manifest(folder, folder / "mine.manifest", LABELS).path
    checks = Checks(known, 0.9)
    job = Job("next", folder, LABELS, (Reader("ann"),), checks=checks)
    backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0)
    backend.start(job, path)
    with httpx.Client(verify=False, base_url=backend.status(job).url) as client:
        client.get(backend.links(job)["ann"])
        while client.get("/api/task").json()["task"]:
            answer(client)

    lines = list(manifest.read(backend.collect(job)))

    assert [line["source"] for line in lines] == [line["source"] for line in mine]
    met = backend._opened.known_results()
    assert len(met) == 3  # the other three are the job's own
    assert {line["source"] for _, line, _ in met} == {
        line["source"] for line in manifest.read(known)
    } - {line["source"] for line in mine}
    assert all(manifest.labelled(line, "demo") for _, line, _ in met)
    backend.close()


def test_no_honeypot_is_told_by_what_it_asks_and_shows(labelled, tmp_path, pacs):
    known = labelled[1].collect(labelled[0])
    lines = [line | {"shown": {"age": 9}, "unit": "study"} for line in manifest.read(known)]
    manifest.write(tmp_path / "known.manifest", lines)
    names = labels.LabelSet("other", ("Edema", "Lung Opacity", "No Finding"), "No Finding")
    folder = tmp_path / "next"
    manifest.write(folder / "mine.manifest", ({"source": one["source"]} for one in lines[:3]))
    path = selection.from_manifest(folder, folder / "mine.manifest", names).path
    checks = Checks(tmp_path / "known.manifest", 0.9)
    job = Job("next", folder, names, (Reader("ann"),), checks=checks, shown=("age",), unit="study")
    backend = LocalLabeling(pacs=pacs, keys=KEYS, port=0)
    backend.start(job, path)
    met = []
    with httpx.Client(verify=False, base_url=backend.status(job).url) as client:
        client.get(backend.links(job)["ann"])
        while (offer := client.get("/api/task").json())["task"]:
            met.append(offer["task"]["input"])
            client.post(
                offer["task"]["submitUrl"], content=form("aap", names),
                headers={"X-CSRF": offer["csrf"]},
            ).raise_for_status()  # fmt: skip
    backend.close()

    own = ("imageUrl", "source", "itemId")
    assert len(met) == 6
    assert len({json.dumps({k: v for k, v in one.items() if k not in own}) for one in met}) == 1
    assert (met[0]["shown"], met[0]["parents"], met[0]["unit"]) == ({}, {}, "image")


def test_honeypots_that_cannot_be_shown_are_refused(tmp_path, pacs):
    (tmp_path / "known.manifest").write_text('{"source": "elsewhere"}\n')
    checks = Checks(tmp_path / "known.manifest", 0.1)

    with pytest.raises(JobError, match=r"job\.honeypots: .*known\.manifest holds no labelled"):
        begin(tmp_path / "job", pacs, Reader("ann"), checks=checks)
