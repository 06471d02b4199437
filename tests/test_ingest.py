"""Ingest: good files in, the others listed; again, and nothing happens."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cxr.errors import PacsError
from cxr.images import doctor, synth
from cxr.pacs import ingest
from cxr.pacs.folder import FolderPacs

SIZE = (64, 56)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six radiographs in two folders, one of them twice, and three files that are none."""
    root = tmp_path / "in"
    for index in range(6):
        path = root / f"patient{index // 3}" / f"{index}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(synth.draw(index, size=SIZE)[0])
    (root / "copy.dcm").write_bytes(synth.draw(0, size=SIZE)[0])
    (root / "labels.csv").write_text("file,label\n")
    (root / "patient0" / "cut.dcm").write_bytes(synth.draw(7, size=SIZE)[0][:-500])
    (root / "empty").write_bytes(b"")
    return root


@pytest.fixture
def pacs(tmp_path: Path) -> FolderPacs:
    return FolderPacs(tmp_path / "pacs")


def test_every_file_is_accounted_for(folder: Path, pacs: FolderPacs) -> None:
    report = ingest.ingest(folder, pacs)

    assert (report.stored, report.present) == (6, 1)
    assert [path for path, _ in report.refused] == ["empty", "labels.csv", "patient0/cut.dcm"]
    reasons = dict(report.refused)
    assert reasons["empty"] == "is empty"
    assert reasons["labels.csv"] == "not a DICOM file"
    assert "less than expected" in reasons["patient0/cut.dcm"]
    assert pacs.count() == 6


def test_again_nothing_is_even_read(folder: Path, pacs: FolderPacs) -> None:
    first = ingest.ingest(folder, pacs)
    for path in folder.rglob("*"):
        if path.is_file():
            before = path.stat()
            path.write_bytes(b"x" * before.st_size)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    again = ingest.ingest(folder, FolderPacs(pacs.folder))

    assert (again.stored, again.present) == (0, 7)
    assert again.refused == first.refused


def test_only_what_changed_is_looked_at(folder: Path, pacs: FolderPacs) -> None:
    ingest.ingest(folder, pacs)
    (folder / "patient0" / "cut.dcm").write_bytes(synth.draw(7, size=SIZE)[0])
    (folder / "new.dcm").write_bytes(synth.draw(8, size=SIZE)[0])

    report = ingest.ingest(folder, pacs)

    assert (report.stored, report.present) == (2, 7)
    assert [path for path, _ in report.refused] == ["empty", "labels.csv"]


def test_new_rules_look_at_refused_files_again(
    folder: Path, pacs: FolderPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest.ingest(folder, pacs)
    monkeypatch.setattr(doctor, "VERSION", 2)

    report = ingest.ingest(folder, pacs)

    assert (report.stored, report.present, len(report.refused)) == (0, 7, 3)


def test_a_lost_index_costs_nothing_but_time(folder: Path, pacs: FolderPacs) -> None:
    ingest.ingest(folder, pacs)
    for path in pacs.folder.glob("index.sqlite*"):
        path.unlink()

    again = FolderPacs(pacs.folder)

    report = ingest.ingest(folder, again)
    assert (report.stored, report.present) == (0, 7)
    assert again.find_by_original("patient1/4.dcm").patient_id == "SYN-0004"


def test_files_are_found_by_the_name_they_came_with(folder: Path, pacs: FolderPacs) -> None:
    (folder / "patient1" / "0.dcm").write_bytes(synth.draw(9, size=SIZE)[0])
    ingest.ingest(folder, pacs)

    found = pacs.find_by_original("patient1/4.dcm")

    assert pacs.find_by_original("4.dcm") == found
    assert pacs.original_path(found) == "patient1/4.dcm"
    assert pacs.find_by_original("copy.dcm") == pacs.find_by_original("patient0/0.dcm")
    with pytest.raises(PacsError, match=r"several ingested files are called '0\.dcm'"):
        pacs.find_by_original("0.dcm")
    with pytest.raises(PacsError, match=r"no ingested file is called 'labels\.csv'"):
        pacs.find_by_original("labels.csv")


def test_several_processes_say_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index % 35, size=SIZE)[0])
    (folder / "x").write_text("no")
    one, two = FolderPacs(tmp_path / "one"), FolderPacs(tmp_path / "two")

    reports = [ingest.ingest(folder, one, workers=1), ingest.ingest(folder, two, workers=2)]

    assert reports[0] == reports[1] == ingest.Report(35, 5, (("x", "not a DICOM file"),))
    assert list(one.search()) == list(two.search())
    assert not list((two.folder / "incoming").iterdir())


KILLED = """
import sys
from pathlib import Path
from cxr.pacs import ingest
from cxr.pacs.folder import FolderPacs
if __name__ == "__main__":
    ingest.ingest(Path(sys.argv[1]), FolderPacs(Path(sys.argv[2])), workers=1)
"""


