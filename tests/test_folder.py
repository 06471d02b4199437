"""A folder as a PACS: what is stored is found, and nothing else."""

import contextlib
import hashlib
import io
import os
import pickle
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract import signing
from cxr.errors import DicomError, DuplicateError, PacsError
from cxr.images import dicom, synth
from cxr.images.dicom import Instance
from cxr.pacs import Pacs, matching
from cxr.pacs.folder import FolderPacs

KEYS = signing.keys_from_text(signing.new_keys())
SIZE = (64, 56)


def drawn(index: int, **attributes: str) -> bytes:
    """A synthetic radiograph, some of its attributes changed."""
    file, _ = synth.draw(index, size=SIZE)
    if not attributes:
        return file
    ds = pydicom.dcmread(io.BytesIO(file))
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    changed = io.BytesIO()
    ds.save_as(changed, enforce_file_format=True)
    return changed.getvalue()


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[FolderPacs]:
    with FolderPacs(tmp_path / "pacs", keys=KEYS, url="http://127.0.0.1:1/pacs/") as made:
        yield made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderPacs]:
    with FolderPacs(tmp_path_factory.mktemp("filled")) as made:
        for index in range(30):
            made.store(drawn(index))
        made.store(drawn(40, PatientID="Müller*[1]", PatientName="Müller^Jörg", StudyDate=""))
        yield made


def test_it_is_a_pacs(pacs: FolderPacs) -> None:
    typed: Pacs = pacs
    assert typed.store(drawn(0)).patient_id == "SYN0-0001"


def test_what_comes_out_is_what_went_in(pacs: FolderPacs) -> None:
    file = drawn(0)

    instance = pacs.store(file)

    assert pacs.retrieve(instance) == file
    assert list(pacs.search()) == [instance]
    assert instance == dicom.identify(file)
    assert pacs.find(instance.orthanc_id) == pacs.find(instance.sop_instance_uid) == instance
    assert pacs.path(instance).name == f"{instance.orthanc_id}.dcm"
    assert pacs.count() == 1


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_read_whatever_the_umask(loose_umask: None, tmp_path: Path) -> None:
    with FolderPacs(tmp_path / "pacs") as pacs:
        instance = pacs.store(drawn(0))
        modes = {path: _mode(path) for path in pacs.folder.rglob("*")}

    assert _mode(pacs.folder) == 0o700
    files = ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]
    assert [modes[pacs.folder / name] for name in files] == [0o600] * 3
    assert modes[pacs.path(instance)] == 0o600
    assert all(mode & 0o077 == 0 for mode in modes.values())


def test_what_others_could_read_is_closed_to_them(loose_umask: None, pacs: FolderPacs) -> None:
    pacs.store(drawn(0))
    files = list(pacs.folder.glob("index.sqlite*"))
    for path in files:
        path.chmod(0o666)
    pacs.folder.chmod(0o755)

    with FolderPacs(pacs.folder):
        assert len(files) == 3
        assert [_mode(path) for path in (pacs.folder, *files)] == [0o700, 0o600, 0o600, 0o600]


