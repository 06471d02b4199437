"""Ingest from any source into any PACS, by the real command: each file once, whatever happens."""

import csv
import hashlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingest_command import count, fine, radiographs, refused, run, started, to, wait_until
from ingesting import ingest
from pydicom import dcmread
from sample_verdicts import VERDICTS
from specimens import dicom

from cxr.ingest_rules import DEFAULTS
from cxr.pacs import ledger, ledgers, sources
from cxr.pacs.folder import FolderPacs
from cxr.pacs.orthanc import OrthancPacs

pytestmark = pytest.mark.slow


@pytest.fixture
def server(own_orthanc, monkeypatch):
    """An empty Orthanc, whose password the command finds."""
    monkeypatch.setenv("CXR_PACS_PASSWORD", own_orthanc.password)
    monkeypatch.setenv("CXR_FROM_PACS_PASSWORD", own_orthanc.password)
    return own_orthanc


def rows(root):
    with (root / "ingest" / "report.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*.dcm")}


def test_a_folder_comes_into_orthanc_and_is_stored_again_if_lost_there(tmp_path, server):
    radiographs(tmp_path / "in", 30)
    (tmp_path / "in" / "notes.txt").write_text("none")
    (tmp_path / "in" / "copy.dcm").write_bytes((tmp_path / "in" / "0003.dcm").read_bytes())
    asked = [f"folder={tmp_path / 'in'}", *to(server)]

    first, *_ = fine(run(tmp_path / "root", *asked))
    again, *_ = fine(run(tmp_path / "root", *asked))
    with OrthancPacs.opened(server.section, root=tmp_path) as pacs:
        stored = {pacs.retrieve(found) for found in pacs.search()}
        pacs.delete(next(pacs.search()))
    lost, *_ = fine(run(tmp_path / "root", *asked))

    assert first.startswith("30 stored, 1 there already, 1 refused")
    assert again.startswith("0 stored, 31 there already, 1 refused")
    assert lost.startswith("1 stored, 30 there already, 1 refused")
    assert count(server) == 30
    assert stored == set(files(tmp_path / "in").values())


def test_a_query_moves_from_orthanc_to_a_folder_pacs_and_back(tmp_path, server):
    source = radiographs(tmp_path / "in", 12)
    fine(run(tmp_path / "one", f"folder={source}", *to(server)))
    asked = [*to(server, "from_pacs"), "query={StudyDate: 20260101-20261001}"]

    over, *_ = fine(run(tmp_path / "two", *asked))
    again, *_ = fine(run(tmp_path / "two", *asked))
    with FolderPacs(tmp_path / "two" / "pacs") as pacs:
        came = {pacs.retrieve(found) for found in pacs.search()}
        fine(
            run(
                tmp_path / "two", "from_pacs=folder", f"from_pacs.folder={pacs.folder}", *to(server)
            )
        )

    assert over.startswith("10 stored, 0 there already, 0 refused")
    assert again.startswith("0 stored, 10 there already, 0 refused")
    assert came == {(source / f"{i:04}.dcm").read_bytes() for i in range(10)}
    assert count(server) == 12
    assert not list((tmp_path / "two").rglob("*.part"))
    assert not list((tmp_path / "two" / "ingest").glob("*.spool"))


def test_a_copy_to_plain_folders_is_whole_and_goes_on(tmp_path, server):
    source = radiographs(tmp_path / "in", 12)
    fine(run(tmp_path / "root", f"folder={source}", *to(server)))
    asked = [*to(server, "from_pacs"), f"to={tmp_path / 'out'}"]

    first, *_ = fine(run(tmp_path / "root", *asked))
    copies = sorted((tmp_path / "out").rglob("*"))
    names = {str(path.relative_to(tmp_path / "out")) for path in copies if path.is_file()}
    copies[-1].write_bytes(b"cut")
    copies[1].unlink()
    again, *_ = fine(run(tmp_path / "root", *asked))

    assert first.startswith("12 copied")
    assert again.startswith("2 copied")
    assert sorted(files(tmp_path / "out").values()) == sorted(files(source).values())
    headers = [dcmread(path) for path in source.iterdir()]
    assert names == {f"{ds.StudyInstanceUID}/{ds.SOPInstanceUID}.dcm" for ds in headers}
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "out").rglob("*")}
    assert modes == {0}