def test_a_killed_ingest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index, size=SIZE)[0])
    (tmp_path / "run.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "run.py"), str(folder), str(tmp_path / "pacs")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while len(list((tmp_path / "pacs").rglob("*.dcm"))) < 10 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    pacs = FolderPacs(tmp_path / "pacs")
    before = pacs.count()

    report = ingest.ingest(folder, pacs)

    assert 10 <= before <= 60
    assert (report.stored, report.present, report.refused) == (60 - before, before, ())
    assert pacs.count() == 60


def test_a_crashed_worker_loses_nothing(tmp_path: Path, pacs: FolderPacs) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index)[0])
    reports: list[ingest.Report] = []
    ingesting = threading.Thread(
        target=lambda: reports.append(ingest.ingest(folder, pacs, workers=2))
    )

    ingesting.start()
    while ingesting.is_alive() and not (pacs.count() and multiprocessing.active_children()):
        time.sleep(0.002)
    for child in multiprocessing.active_children():
        child.kill()
    ingesting.join(60)

    assert reports == [ingest.Report(40, 0, ())]


def test_links_in_a_circle_end(folder: Path, pacs: FolderPacs) -> None:
    (folder / "patient0" / "up").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "gone")
    (folder / "linked.dcm").symlink_to(folder / "patient1" / "4.dcm")

    report = ingest.ingest(folder, pacs)

    assert (report.stored, report.present) == (6, 2)
    assert dict(report.refused)["nowhere"] == "cannot be read: No such file or directory"


def test_a_pipe_is_not_waited_for(folder: Path, pacs: FolderPacs) -> None:
    os.mkfifo(folder / "pipe")
    assert dict(ingest.ingest(folder, pacs).refused)["pipe"] == "not a regular file"


def test_names_need_not_be_utf8(folder: Path, pacs: FolderPacs) -> None:
    name = os.fsdecode(b"M\xfcller.dcm")
    (folder / name).write_bytes(synth.draw(9, size=SIZE)[0])

    assert ingest.ingest(folder, pacs).stored == 7
    assert pacs.find_by_original("M\\xfcller.dcm")


def test_its_own_files_are_not_ingested(folder: Path) -> None:
    pacs = FolderPacs(folder / "var" / "pacs")
    ingest.ingest(folder, pacs)

    report = ingest.ingest(folder, pacs)

    assert (report.stored, report.present, len(report.refused)) == (0, 7, 3)


def test_of_two_files_with_one_uid_the_first_comes_in(folder: Path, pacs: FolderPacs) -> None:
    file = synth.draw(0, size=SIZE)[0]
    (folder / "patient0" / "twin.dcm").write_bytes(file.replace(b"CHEST ", b"THORAX"[:6]))

    report = ingest.ingest(folder, pacs)

    assert "with other content" in dict(report.refused)["patient0/twin.dcm"]
    assert ingest.ingest(folder, pacs).refused == report.refused


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_files_is_an_error(tmp_path: Path, pacs: FolderPacs, there: bool) -> None:
    if there:
        (tmp_path / "nothing").mkdir()
    with pytest.raises(PacsError, match="nothing: expected a folder of DICOM files, met"):
        ingest.ingest(tmp_path / "nothing", pacs)


def test_refused_files_are_written_down(folder: Path, pacs: FolderPacs, tmp_path: Path) -> None:
    report = ingest.ingest(folder, pacs)

    path = ingest.write_refused(tmp_path / "new" / "refused.csv", report)

    with path.open(newline="") as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == list(report.refused)


@pytest.mark.real
def test_the_samples_come_in_as_expected(shared: Path, pacs: FolderPacs) -> None:
    report = ingest.ingest(shared / "dicom-samples", pacs)

    stored = {pacs.original_path(instance) for instance in pacs.search()}
    assert stored == {"RG1_J2KI.dcm", "chest_pa_jpeg_baseline.dcm"}
    assert (report.stored, len(report.refused)) == (2, 13)
    twin = dict(report.refused)["chest_pa_jpeg_baseline_mono1.dcm"]
    assert twin.endswith("is here already, with other content")


@pytest.mark.real
@pytest.mark.slow
def test_all_nih_files_come_in(shared: Path, pacs: FolderPacs) -> None:
    report = ingest.ingest(shared / "nih-cxr" / "dicom", pacs, workers=2)

    assert (report.stored, report.refused) == (519, ())
    with (shared / "nih-cxr" / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found = pacs.find_by_original(row["file"])
            assert found.sop_instance_uid == row["sop_instance_uid"]
            assert (found.patient_id, found.view) == (row["patient_id"], "frontal")
            assert (found.sex, found.age_years) == (row["sex"], float(row["age"]))
