"""Ingest: good files in, the others listed; again, and nothing happens."""

import csv
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingesting import Ingested, ingest

from cxr.errors import PacsError
from cxr.images import dicom, doctor, synth
from cxr.pacs.folder import FolderPacs

SIZE = (64, 56)
NOBODY = 65534


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
def pacs(tmp_path: Path) -> Iterator[FolderPacs]:
    with FolderPacs(tmp_path / "pacs") as made:
        yield made


def test_every_file_is_accounted_for(folder: Path, pacs: FolderPacs) -> None:
    report = ingest(folder, pacs)

    assert (report.stored, report.present) == (6, 1)
    assert [path for path, _ in report.refused] == ["empty", "labels.csv", "patient0/cut.dcm"]
    reasons = dict(report.refused)
    assert reasons["empty"] == "is empty"
    assert reasons["labels.csv"] == "not a DICOM file"
    assert "less than expected" in reasons["patient0/cut.dcm"]
    assert pacs.count() == 6


def test_again_nothing_is_even_read(folder: Path, pacs: FolderPacs) -> None:
    first = ingest(folder, pacs)
    for path in folder.rglob("*"):
        if path.is_file():
            before = path.stat()
            path.write_bytes(b"x" * before.st_size)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with FolderPacs(pacs.folder) as reopened:
        again = ingest(folder, reopened)

    assert (again.stored, again.present) == (0, 7)
    assert again.refused == first.refused


def test_only_what_changed_is_looked_at(folder: Path, pacs: FolderPacs) -> None:
    ingest(folder, pacs)
    (folder / "patient0" / "cut.dcm").write_bytes(synth.draw(7, size=SIZE)[0])
    (folder / "new.dcm").write_bytes(synth.draw(8, size=SIZE)[0])

    report = ingest(folder, pacs)

    assert (report.stored, report.present) == (2, 7)
    assert [path for path, _ in report.refused] == ["empty", "labels.csv"]


def test_new_rules_look_at_refused_files_again(
    folder: Path, pacs: FolderPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(folder, pacs)
    monkeypatch.setattr(doctor, "VERSION", doctor.VERSION + 1)

    report = ingest(folder, pacs)

    assert (report.stored, report.present, len(report.refused)) == (0, 7, 3)


def test_a_lost_index_costs_nothing_but_time(folder: Path, pacs: FolderPacs) -> None:
    ingest(folder, pacs)
    pacs.close()
    for path in pacs.folder.glob("index.sqlite*"):
        path.unlink()

    with FolderPacs(pacs.folder) as again:
        report = ingest(folder, again)

    assert (report.stored, report.present) == (0, 7)
    assert again.find(came_as(again)["patient1/4.dcm"]).patient_id == "SYN0-0004"


def came_as(pacs: FolderPacs) -> dict[str, str]:
    """Path below the ingested folder → Orthanc ID."""
    return {origin.path: origin.orthanc_id for origin in pacs.origins()}


def test_every_file_that_came_in_is_named_with_its_image(folder: Path, pacs: FolderPacs) -> None:
    ingest(folder, pacs)

    named = came_as(pacs)

    at = folder / "patient1" / "4.dcm"
    assert pacs.find(named["patient1/4.dcm"]) == dicom.identify(at)
    copy = next(path for path in named if path.endswith("copy.dcm"))
    assert named[copy] == named["patient0/0.dcm"]
    assert not [path for path in named if path.endswith("labels.csv")]


def test_several_processes_say_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index % 35, size=SIZE)[0])
    (folder / "x").write_text("no")
    with FolderPacs(tmp_path / "one") as one, FolderPacs(tmp_path / "two") as two:
        reports = [ingest(folder, one, workers=1), ingest(folder, two, workers=2)]

        assert reports[0] == reports[1] == Ingested(35, 5, (("x", "not a DICOM file"),))
        assert list(one.search()) == list(two.search())
        assert not list((two.folder / "incoming").iterdir())


KILLED = """
import sys
from pathlib import Path
from ingesting import ingest
from cxr.pacs.folder import FolderPacs
if __name__ == "__main__":
    ingest(Path(sys.argv[1]), FolderPacs(Path(sys.argv[2])), workers=1)
"""


def test_a_killed_ingest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index, size=SIZE)[0])
    (tmp_path / "run.py").write_text(KILLED)
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "run.py"), str(folder), str(tmp_path / "pacs")]
    with subprocess.Popen(command, env=there, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while len(list((tmp_path / "pacs").rglob("*.dcm"))) < 10 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    with FolderPacs(tmp_path / "pacs") as pacs:
        before = pacs.count()

        report = ingest(folder, pacs)

        assert 10 <= before <= 60
        assert (report.stored, report.present, report.refused) == (60 - before, before, ())
        assert pacs.count() == 60


def test_a_crashed_worker_loses_nothing(tmp_path: Path, pacs: FolderPacs) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02}.dcm").write_bytes(synth.draw(index)[0])
    reports: list[ingest.Report] = []
    ingesting = threading.Thread(target=lambda: reports.append(ingest(folder, pacs, workers=2)))

    ingesting.start()
    while ingesting.is_alive() and not (pacs.count() and multiprocessing.active_children()):
        time.sleep(0.002)
    for child in multiprocessing.active_children():
        child.kill()
    ingesting.join(60)

    assert reports == [Ingested(40, 0, ())]


