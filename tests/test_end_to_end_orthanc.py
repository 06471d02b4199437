"""The commands as a user of `site=orthanc` types them: a real Orthanc, gateway and browser."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import orthanc_servers
import pytest
from playwright.sync_api import Browser
from preloaded import Preloaded
from specimens import LABELS, dicom

from cxr import pacs_schema
from cxr import root as data_root
from cxr.contract import labels, manifest
from cxr.errors import UnavailableError
from cxr.images import dicom as dicom_files
from cxr.images import synth
from cxr.labeling import Job, Reader, selection
from cxr.labeling.local import LocalLabeling
from cxr.learning import examples
from cxr.pacs import Pacs, opening
from cxr.pacs.folder import FolderPacs

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]
ROOT = Path(__file__).parents[1]
QUICK = ("trainer.max_epochs=1", "data.image_size=[64,64]", "draws=100", "data.folds=3")


class Clinic:
    """A data root, and what `python -m cxr.orthanc up` started for it on free ports.

    Attributes:
        root: The data root.
        section: The config section `pacs` that the commands get.
        portal: Where readers answer.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, orthanc_servers.free_port()
        self.portal = f"http://127.0.0.1:{self.port}"
        self.section = orthanc_servers.section(
            root / "orthanc", password=None, allowed_origins=[self.portal]
        )
        self.given = (
            "site=orthanc",
            f"pacs.url={self.section.url}",
            f"pacs.image_url={self.section.image_url}",
            f"pacs.allowed_origins=[{self.portal}]",
        )

    def start(self, command: str, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", f"cxr.{command}", *words, *self.given],
            cwd=ROOT, env={**os.environ, "CXR_ROOT": str(self.root)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, command: str, *words: str) -> str:
        process = self.start(command, *words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        assert "Traceback" not in err
        return out

    def at_once(self, preloaded: Preloaded, command: str, *words: str) -> str:
        """The same, begun by a process that has loaded what training needs."""
        done = preloaded.run(
            f"cxr.{command}", *words, *self.given, environment={"CXR_ROOT": str(self.root)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def label(self, *words: str) -> tuple[str, ...]:
        return (*words, f"labeling.port={self.port}", "labeling.open_browser=false")

    def pacs(self) -> Pacs:
        return opening.opened(self.section, root=self.root, keys=data_root.token_keys(self.root))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    orthanc_servers.skip_without_orthanc()
    made = Clinic(tmp_path_factory.mktemp("clinic"))
    made.run("orthanc", "up")
    yield made
    assert "stopped" in made.run("orthanc", "down")


@pytest.fixture(scope="module")
def demo(clinic):
    """The demo job, drawn into Orthanc and answered by the scripted readers."""
    size = ("job.synthetic.rows=128", "job.synthetic.columns=112", "job.synthetic.images=60")
    return clinic.run("label", *clinic.label("job=demo", *size))


def test_the_demo_is_labelled_out_of_orthanc(clinic, demo):
    job = clinic.root / "jobs" / "demo"
    asked = [line["source"] for line in manifest.read(job / "input.manifest")]
    told = [line["source"] for line in manifest.read(job / "manifests/output/output.manifest")]
    with (clinic.root / "synthetic" / "truth.csv").open() as file:
        drawn = {row["source"] for row in csv.DictReader(file)}

    assert f"{len(asked)}/{len(asked)} labelled" in demo
    assert 40 < len(asked) <= len(drawn) == 60
    assert told == asked
    assert set(asked) <= drawn


def test_a_folder_of_the_same_files_gives_the_same_manifest(clinic, demo, tmp_path):
    theirs = clinic.root / "jobs" / "demo" / "input.manifest"
    with clinic.pacs() as orthanc, FolderPacs(tmp_path / "pacs") as folder:
        for instance in orthanc.search(PatientID="SYN7-*"):
            folder.store(orthanc.retrieve(instance))
        made = selection.from_query(
            tmp_path, folder, query={"PatientID": "SYN7-*", "Rows": 128}, views=["frontal"],
            label_set=labels.from_data_object(next(manifest.read(theirs))),
        )  # fmt: skip

    assert made.path.read_bytes() == theirs.read_bytes()


def test_what_was_labelled_is_trained_on_and_scored(clinic, demo, preloaded):
    trained = clinic.at_once(preloaded, "train", "experiment=demo", "name=whole", *QUICK)
    scored = clinic.at_once(preloaded, "evaluate", "run=whole", "data.job=demo", "draws=100")

    run = clinic.root / "runs" / "whole"
    assert f"report: {run / 'report.html'}" in trained
    assert f"report: {run / 'evaluations' / 'demo' / 'report.html'}" in scored
    (index,) = (clinic.root / "cache").glob("*/index.jsonl")
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    assert len(entries) > 40
    assert all(re.fullmatch("[0-9a-f]{32}", entry["md5"]) for entry in entries)


def test_labels_by_path_find_the_files_that_were_ingested(clinic, tmp_path):
    for index in (0, 1):
        place = tmp_path / "in" / f"patient{index}" / "study1" / "view1_frontal.dcm"
        place.parent.mkdir(parents=True)
        place.write_bytes(synth.draw(index, seed=9, size=(128, 112))[0])
    table = tmp_path / "train.csv"
    table.write_text("Path,Edema\nCheXpert/train/patient1/study1/view1_frontal.jpg,1\n")

    clinic.run("ingest", f"folder={tmp_path / 'in'}")
    words = ("job=replay", "job.name=by-path", f"job.answers={table}", "job.key=path")
    done = clinic.run("label", *words, "job.query.PatientID=SYN9-*")

    assert "1/1 labelled" in done
    (line,) = manifest.read(clinic.root / "jobs/by-path/manifests/output/output.manifest")
    expected = dicom_files.identify(tmp_path / "in/patient1/study1/view1_frontal.dcm")
    assert line["source"] == expected.orthanc_id


def test_an_orthanc_that_is_away_is_one_line_and_no_image_counts_as_missing(tmp_path):
    away = Clinic(tmp_path / "root")
    data_root.secret(data_root.prepare(str(away.root)), "orthanc.password", "x")
    line = {"source": "-".join(["0" * 8] * 5), **labels.to_data_object(LABELS)}
    findings = [{"label": name, "state": "absent"} for name in LABELS.names]
    answer = {"schema": manifest.SCHEMA, "findings": findings, "usable": True}
    meta = manifest.metadata("old", human_annotated=True, created=datetime.now(UTC))
    line |= {"old": answer, "old-metadata": meta | {"label-source": "readers"}}
    manifest.write(tmp_path / "output.manifest", [line])

    process = away.start("label", "job=by_hand")
    out, err = process.communicate(timeout=120)
    with away.pacs() as pacs, pytest.raises(UnavailableError, match="is it running, and pacs"):
        examples.read(tmp_path / "output.manifest", pacs)

    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"{away.section.url} cannot be reached")
    assert err.count("\n") == 1


@pytest.mark.browser
def test_a_reader_answers_an_image_that_the_gateway_gave(clinic, browser: Browser):
    words = clinic.label("job=demo_by_hand", "job.synthetic.images=1", "job.synthetic.seed=8")
    process = clinic.start("label", *words)
    page = browser.new_page()
    met: list[str] = []
    page.on("request", lambda request: met.append(request.url))

    assert process.stdout is not None
    assert any(line.startswith(f"label at {clinic.portal}") for line in process.stdout)
    page.goto(clinic.portal)
    page.wait_for_selector('html[data-cxr-ready="1"]', timeout=30_000)
    page.keyboard.press("Shift+A")
    page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="All images are labelled").wait_for(timeout=20_000)
    page.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, out + err
    assert "1/1 labelled" in out
    assert "pacs." not in err  # no warning that the gateway was not to be reached
    assert any(url.startswith(f"{clinic.section.image_url}/instances/") for url in met)
    assert not any("/pacs/" in url for url in met)


@pytest.mark.browser
def test_without_a_gateway_the_portal_fetches_the_image(orthanc, browser: Browser, tmp_path):
    section = pacs_schema.DicomWebPacs.model_validate(
        {
            "_target_": "cxr.pacs.dicomweb.DicomWebPacs", "url": f"{orthanc.url}/dicom-web",
            "auth": "basic", "user": orthanc.user, "password": orthanc.password,
            "timeout_s": 30.0, "threads": 2, "seen": str(tmp_path / "seen"),
        }
    )  # fmt: skip
    keys = data_root.token_keys(tmp_path)
    with opening.opened(section, root=tmp_path, keys=keys) as pacs:
        instance = pacs.store(dicom(9801, patient="FETCHED"))
        job = Job("page", tmp_path / "job", LABELS, (Reader("reader"),))
        made = selection.from_query(
            job.folder, pacs, query={"PatientID": "FETCHED"}, views=["frontal"], label_set=LABELS
        )
        backend = LocalLabeling(pacs=pacs, keys=keys, port=0)
        backend.start(job, made.path)
        page = browser.new_page()
        met: list[str] = []
        page.on("request", lambda request: met.append(request.url))
        page.on("response", lambda response: met.append(str(response.headers)))

        page.goto(backend.status(job).url)
        page.wait_for_selector('html[data-cxr-ready="1"]', timeout=30_000)
        page.close()
        backend.close()

    assert any(f"/pacs/instances/{instance.orthanc_id}/file" in url for url in met)
    assert not any(orthanc.url in said or orthanc.password in said for said in met)