@pytest.mark.real
def test_checking_the_samples_gives_every_expected_verdict(shared, tmp_path):
    done = run(tmp_path, f"folder={shared / 'dicom-samples'}", "check=true")

    assert (done.returncode, done.stderr.strip()) == (1, "")
    assert done.stdout.startswith("15 checked, 13 with errors, 2 with warnings")
    met = {name: {} for name in VERDICTS}
    for row in rows(tmp_path):
        met[row["file"]][row["rule"]] = row["severity"], row["met"]
    twin = met["chest_pa_jpeg_baseline_mono1.dcm"].pop("duplicate_instance")
    assert twin == ("error", "the SOPInstanceUID of chest_pa_jpeg_baseline.dcm, with other content")
    for name, expected in VERDICTS.items():
        assert sorted(met[name]) == sorted(expected), name
        for rule, words in expected.items():
            assert met[name][rule][0] == DEFAULTS[rule]
            assert words in met[name][rule][1]
    assert not (tmp_path / "pacs").exists()


def test_checking_stores_nothing_and_is_fine_where_all_is(tmp_path, server):
    radiographs(tmp_path / "in", 3)
    asked = [f"folder={tmp_path / 'in'}", *to(server)]

    done = run(tmp_path / "root", *asked, "check=true")

    assert fine(done)[0] == "3 checked, 0 with errors, 0 with warnings"
    assert count(server) == 0
    assert fine(run(tmp_path / "root", *asked))[0].startswith("3 stored")


def test_a_pacs_is_not_copied_into_itself(tmp_path, server):
    for asked in (
        ["from_pacs=folder"],
        [*to(server), "from_pacs=dicomweb", f"from_pacs.url={server.url}/dicom-web"],
    ):
        line = refused(run(tmp_path, *asked))
        assert line.startswith("from_pacs: expected another PACS than pacs, met ")