def test_links_in_a_circle_end(folder: Path, pacs: FolderPacs) -> None:
    (folder / "patient0" / "up").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "gone")
    (folder / "linked.dcm").symlink_to(folder / "patient1" / "4.dcm")

    report = ingest(folder, pacs)

    assert (report.stored, report.present) == (6, 2)
    assert dict(report.refused)["nowhere"] == "cannot be read: No such file or directory"


def test_a_pipe_is_not_waited_for(folder: Path, pacs: FolderPacs) -> None:
    os.mkfifo(folder / "pipe")
    assert dict(ingest(folder, pacs).refused)["pipe"] == "not a regular file"


def test_names_need_not_be_utf8(folder: Path, pacs: FolderPacs) -> None:
    name = os.fsdecode(b"M\xfcller.dcm")
    (folder / name).write_bytes(synth.draw(9, size=SIZE)[0])

    assert ingest(folder, pacs).stored == 7
    assert [p for p in came_as(pacs) if p.endswith("M\\xfcller.dcm")]


def test_its_own_files_are_not_ingested(folder: Path) -> None:
    with FolderPacs(folder / "var" / "pacs") as pacs:
        ingest(folder, pacs)

        report = ingest(folder, pacs)

    assert (report.stored, report.present, len(report.refused)) == (0, 7, 3)


def test_of_two_files_with_one_uid_the_first_comes_in(folder: Path, pacs: FolderPacs) -> None:
    file = synth.draw(0, size=SIZE)[0]
    (folder / "patient0" / "twin.dcm").write_bytes(file.replace(b"CHEST ", b"THORAX"[:6]))

    report = ingest(folder, pacs)

    reason = dict(report.refused)["patient0/twin.dcm"]
    assert reason == "the SOPInstanceUID of copy.dcm, with other content"
    assert ingest(folder, pacs).refused == report.refused


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_files_is_an_error(tmp_path: Path, pacs: FolderPacs, there: bool) -> None:
    if there:
        (tmp_path / "nothing").mkdir()
    with pytest.raises(PacsError, match="nothing: expected a folder of DICOM files, met"):
        ingest(tmp_path / "nothing", pacs)


def test_a_file_for_a_folder_is_an_error(folder: Path, pacs: FolderPacs) -> None:
    with pytest.raises(PacsError, match=r"labels\.csv: expected a folder .*, met a file; give"):
        ingest(folder / "labels.csv", pacs)


@pytest.mark.parametrize("name", ["nul\0nul", "x" * 300])
def test_a_folder_that_cannot_be_named_is_an_error(
    tmp_path: Path, pacs: FolderPacs, name: str
) -> None:
    with pytest.raises(PacsError, match=r"a folder .*, met one that cannot be read: "):
        ingest(tmp_path / name, pacs)


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of a user whom permissions hold back, which root is not; this process is her."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_what_must_not_be_read_is_listed(nobodys: Path) -> None:
    for name in ("good", "closed_file", "closed/inside"):
        path = nobodys / "in" / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(synth.draw(len(name), size=SIZE)[0])
    (nobodys / "in" / "closed_file.dcm").chmod(0)
    (nobodys / "in" / "into").symlink_to(nobodys / "in" / "closed" / "inside.dcm")
    (nobodys / "in" / "closed").chmod(0)

    with FolderPacs(nobodys / "pacs") as pacs:
        report = ingest(nobodys / "in", pacs)
        (nobodys / "in" / "closed").chmod(0o700)
        (nobodys / "in" / "closed_file.dcm").chmod(0o600)
        again = ingest(nobodys / "in", pacs)

    assert report.stored == 1
    denied = "cannot be read: Permission denied"
    assert report.refused == (("closed", denied), ("closed_file.dcm", denied), ("into", denied))
    assert (again.stored, again.present, again.refused) == (2, 2, ())


def test_a_folder_that_must_not_be_read_is_an_error(nobodys: Path) -> None:
    (nobodys / "in" / "below").mkdir(parents=True)
    (nobodys / "in").chmod(0)

    with FolderPacs(nobodys / "pacs") as pacs:
        for folder in ("in", "in/below"):
            with pytest.raises(PacsError, match="met one that cannot be read: Permission denied"):
                ingest(nobodys / folder, pacs)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that never reads")
