"""Synthetic radiographs in a PACS: whatever was lost, the next run makes up for it."""

import contextlib
import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.errors import PacsError
from cxr.images import synth
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

SIZE = (64, 56)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[FolderPacs]:
    with FolderPacs(tmp_path / "pacs") as made:
        yield made


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "synthetic" / "truth.csv"


def draw(
    pacs: FolderPacs, truth: Path, images: int, seed: int = 7, size: tuple[int, int] = SIZE
) -> int:
    return synthetic.draw_into(pacs, truth, images=images, seed=seed, size=size)


def rows(truth: Path) -> list[dict[str, str]]:
    with truth.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_list_says_what_was_drawn(pacs: FolderPacs, truth: Path) -> None:
    assert draw(pacs, truth, 5) == 5

    found = rows(truth)
    assert [row["index"] for row in found] == ["0", "1", "2", "3", "4"]
    for index, row in enumerate(found):
        assert pacs.find(row["source"]).sop_instance_uid == row["sop_instance_uid"]
        _, states = synth.draw(index, seed=7, size=SIZE)
        assert all((row[n] == "1") == (states[n].value == "present") for n in synth.FINDINGS)


def test_only_what_is_missing_is_drawn(pacs: FolderPacs, truth: Path) -> None:
    assert [draw(pacs, truth, images) for images in (3, 5, 5, 2)] == [3, 2, 0, 0]
    assert pacs.count() == len(rows(truth)) == 5


def test_a_lost_pacs_is_filled_again(tmp_path: Path, truth: Path) -> None:
    with FolderPacs(tmp_path / "pacs") as pacs:
        draw(pacs, truth, 4)
        before = list(pacs.search())
    shutil.rmtree(pacs.folder)

    with FolderPacs(tmp_path / "pacs") as again:
        assert draw(again, truth, 4) == 4
        assert list(again.search()) == before
    assert len(rows(truth)) == 4


def test_another_pacs_is_filled_too(tmp_path: Path, pacs: FolderPacs, truth: Path) -> None:
    draw(pacs, truth, 4)

    with FolderPacs(tmp_path / "other") as other:
        assert draw(other, truth, 3) == 3
        assert other.count() == 3
    assert len(rows(truth)) == 4


def test_a_lost_list_is_written_again(pacs: FolderPacs, truth: Path) -> None:
    draw(pacs, truth, 4)
    before = truth.read_bytes()
    truth.unlink()

    assert draw(pacs, truth, 4) == 4
    assert truth.read_bytes() == before
    assert pacs.count() == 4


def test_another_size_is_drawn_beside(pacs: FolderPacs, truth: Path) -> None:
    draw(pacs, truth, 3)

    assert draw(pacs, truth, 3, size=(96, 84)) == 3
    assert [len(list(pacs.search(Rows=n))) for n in (64, 96)] == [3, 3]
    assert [draw(pacs, truth, 3, size=size) for size in (SIZE, (96, 84))] == [0, 0]
    assert len({row["source"] for row in rows(truth)}) == 6


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_finds_its_own_images(pacs: FolderPacs, truth: Path, seed: int) -> None:
    for other in (seed, 70, 1):
        draw(pacs, truth, 2, seed=other)

    assert len(list(pacs.search(PatientID=f"SYN{seed}-*"))) == 2
    assert draw(pacs, truth, 2, seed=seed) == 0


@pytest.mark.parametrize("cut", [1, 2, 5, 60])
def test_a_line_torn_by_a_crash_is_written_again(pacs: FolderPacs, truth: Path, cut: int) -> None:
    draw(pacs, truth, 3)
    whole = truth.read_bytes()
    truth.write_bytes(whole[:-cut])
    sources = [row["source"] for row in csv.DictReader(whole.decode().splitlines())]

    assert synthetic.is_drawn(truth, sources[:2])
    assert not synthetic.is_drawn(truth, sources)
    assert draw(pacs, truth, 3) == 1
    assert truth.read_bytes() == whole


