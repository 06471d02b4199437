"""Who withdraws is gone from everything but models, and nobody else is."""

import csv
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import specimens

from cxr.contract import manifest, signing
from cxr.errors import DataError, JobError
from cxr.images import deidentify
from cxr.infra import http
from cxr.labeling import audit
from cxr.labeling.answers import Answers
from cxr.labeling.lock import JobLock
from cxr.learning import cache
from cxr.pacs import server, withdrawn
from cxr.pacs.folder import FolderPacs

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
KEYS = signing.Keys({"test": b"k" * 32})
PATIENT = "SYN7-0008"  # two frontal images, which are labelled, and a lateral
QUICK = (
    "data=job", "data.job=demo", "trainer.max_epochs=1", "data.image_size=[64,64]", "draws=100",
    "data.folds=3",
)  # fmt: skip


def cxr(command, *overrides, root, fails=False, **env):
    done = subprocess.run(
        [sys.executable, "-m", f"cxr.{command}", *map(str, overrides)],
        cwd=ROOT, env={**os.environ, "CXR_ROOT": str(root)} | env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode == 0) is not fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def train(preloaded, root, name):
    done = preloaded.run("cxr.train", *QUICK, f"name={name}", environment={"CXR_ROOT": str(root)})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, preloaded):
    """A site of synthetic patients: a job answered by three, a run, a cache."""
    root = tmp_path_factory.mktemp("site")
    cxr(
        "label", "job=demo", "job.synthetic.images=30", "job.synthetic.rows=128",
        "job.synthetic.columns=128", "labeling.port=0", root=root,
    )  # fmt: skip
    train(preloaded, root, "first")
    return root


@pytest.fixture
def site(trained, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "root"))


@dataclass
class Done:
    """A site before and after a withdrawal, of which only the log is told."""

    before: Path
    root: Path
    stdout: str


@pytest.fixture(scope="module")
def done(trained, tmp_path_factory):
    """A patient has withdrawn from a copy; look, and change nothing."""
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("done") / "root"))
    return Done(trained, root, cxr("ingest", f"withdraw={PATIENT}", root=root).stdout)


def instances(root, patient):
    with FolderPacs(root / "pacs") as pacs:
        return [i for i in pacs.search() if (i.patient_id == patient) or patient is None]