def test_a_disk_that_does_not_answer_costs_one_file(folder: Path, pacs: FolderPacs) -> None:
    (folder / "broken.dcm").symlink_to("/proc/self/mem")

    report = ingest(folder, pacs)

    assert report.stored == 6
    assert dict(report.refused)["broken.dcm"] == "cannot be read: Input/output error"


def test_a_link_to_itself_is_listed(folder: Path, pacs: FolderPacs) -> None:
    (folder / "self").symlink_to(folder / "self")

    reason = dict(ingest(folder, pacs).refused)["self"]
    assert reason == "cannot be read: Too many levels of symbolic links"


def test_the_folder_may_have_any_name(tmp_path: Path, pacs: FolderPacs) -> None:
    folder = tmp_path / os.fsdecode(b"M\xfcller \xf0\x9f\xa9\xbb\n")
    folder.mkdir()
    (folder / "e\u0301.dcm").write_bytes(synth.draw(0, size=SIZE)[0])

    reports = [ingest(folder, pacs) for _ in range(2)]

    assert [(r.stored, r.present) for r in reports] == [(1, 0), (0, 1)]
    assert [p for p in came_as(pacs) if p.endswith("e\u0301.dcm")]


def command(*overrides: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "cxr.ingest", *overrides],
        env={**os.environ, "CXR_ROOT": str(root), **environment},
        capture_output=True, text=True, errors="backslashreplace", check=False, timeout=60,
    )  # fmt: skip


def test_the_command_reports_every_refused_file(folder: Path, tmp_path: Path) -> None:
    odd = ["two\nlines", "red\x1b[31m", "\u202egnp", os.fsdecode(b"M\xfcller"), "\N{SKULL}"]
    for name in odd:
        (folder / name).write_bytes(b"junk")

    done = command(f"folder={folder}", root=tmp_path / "root", PYTHONIOENCODING="latin-1")

    assert (done.returncode, done.stderr.strip()) == (0, "")
    first, *_, csv_path, html_path, held, following = done.stdout.splitlines()
    assert first == "6 stored, 1 there already, 8 refused, 0 with warnings"
    with Path(csv_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows if row["severity"] == "error"} == {
        "empty", "labels.csv", "patient0/cut.dcm", "two\nlines", "red\x1b[31m", "\u202egnp",
        "M\\xfcller", "\N{SKULL}",
    }  # fmt: skip
    assert Path(csv_path) == tmp_path / "root" / "ingest" / "report.csv"
    assert Path(html_path).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Path(csv_path).stat().st_mode & 0o777 == Path(html_path).stat().st_mode & 0o777 == 0o600
    assert held.startswith("6 images in ")
    assert following.startswith("next: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "met none"), ("file", "met a file; give the folder it is in")],
)
def test_the_command_says_in_one_line_what_is_no_folder(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"")

    done = command(f"folder={tmp_path / name}", root=tmp_path / "root")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"{tmp_path / name}: expected a folder of DICOM files, {message}\n"


def test_the_command_draws_again_what_was_lost(tmp_path: Path) -> None:
    wanted = ["synthetic={images: 3, seed: 0, rows: 64, columns: 64}"]
    first = command(*wanted, root=tmp_path)
    shutil.rmtree(tmp_path / "pacs")

    again = command(*wanted, root=tmp_path)

    for done in (first, again):
        assert (done.returncode, done.stderr.strip()) == (0, "")
        assert done.stdout.startswith("3 synthetic radiographs drawn, 3 images in ")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_only_the_cores_it_may_use_are_counted() -> None:
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    program += "from cxr import ingest; print(ingest._cores())"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"1\n"


@pytest.mark.real
def test_the_samples_come_in_as_expected(shared: Path, pacs: FolderPacs) -> None:
    report = ingest(shared / "dicom-samples", pacs)

    found = [came_as(pacs)[n] for n in ("RG1_J2KI.dcm", "chest_pa_jpeg_baseline.dcm")]
    assert {i.orthanc_id for i in pacs.search()} == set(found)
    assert (report.stored, len(report.refused)) == (2, 13)
    twin = dict(report.refused)["chest_pa_jpeg_baseline_mono1.dcm"]
    assert twin == "the SOPInstanceUID of chest_pa_jpeg_baseline.dcm, with other content"


@pytest.mark.real
@pytest.mark.slow
def test_all_nih_files_come_in(shared: Path, pacs: FolderPacs) -> None:
    report = ingest(shared / "nih-cxr" / "dicom", pacs, workers=2)

    assert (report.stored, report.refused) == (519, ())
    named = came_as(pacs)
    with (shared / "nih-cxr" / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found = pacs.find(named[row["file"]])
            assert found.sop_instance_uid == row["sop_instance_uid"]
            assert (found.patient_id, found.view) == (row["patient_id"], "frontal")
            assert (found.sex, found.age_years) == (row["sex"], float(row["age"]))