def test_files_arrive_without_names_where_they_are_to(tmp_path, server):
    radiographs(tmp_path / "in", 4)
    asked = [f"folder={tmp_path / 'in'}", *to(server), "ingest.deidentify=basic"]

    first, *_ = fine(run(tmp_path / "root", *asked))
    again, *_ = fine(run(tmp_path / "root", *asked))

    assert first.startswith("4 stored")
    assert again.startswith("0 stored, 4 there already")
    with OrthancPacs.opened(server.section, root=tmp_path) as pacs:
        found = list(pacs.search())
        assert all(re.fullmatch(r"P-[A-Z2-7]+", instance.patient_id) for instance in found)
        origins = ledger.origins(tmp_path / "root", pacs)
        came = {origin.path: origin.orthanc_id for origin in origins}
    assert sorted(came) == [f"{i:04}.dcm" for i in range(4)]
    assert sorted(came.values()) == sorted(instance.orthanc_id for instance in found)
    (kept,) = (tmp_path / "root" / "ingest").glob("*.sqlite")
    assert b"SYN0" not in kept.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_cross_file_rules_name_the_other_file(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    for name, number, patient, study in (
        ("a.dcm", 1, "ANN", "1.2.1"), ("b.dcm", 2, "BOB", "1.2.2"), ("c.dcm", 3, "CAT", "1.2.2"),
    ):  # fmt: skip
        (place / name).write_bytes(dicom(number, patient=patient, study=study, seed=number % 2))
    with FolderPacs(tmp_path / "pacs") as pacs:
        done = ingest(place, pacs)
        strict = ingest(place, None, tmp_path / "x", rules={**DEFAULTS, "same_study": "error"})
        off = ingest(
            place,
            None,
            tmp_path / "x",
            rules={**DEFAULTS, "same_study": "off", "same_pixels": "off"},
        )

    said = dict(done.warned)
    assert done.stored == 3
    assert "the same StudyInstanceUID as c.dcm, under another PatientID" in said["b.dcm"]
    assert "the same StudyInstanceUID as b.dcm, under another PatientID" in said["c.dcm"]
    assert "the same pixels as c.dcm, under another PatientID" in said["a.dcm"]
    assert "the same pixels as" not in said["b.dcm"]
    assert strict.refused == (
        ("c.dcm", "the same StudyInstanceUID as b.dcm, under another PatientID"),
    )
    assert not [reason for _, reason in off.warned if "another PatientID" in reason]


def test_one_ingest_at_a_time_into_one_pacs(tmp_path):
    radiographs(tmp_path / "in", 1)
    with FolderPacs(tmp_path / "root" / "pacs") as pacs:
        path = ledger.path_of(tmp_path / "root", ledger.name_of(tmp_path / "root", pacs))
    with ledger.Ledger(path):
        line = refused(run(tmp_path / "root", f"folder={tmp_path / 'in'}"))

    assert line == "expected to be the only ingest into this PACS, met another at work; wait for it"


def test_what_is_forgotten_stands_in_no_ledger(tmp_path):
    place = radiographs(tmp_path / "in", 3)
    with FolderPacs(tmp_path / "pacs") as pacs:
        ingest(place, pacs, tmp_path / "root")
        ingest(place, None, tmp_path / "root")
        gone = next(pacs.search())

        removed = ledgers.forget(tmp_path / "root", [gone.orthanc_id])

    assert removed == 2
    for path in (tmp_path / "root" / "ingest").glob("*.sqlite*"):
        assert gone.orthanc_id.encode() not in path.read_bytes()


class Silent:
    """A source of files that are all the same one, as many as wanted."""

    nothing, name = "", "silent"

    def __init__(self, path, count):
        self.path, self.count = path, count

    def files(self):
        for number in range(self.count):
            yield ledger.Listed(f"{number:06}.dcm", os.fsencode(self.path), "stamp")

    def fetch(self, wanted, spool):
        for listed in wanted:
            yield sources.File(listed, self.path)


def test_equal_files_under_many_names_are_one_image(tmp_path):
    path = radiographs(tmp_path / "in", 1) / "0000.dcm"
    with FolderPacs(tmp_path / "pacs") as pacs:
        done = ingest(Silent(path, 300), pacs)

        assert (done.stored, done.present, pacs.count()) == (1, 299, 1)


KILLS = 10


@pytest.mark.parametrize("where", ["orthanc", "folder"])
def test_killed_at_any_moment_it_ends_as_if_it_never_was(tmp_path, request, monkeypatch, where):
    chance = random.Random(f"{where} 4")
    place = radiographs(tmp_path / "in", 150)
    (place / "0007.next.dcm").write_bytes((place / "0007.dcm").read_bytes())
    (place / "0011.other.dcm").write_bytes(
        (place / "0011.dcm").read_bytes().replace(b"CHEST ", b"THORAX")
    )
    (place / "broken.dcm").write_bytes((place / "0012.dcm").read_bytes()[:-700])
    root, asked = tmp_path / "root", [f"folder={place}", "ingest.batch=7"]

    def held():
        return len(list((root / "pacs").glob("??/*.dcm")))

    if where == "orthanc":
        server = request.getfixturevalue("own_orthanc")
        monkeypatch.setenv("CXR_PACS_PASSWORD", server.password)
        asked += to(server)

        def held():
            return count(server)

    killed = 0
    for number in range(KILLS):
        process = started(root, *asked, f"workers={1 + number % 5 // 4}")
        goal = held() + chance.choice([0, 0, 1, 5, 9, 13])
        if wait_until(lambda goal=goal: held() >= goal, process):
            process.kill()
            killed += 1
        process.communicate()

    last = run(root, *asked)
    never, *_ = fine(run(tmp_path / "never", f"folder={place}"))

    stored, present = map(int, re.match(r"(\d+) stored, (\d+) there", fine(last)[0]).groups())
    assert killed == KILLS
    assert never.startswith("150 stored, 1 there already, 2 refused")
    assert stored + present == 151
    assert held() == 150
    assert rows(root) == rows(tmp_path / "never")
    assert not list(root.rglob("*.spool"))
    if where == "orthanc":
        with OrthancPacs.opened(server.section, root=root) as pacs:
            met = {hashlib.sha256(pacs.retrieve(found)).digest() for found in pacs.search()}
            origins = {(o.path, o.orthanc_id) for o in ledger.origins(root, pacs)}
    else:
        with FolderPacs(root / "pacs") as pacs:
            met = {hashlib.sha256(pacs.retrieve(found)).digest() for found in pacs.search()}
            origins = {(o.path, o.orthanc_id) for o in ledger.origins(root, pacs)}
    assert len(origins) == 151
    assert met == {hashlib.sha256(path.read_bytes()).digest() for path in place.glob("????.dcm")}


def test_the_process_that_checks_ends_with_the_ingest(tmp_path):
    place = radiographs(tmp_path / "in", 120, size=(256, 256))
    process = started(tmp_path / "root", f"folder={place}", "workers=2")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert wait_until(lambda: len(list((tmp_path / "root").glob("pacs/??/*.dcm"))) > 3, process)

    workers = children.read_text().split()
    process.kill()
    process.communicate()

    assert len(workers) >= 2
    gone = [Path(f"/proc/{pid}") for pid in workers]
    for _ in range(500):
        if not any(path.exists() and "Z" not in state(path) for path in gone):
            return
        time.sleep(0.02)
    pytest.fail("processes are left")


def state(path):
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "some.sqlite"
    ledger.Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(ledger.PacsError, match="expected version 1, met 99; update cxr"):
        ledger.Ledger(path)


def test_a_copy_of_many_takes_no_more_memory_than_one_of_few(tmp_path):
    script = Path(__file__).parents[1] / "scripts" / "bench_pacs.py"
    grown = []
    for number in (100, 2000):
        done = subprocess.run(
            [sys.executable, str(script), "memory", str(number)],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        met = json.loads(done.stdout)
        assert met["copied"] == number
        grown.append(met["after_mb"] - met["before_mb"])

    assert grown[1] - grown[0] < 24