def test_a_torn_heading_is_written_again(pacs: FolderPacs, truth: Path) -> None:
    truth.parent.mkdir()
    truth.write_bytes(b"source,sop_insta")

    assert draw(pacs, truth, 2) == 2
    assert len(rows(truth)) == 2


KILLED = """
import sys
from pathlib import Path
from cxr.images import synth
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs
class Announcing(FolderPacs):
    def store(self, dicom):
        print(flush=True)
        return super().store(dicom)
pacs = Announcing(Path(sys.argv[1]))
synthetic.draw_into(pacs, Path(sys.argv[2]), images=10_000, seed=7, size=(64, 56))
"""


def test_what_was_stored_before_a_kill_stands_in_the_list(tmp_path: Path, truth: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "pacs"), str(truth)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in range(10):  # the tenth is announced, so nine were stored and listed
            process.stdout.readline()
        process.kill()

    with FolderPacs(tmp_path / "pacs") as pacs:
        listed = truth.read_bytes().count(b"\n") - 1
        assert 9 <= listed <= pacs.count() <= listed + 1
        draw(pacs, truth, pacs.count() + 2)
        assert {row["source"] for row in rows(truth)} == {i.orthanc_id for i in pacs.search()}


def test_two_processes_at_once_draw_each_image_once(tmp_path: Path, truth: Path) -> None:
    program = KILLED.replace("10_000", "12")
    command = [sys.executable, "-c", program, str(tmp_path / "pacs"), str(truth)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    stored = sum(process.communicate(timeout=60)[0].count(b"\n") for process in both)

    assert [process.returncode for process in both] == [0, 0]
    assert stored == len(rows(truth)) == 12


HEAD = ",".join(["source", "sop_instance_uid", "seed", "index", *synth.FINDINGS]).encode()
GOOD = b"a,1,7,0" + b",0" * len(synth.FINDINGS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", r"truth\.csv:1: expected the columns .* met \['a', 'b'\]"),
        (HEAD + b"\na,1,7\n", r"truth\.csv:2: expected 17 values, met 3"),
        (HEAD + b"\n" + GOOD + b"\n\n" + GOOD + b"\n", r"truth\.csv:3: expected 17 values, met 0"),
        (HEAD + b"\n" + GOOD.replace(b",7,", b",x,") + b"\n", r"truth\.csv:2: .* met 'x'"),
        (HEAD + b"\n" + GOOD.replace(b"7,0,", b"7,,") + b"\n", r"truth\.csv:2: .* index, met ''"),
        (HEAD + b"\n" + GOOD[:-1] + b"2\n", r"truth\.csv:2: expected 1 or 0 .* met '2'"),
        (HEAD + b"\n" + GOOD + b"\n\xff\xfe\n", r"truth\.csv:3: expected text, met byte"),
    ],
)
def test_a_file_that_is_no_such_list_is_named_and_kept(
    pacs: FolderPacs, truth: Path, content: bytes, message: str
) -> None:
    truth.parent.mkdir()
    truth.write_bytes(content)

    with pytest.raises(PacsError, match=message):
        draw(pacs, truth, 2)
    with pytest.raises(PacsError, match=message):
        synthetic.is_drawn(truth, ["a"])

    assert truth.read_bytes() == content
    assert pacs.count() == 0


def test_a_list_that_cannot_be_opened_is_named(pacs: FolderPacs, truth: Path) -> None:
    truth.mkdir(parents=True)

    with pytest.raises(PacsError, match=r"truth\.csv: cannot be written: Is a directory"):
        draw(pacs, truth, 1)
    with pytest.raises(PacsError, match=r"truth\.csv: cannot be read: Is a directory"):
        synthetic.is_drawn(truth, ["a"])


def test_without_a_list_nothing_is_drawn(truth: Path) -> None:
    assert not synthetic.is_drawn(truth, ["a"])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path: Path, junk: bytes, begun: bool) -> None:
    (tmp_path / "any.csv").write_bytes((HEAD + b"\n" + GOOD + b"\n" if begun else b"") + junk)
    with contextlib.suppress(PacsError):
        assert not synthetic.is_drawn(tmp_path / "any.csv", ["b"])