def _open_files(folder: Path) -> list[str]:
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own
            links.append(str(link.readlink()))
    return [link for link in links if link.startswith(str(folder))]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_closed_it_holds_no_file_open_whichever_threads_used_it(tmp_path: Path) -> None:
    with FolderPacs(tmp_path) as pacs:
        waiting = threading.Barrier(4)

        def use(index: int) -> None:
            pacs.store(drawn(index))
            waiting.wait(10)  # all four are alive, and have used it
            next(pacs.search())

        threads = [threading.Thread(target=use, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _open_files(tmp_path)

    assert _open_files(tmp_path) == []
    assert pacs.count() == 4
    assert _open_files(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_threads_that_come_and_go_leave_no_files_open(pacs: FolderPacs) -> None:
    pacs.store(drawn(0))
    before = len(_open_files(pacs.folder))

    for _ in range(20):
        thread = threading.Thread(target=pacs.count)
        thread.start()
        thread.join()

    assert len(_open_files(pacs.folder)) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_stream_outlives_the_closing(tmp_path: Path) -> None:
    with FolderPacs(tmp_path) as pacs:
        for index in range(3):
            pacs.store(drawn(index))
        stream = pacs.search()
        next(stream)

    assert len(list(stream)) == 2
    assert _open_files(tmp_path) == []


def test_others_wait_for_a_writer_however_many_threads(pacs: FolderPacs) -> None:
    order: list[str] = []

    def other() -> None:
        with pacs.index.alone():
            order.append("other")

    with pacs.index.alone():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)

    assert order == ["first", "other"]


def test_what_fails_alone_leaves_nothing_behind(pacs: FolderPacs) -> None:
    def change_ones_mind() -> None:
        with pacs.index.alone():
            pacs.index.add({"orthanc_id": "x", "SOPInstanceUID": "1"})
            raise KeyError("changed my mind")

    with pytest.raises(KeyError, match="changed my mind"):
        change_ones_mind()

    assert pacs.count() == 0


@pytest.mark.parametrize(("said", "expected"), [("YES", True), ("NO", False), ("", None)])
def test_the_index_keeps_what_is_said_of_burned_in_text(
    pacs: FolderPacs, said: str, expected: bool | None
) -> None:
    instance = pacs.store(drawn(0, BurnedInAnnotation=said))

    assert instance.burned_in is expected
    assert list(pacs.search()) == [instance]
    assert pacs.find(instance.orthanc_id).burned_in is expected


def test_an_index_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    with FolderPacs(tmp_path / "pacs") as pacs:
        said = ("YES", "NO", "", "no")
        stored = [pacs.store(drawn(i, BurnedInAnnotation=text)) for i, text in enumerate(said)]
        pacs.index.remember("in", [("a/0.dcm", "stamp", stored[0].orthanc_id, "")])
    with contextlib.closing(sqlite3.connect(tmp_path / "pacs" / "index.sqlite")) as old:
        old.execute("UPDATE instances SET burned_in = (upper(BurnedInAnnotation) = 'YES')")
        old.execute("CREATE INDEX by_instance ON ingested (orthanc_id)")
        old.execute("PRAGMA user_version = 1")
        old.commit()

    with FolderPacs(tmp_path / "pacs") as again:
        assert [again.find(i.orthanc_id) for i in stored] == stored
        named = {origin.path: origin.orthanc_id for origin in again.origins()}
        assert named["a/0.dcm"] == stored[0].orthanc_id
        assert [row[0] for row in again.index.rows("PRAGMA user_version")] == [2]
    assert [instance.burned_in for instance in stored] == [True, False, None, False]


def test_the_same_bytes_again_change_nothing(pacs: FolderPacs) -> None:
    first = pacs.store(drawn(0))
    written = pacs.path(first).stat().st_mtime_ns

    assert pacs.store(drawn(0)) == first
    assert pacs.count() == 1
    assert pacs.path(first).stat().st_mtime_ns == written


@pytest.mark.parametrize("change", [{"BodyPartExamined": "LUNG"}, {"PatientID": "other"}])
def test_another_file_with_the_same_uid_is_refused(
    pacs: FolderPacs, change: dict[str, str]
) -> None:
    first = pacs.store(drawn(0))

    with pytest.raises(DuplicateError, match="here already, with other content"):
        pacs.store(drawn(0, **change))

    assert list(pacs.search()) == [first]
    assert pacs.retrieve(first) == drawn(0)
    assert not list((pacs.folder / "incoming").iterdir())


def test_of_many_writers_with_one_uid_the_first_wins(pacs: FolderPacs) -> None:
    files = [drawn(0, PatientComments=f"{n}") for n in range(6)] + [drawn(n) for n in range(1, 9)]
    outcomes: list[object] = []

    def write(file: bytes) -> None:
        try:
            outcomes.append(pacs.store(file))
        except DuplicateError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=write, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(outcome, DuplicateError) for outcome in outcomes) == 5
    assert pacs.count() == 9
    for instance in pacs.search():
        assert pacs.hashes(instance)[0] == hashlib.sha256(pacs.retrieve(instance)).hexdigest()


def test_junk_is_not_stored(pacs: FolderPacs) -> None:
    with pytest.raises(DicomError, match="not a DICOM file"):
        pacs.store(b"PK\3\4 something else")
    assert pacs.count() == 0


def test_a_file_whose_writer_died_is_found_when_opened(pacs: FolderPacs) -> None:
    instance = pacs.store(drawn(0))
    other = dicom.identify(drawn(1))
    pacs.path(other).parent.mkdir(exist_ok=True)
    pacs.path(other).write_bytes(drawn(1))
    left = pacs.folder / "incoming" / "dead.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))

    with FolderPacs(pacs.folder) as again:
        assert set(again.search()) == {instance, other}
        assert again.scan() == 0
        assert not left.exists()


def test_a_deleted_index_is_made_anew(pacs: FolderPacs) -> None:
    instances = {pacs.store(drawn(index)) for index in range(3)}
    pacs.close()
    for path in pacs.folder.glob("index.sqlite*"):
        path.unlink()

    with FolderPacs(pacs.folder) as again:
        assert set(again.search()) == instances
        assert all(len(pixels) == 64 for _, pixels in map(again.hashes, instances))


KILLED = """
import sys
from pathlib import Path
from cxr.images import synth
from cxr.pacs.folder import FolderPacs
pacs = FolderPacs(Path(sys.argv[1]))
for index in range(10_000):
    instance = pacs.store(synth.draw(index, size=(64, 56))[0])
    print(instance.sop_instance_uid, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "pacs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        stored = [process.stdout.readline().strip() for _ in range(25)]
        process.kill()

    with FolderPacs(tmp_path / "pacs") as pacs:
        found = {instance.sop_instance_uid: instance for instance in pacs.search()}
        assert set(stored) <= set(found)
        assert all(dicom.identify(pacs.retrieve(item)) == item for item in found.values())


def test_it_travels_to_other_processes(pacs: FolderPacs) -> None:
    instance = pacs.store(drawn(0))

    with pickle.loads(pickle.dumps(pacs)) as there:
        assert there.count() == 1

    assert there.retrieve(instance) == pacs.retrieve(instance)
    assert there.image_url(instance, 60).startswith("http://127.0.0.1:1/pacs/instances/")


def test_image_urls_open_one_instance(pacs: FolderPacs) -> None:
    instance = pacs.store(drawn(0))

    url, token = pacs.image_url(instance, 60).split("?token=")

    assert url == f"http://127.0.0.1:1/pacs/instances/{instance.orthanc_id}/file"
    assert signing.opens(signing.verify(KEYS, token), f"i:{instance.orthanc_id}")


def test_without_keys_there_is_no_image_url(filled: FolderPacs) -> None:
    with pytest.raises(PacsError, match="expected token keys"):
        filled.image_url(next(filled.search()), 60)


@pytest.mark.parametrize("source", ["1.2.3", "a-b", ""])
def test_what_is_not_here_is_not_found(filled: FolderPacs, source: str) -> None:
    with pytest.raises(PacsError, match="no instance"):
        filled.find(source)


def test_a_file_that_is_gone_is_an_error(pacs: FolderPacs) -> None:
    instance = pacs.store(drawn(0))
    pacs.path(instance).unlink()

    with pytest.raises(PacsError, match="no file of instance"):
        pacs.retrieve(instance)

    assert pacs.store(drawn(0)) == instance
    assert pacs.retrieve(instance) == drawn(0)


def test_another_versions_index_is_not_touched(tmp_path: Path) -> None:
    with FolderPacs(tmp_path) as pacs:
        list(pacs.index.rows("PRAGMA user_version = 99"))

    with pytest.raises(PacsError, match=r"expected version 2, met 99; delete it"):
        FolderPacs(tmp_path)

    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as index:
        assert index.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PacsError, match="file/pacs"):
        FolderPacs(tmp_path / "file" / "pacs")


CASES: dict[str, list[object]] = {
    "PatientID": ["SYN0-0003", "SYN0-*", "SYN0-000?", "*", ["SYN0-0001", "SYN0-0003"], "syn-0003"],
    "Modality": [["CR", "DX"], "CR", "cr"],
    "StudyDate": ["20260101", "20260101-20260399", "-20260131", "20260701-"],
    "view": ["lateral", ["lateral", "frontal"], "unknown"],
    "ViewPosition": ["LL", "?P", "[PA]*"],
    "PatientSex": ["F", "X"],
    "Rows": [64, "64", 65],
}
FIELDS = {"PatientID": "patient_id", "PatientSex": "sex", "StudyDate": "study_date"}
FIELDS |= {"Modality": "modality", "ViewPosition": "view_position", "Rows": "rows", "view": "view"}


@pytest.mark.parametrize(("keyword", "value"), [(k, v) for k, vs in CASES.items() for v in vs])
def test_matching_agrees_with_plain_comparison(
    filled: FolderPacs, keyword: str, value: object
) -> None:
    expected = [
        instance
        for instance in filled.search()
        if _agrees(str(getattr(instance, FIELDS[keyword])), keyword, value)
    ]

    assert list(filled.search(**{keyword: value})) == expected


def _agrees(met: str, keyword: str, value: object) -> bool:
    if isinstance(value, list):
        return met in value
    text = str(value)
    if keyword == "StudyDate" and "-" in text:
        low, high = text.split("-")
        return bool(met) and (low or "0") <= met <= (high or "9")
    if set(text) & set("*?"):
        pattern = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, met) is not None
    return met == text


def test_names_are_matched_by_letter_not_by_byte(filled: FolderPacs) -> None:
    assert len(list(filled.search(PatientName="M?ller^J*"))) == 1


def test_brackets_mean_themselves_beside_wildcards(filled: FolderPacs) -> None:
    assert [i.patient_id for i in filled.search(PatientID="M?ller*[1]")] == ["Müller*[1]"]


def test_uid_lists(filled: FolderPacs) -> None:
    uids = [instance.sop_instance_uid for instance in filled.search(limit=3)]

    for value in (uids, ",".join(uids), "\\".join(uids)):
        assert [i.sop_instance_uid for i in filled.search(SOPInstanceUID=value)] == uids


def test_pages_make_up_the_whole(filled: FolderPacs) -> None:
    pages = [list(filled.search(limit=7, offset=start)) for start in range(0, 42, 7)]

    assert [len(page) for page in pages] == [7, 7, 7, 7, 3, 0]
    assert [instance for page in pages for instance in page] == list(filled.search())


def test_keys_are_anded(filled: FolderPacs) -> None:
    both = list(filled.search(PatientID="SYN0-*", view="lateral"))
    assert both == [i for i in filled.search() if i.view == "lateral"]


def test_an_answer_streams_while_others_write(pacs: FolderPacs) -> None:
    for index in range(4):
        pacs.store(drawn(index))
    stream = pacs.search()
    first = next(stream)

    pacs.store(drawn(5))
    rest: list[Instance] = []
    reader = threading.Thread(target=lambda: rest.extend(stream))
    reader.start()
    reader.join()

    assert len([first, *rest]) == 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"PatientId": "x"}, "cannot search by 'PatientId'; did you mean PatientID?"),
        ({"modality": "CR"}, "did you mean Modality?"),
        ({"Foo": "x"}, "known are PatientID"),
        ({"PatientID": ""}, "PatientID: expected a value to match, met ''"),
        ({"PatientID": None}, "expected a value to match, met None"),
        ({"Modality": []}, "met an empty list"),
        ({"StudyDate": "2026"}, "StudyDate: expected YYYYMMDD or YYYYMMDD-YYYYMMDD, met '2026'"),
        ({"StudyDate": "-"}, "met '-'"),
        ({"StudyTime": "noon"}, "expected HHMMSS"),
        ({"Rows": "many"}, "Rows: expected a whole number, met 'many'"),
        ({"limit": -1}, "limit: expected a whole number from 0 on, met -1"),
        ({"offset": "x"}, "offset: expected a whole number from 0 on, met 'x'"),
        ({"SOPInstanceUID": "1.2,"}, "SOPInstanceUID: expected a value to match, met ''"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_at_once(
    filled: FolderPacs, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(PacsError) as caught:
        filled.search(**keys)
    assert message in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from([*matching.ATTRIBUTES, "view"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        | st.integers()
        | st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=3),
        max_size=4,
    )
)
def test_any_question_is_answered_or_refused(filled: FolderPacs, keys: dict[str, object]) -> None:
    try:
        found = list(filled.search(**keys))
    except PacsError:
        return
    assert len(found) <= 31


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_an_exact_value_finds_only_itself(filled: FolderPacs, value: str) -> None:
    met = {instance.patient_id for instance in filled.search(PatientID=value)}
    assert set(value) & set("*?") or met <= {value}


def test_hashes_are_of_file_and_pixels(pacs: FolderPacs) -> None:
    one = pacs.store(drawn(0))
    relabelled = pacs.store(drawn(0, SOPInstanceUID="1.2.3", PatientID="other"))

    assert pacs.hashes(one)[1] == pacs.hashes(relabelled)[1] == dicom.pixel_hash(drawn(0))
    assert pacs.hashes(one)[0] != pacs.hashes(relabelled)[0]