def traces(root, words, *, besides=()):
    """Every file that holds one of the words, as it lies on disk."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p not in besides):
        data = path.read_bytes()
        if hits := [word for word in words if word.encode() in data]:
            found[str(path.relative_to(root))] = hits
    return found


def names(images):
    return {PATIENT} | {
        name
        for i in images
        for name in (i.sop_instance_uid, i.study_instance_uid, i.series_instance_uid, i.orthanc_id)
    }


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def audit_key(root):
    return audit.keys(signing.keys_from_text((root / "secrets" / "token.keys").read_text()))


def test_a_dry_run_lists_and_changes_nothing(site):
    before = {p: p.read_bytes() for p in site.rglob("*") if p.is_file() and p.suffix != ".log"}

    done = cxr("ingest", f"withdraw={PATIENT}", "check=true", root=site)

    gone = instances(site, PATIENT)
    assert done.stdout.startswith(f"{len(gone)} images in ")
    assert "job demo: 2 images, 6 answers, 0 decisions" in done.stdout
    assert "run first (MLflow " in done.stdout
    after = {p for p in site.rglob("*") if p.is_file()}
    assert {p: p.read_bytes() for p in before if p in after} == before


def test_nothing_of_a_patient_is_left_but_the_log_and_the_models(done):
    gone = instances(done.before, PATIENT)
    words = names(gone)
    assert len(traces(done.before, words)) > 10

    left = traces(done.root, words)

    # the audit log's entries name the image by its Orthanc ID, as documented
    assert set(left) == {"jobs/demo/answers.db"}
    assert set(left["jobs/demo/answers.db"]) <= {i.orthanc_id for i in gone}
    with sqlite3.connect(done.root / "jobs" / "demo" / "answers.db") as db:
        tables = [t for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for table in set(tables) - {"audit"}:
            held = json.dumps(db.execute(f"SELECT * FROM {table}").fetchall(), default=repr)
            assert not [word for word in words if word in held], table
    assert "3 images removed, and what was made of them" in done.stdout


def test_nobody_else_is_touched(done):
    others = {i.orthanc_id for i in instances(done.before, None) if i.patient_id != PATIENT}

    with FolderPacs(done.before / "pacs") as pacs:
        files = {i.orthanc_id: pacs.retrieve(i) for i in pacs.search() if i.orthanc_id in others}
    with FolderPacs(done.root / "pacs") as pacs:
        assert {i.orthanc_id: pacs.retrieve(i) for i in pacs.search()} == files
    lines = {manifest.source(m): m for m in manifest.read(_output(done.before))}
    kept = {manifest.source(m): m for m in manifest.read(_output(done.root))}
    assert kept == {s: m for s, m in lines.items() if s in others}
    checkpoint = Path("runs", "first", "best.ckpt")
    assert (done.root / checkpoint).read_bytes() == (done.before / checkpoint).read_bytes()


def _output(root):
    return root / "jobs" / "demo" / "manifests" / "output" / "output.manifest"


def test_the_runs_to_redo_are_kept_without_the_patient(done):
    gone = instances(done.before, PATIENT)
    splits = dict(rows(done.before / "runs" / "first" / "split.csv")[1:])
    wanted = [splits[i.sop_instance_uid] for i in gone if i.sop_instance_uid in splits]

    (run,) = json.loads(Path(done.stdout.split("\n")[-2]).read_text())["runs"]

    record = json.loads((done.root / "runs" / "first" / "run.json").read_text())
    assert run == {"name": "first", "run_id": record["run_id"], "began_from": ""} | {
        split: wanted.count(split) for split in ("train", "val", "test")
    }
    assert sum(run[split] for split in ("train", "val", "test")) == len(wanted) == 2
    assert len(rows(done.root / "runs" / "first" / "split.csv")) == len(splits) + 1


@pytest.fixture
def left(done, tmp_path):
    """A copy of the site that the patient has left."""
    return Path(shutil.copytree(done.root, tmp_path / "left"))


def test_the_log_stays_whole_and_the_job_can_be_labelled_and_trained_on(left, preloaded):
    database = left / "jobs" / "demo" / "answers.db"
    audit.verify(database, audit_key(left))
    with sqlite3.connect(database) as db:
        (told,) = db.execute("SELECT detail FROM audit WHERE event='withdrawn'").fetchall()
    assert json.loads(told[0])["objects"] == 2
    assert PATIENT not in told[0]
    answers = Answers(
        database, workers_per_object=3, task_time_limit_s=60, readers=["ann"],
        audit_key=audit_key(left)[0],
    )  # fmt: skip
    count = answers.add([*manifest.read(left / "jobs" / "demo" / "input.manifest"),
                         {"source": "new"}], "demo")  # fmt: skip
    task = answers.assign("ann")
    answers.close()
    assert task is not None
    assert count == 28 - 2 + 1
    audit.verify(database, audit_key(left))
    train(preloaded, left, "second")


def test_answers_made_away_with_are_still_found(left):
    database = left / "jobs" / "demo" / "answers.db"
    with sqlite3.connect(database) as db:
        db.execute("DROP TRIGGER answers_no_delete")
        db.execute("DELETE FROM answers WHERE answer_id=(SELECT max(answer_id) FROM answers)")
    db.close()

    with pytest.raises(JobError, match=r"answer \d+, told of in entry \d+ .* is missing"):
        audit.verify(database, audit_key(left))


def test_cached_pixels_are_black_and_not_found_again(site):
    gone = {i.sop_instance_uid for i in instances(site, PATIENT)}
    (place,) = (site / "cache").glob("*/cache.json")
    before = cache.Cache(place.parent, (64, 64), {})
    was = {e.sop_instance_uid: np.array(before.images[np.array([k])])
           for k, e in enumerate(before.entries)}  # fmt: skip

    assert cache.forget(site / "cache", gone) == len(gone & set(was))

    after = cache.Cache(place.parent, (64, 64), {})
    for row, old in enumerate(before.entries):
        pixels = after.images[np.array([row])]
        if old.sop_instance_uid in gone:
            assert not pixels.any()
            with pytest.raises(DataError, match="met one that is not"):
                after.rows([old.sop_instance_uid])
        else:
            assert np.array_equal(pixels, was[old.sop_instance_uid])
            assert list(after.rows([old.sop_instance_uid])) == [row]


def test_forgetting_waits_for_a_build_that_is_at_work(site):
    gone = {i.sop_instance_uid for i in instances(site, PATIENT)}
    (place,) = (site / "cache").glob("*/cache.json")
    code = (
        "from pathlib import Path; from cxr.learning import cache;"
        f"print(cache.forget(Path({str(site / 'cache')!r}), {gone!r}))"
    )
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=4)

    assert int(process.communicate(timeout=60)[0]) > 0


def test_a_job_that_is_open_refuses(site):
    before = len(instances(site, None))
    lock = JobLock(site / "jobs" / "demo")

    done = cxr("ingest", f"withdraw={PATIENT}", root=site, fails=True)

    lock.release()
    assert "job 'demo' is open in process" in done.stderr
    assert len(instances(site, None)) == before


@pytest.mark.parametrize("after_s", [1.0, 1.6])
def test_a_killed_withdrawal_is_completed_by_the_next(site, after_s):
    words = names(instances(site, PATIENT))
    process = subprocess.Popen(
        [sys.executable, "-m", "cxr.ingest", f"withdraw={PATIENT}"],
        cwd=ROOT, env={**os.environ, "CXR_ROOT": str(site)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()

    cxr("ingest", f"withdraw={PATIENT}", root=site)

    assert set(traces(site, words)) <= {"jobs/demo/answers.db"}
    audit.verify(site / "jobs" / "demo" / "answers.db", audit_key(site))
    listed = withdrawn.of(site)
    told = json.loads((site / "ingest" / f"withdrawn-{listed.mark(PATIENT)}.json").read_text())
    assert [run["name"] for run in told["runs"]] == ["first"]


def test_withdrawing_twice_is_harmless_and_a_stranger_is_refused(left):
    assert cxr("ingest", f"withdraw={PATIENT}", root=left).stdout.startswith("0 images in ")
    done = cxr("ingest", "withdraw=nobody", root=left, fails=True)
    assert "expected a PatientID with images in" in done.stderr
    assert "nobody" not in done.stderr


def test_a_pseudonym_is_found_by_the_patient(site):
    secret = deidentify.secret(site)
    with FolderPacs(site / "pacs") as pacs:
        hidden = [pacs.store(deidentify.deidentify(pacs.retrieve(i), secret))
                  for i in instances(site, PATIENT)]  # fmt: skip

    cxr("ingest", f"withdraw={PATIENT}", root=site)

    assert not instances(site, hidden[0].patient_id)
    assert hidden[0].patient_id in withdrawn.of(site)


def test_the_list_of_the_withdrawn_names_nobody(tmp_path):
    withdrawn.add(tmp_path, [PATIENT, "another"])
    withdrawn.add(tmp_path, [PATIENT])

    listed = withdrawn.of(tmp_path)
    assert PATIENT in listed
    assert "SYN7-0009" not in listed
    assert len(listed.path.read_text().splitlines()) == 2
    assert PATIENT not in listed.path.read_text()
    assert listed.path.stat().st_mode & 0o777 == 0o600
    assert listed.mark(PATIENT) in listed.reason(PATIENT)
    assert listed.reason("SYN7-0009") == ""


def test_a_number_is_not_taken_for_a_patient(trained):
    done = cxr("ingest", "withdraw=4_711", root=trained, fails=True)

    assert "withdraw: expected text, so a number in two pairs of quotes, met 4711" in done.stderr


def test_a_number_in_quotes_is_a_patient(trained):
    done = cxr("ingest", "withdraw=\"'4711'\"", root=trained, fails=True)

    assert "withdraw: expected a PatientID with images in" in done.stderr


def test_an_asterisk_stands_for_nobody_else(trained):
    with FolderPacs(trained / "pacs") as pacs:
        found, _ = withdrawn.find(trained, pacs, "SYN7-000*")

    assert found.instances == ()


def test_files_of_who_withdrew_do_not_come_in_again(left, done, tmp_path):
    gone = instances(done.before, PATIENT)
    with FolderPacs(done.before / "pacs") as pacs:
        for number, image in enumerate(gone):
            path = tmp_path / "again" / f"{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pacs.retrieve(image))
    folder = f"folder={tmp_path / 'again'}"

    refused = cxr("ingest", folder, root=left)

    assert "0 stored, 0 there already, 3 refused" in refused.stdout
    listed = withdrawn.of(left)
    report = (left / "ingest" / "report.csv").read_text()
    assert listed.mark(PATIENT) in report
    assert PATIENT not in report
    listed.path.write_text("")
    assert "3 stored, 0 there already, 0 refused" in cxr("ingest", folder, root=left).stdout
    with FolderPacs(left / "pacs") as pacs:
        assert pacs.find(gone[0].sop_instance_uid) == gone[0]


def test_what_a_ledger_knew_of_a_patient_goes(left, done, tmp_path):
    (tmp_path / "in").mkdir()
    others = [i for i in instances(done.before, None) if i.patient_id != PATIENT][:1]
    with FolderPacs(done.before / "pacs") as pacs:
        for image in [*instances(done.before, PATIENT)[:2], *others]:
            name = f"{image.patient_id}-{image.sop_instance_uid}.dcm"
            (tmp_path / "in" / name).write_bytes(pacs.retrieve(image))
    withdrawn.of(left).path.write_text("")
    cxr("ingest", f"folder={tmp_path / 'in'}", root=left)
    assert traces(left, [PATIENT])

    cxr("ingest", f"withdraw={PATIENT}", root=left)

    assert traces(left, [PATIENT]) == {}
    assert traces(left / "ingest", [others[0].patient_id])


def test_of_a_dicomweb_server_it_says_what_to_delete_there(left, tmp_path):
    behind = FolderPacs(tmp_path / "archive")
    for number in (1, 2, 3):
        behind.store(specimens.dicom(number, patient="P1" if number < 3 else "P2"))
    listener = http.bind("127.0.0.1", 0, key="port")
    served = http.Background(server.app(behind, KEYS), listener)
    token = signing.sign(KEYS, ["p:/dicom-web"], ttl_s=600)
    there = ("pacs=dicomweb", f"pacs.url={listener.url}/dicom-web", "pacs.auth=bearer")

    done = cxr("ingest", "withdraw=P1", *there, root=left, fails=True, CXR_PACS_TOKEN=token)

    assert "2 images of 2 studies are still there, all else is removed" in done.stderr
    assert "P1" in withdrawn.of(left)
    assert traces(left, ["1.2.3.1", "1.2.3.2"]) == {}
    for image in list(behind.search(PatientID="P1")):
        behind.delete(image)
    again = cxr("ingest", "withdraw=P1", *there, root=left, CXR_PACS_TOKEN=token)
    assert again.stdout.startswith("0 images in ")
    served.stop()
    behind.close()
