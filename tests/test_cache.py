"""The cache holds what a direct decode gives, and survives whatever stops a build."""

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr.errors import DataError, PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.learning import cache, decoding

SIZE = (24, 20)


def file(number: int, rows: int = 40, columns: int = 30) -> bytes:
    """A small CR image of noise."""
    rng = np.random.default_rng(number)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, f"1.2.{number + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = "1.3", "1.4", "PAT"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "CR", "MONOCHROME2", 1
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = rng.integers(256, size=(rows, columns), dtype=np.uint8).tobytes()
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def instance(number: int) -> Instance:
    return Instance("PAT", "1.3", "1.4", f"1.2.{number + 1}")


class Shelf:
    """A PACS that counts which files are asked of it; `n3=...` is the file of number 3."""

    def __init__(self, **other: bytes) -> None:
        self.asked: list[str] = []
        self._other = other

    def retrieve(self, wanted: Instance) -> bytes:
        self.asked.append(wanted.sop_instance_uid)
        return self.file(wanted)

    def digest(self, wanted: Instance) -> str:
        return "sha256:" + hashlib.sha256(self.file(wanted)).hexdigest()

    def file(self, wanted: Instance) -> bytes:
        number = int(wanted.sop_instance_uid.rpartition(".")[2]) - 1
        return self._other.get(f"n{number}") or file(number)


def build(folder: Path, numbers, shelf=None, **changed):
    shelf = shelf or Shelf()
    options = {"digest": shelf.digest, "image_size": SIZE, "workers": 1} | changed
    return cache.build(folder, [instance(n) for n in numbers], shelf.retrieve, **options)


def uids(numbers):
    return [instance(n).sop_instance_uid for n in numbers]


def holds(built, numbers) -> bool:
    images = built.images[built.rows(uids(numbers))]
    direct = [decoding.decode(file(n), image_size=SIZE) for n in numbers]
    return bool((images == np.stack(direct)).all())


def test_content_equals_a_direct_decode_in_the_order_asked(tmp_path):
    built = build(tmp_path, range(5))

    assert built.images.shape == (5, *SIZE)
    assert built.images[built.rows([])].shape == (0, *SIZE)
    assert holds(built, [3, 0, 4])


def test_decoding_processes_give_the_same(tmp_path):
    built = build(tmp_path, range(40), workers=2)

    assert holds(built, range(40))
    assert [entry.sop_instance_uid for entry in built.entries] == uids(range(40))


def test_what_is_cached_is_not_asked_for_again_and_more_is_added(tmp_path):
    build(tmp_path, range(3))
    shelf = Shelf()

    built = build(tmp_path, [1, 5, 2, 4, 5], shelf)

    assert shelf.asked == uids([5, 4])
    assert holds(built, [0, 1, 2, 4, 5])


def test_a_file_replaced_under_the_same_uid_is_decoded_again_and_back_again(tmp_path):
    before = build(tmp_path, range(3))
    replaced = Shelf(n1=file(8))

    after = build(tmp_path, range(3), replaced)
    again = build(tmp_path, range(3), Shelf(n1=file(8)))
    back = build(tmp_path, range(3))

    assert replaced.asked == uids([1])
    assert len(again.entries) == len(after.entries) == 4
    direct = decoding.decode(file(8), image_size=SIZE)
    assert (after.images[after.rows(uids([1]))][0] == direct).all()
    assert (again.images[again.rows(uids([1]))][0] == direct).all()
    assert before.pixel_hashes(uids([1])) != after.pixel_hashes(uids([1]))
    assert holds(after, [0, 2])
    assert holds(back, range(3))


def test_a_replaced_file_that_cannot_be_decoded_does_not_leave_the_old_picture(tmp_path):
    build(tmp_path, range(2))

    built = build(tmp_path, range(2), Shelf(n1=b"junk"))

    assert set(built.unreadable) == set(uids([1]))
    with pytest.raises(DataError, match="every image in the cache, met one that is not"):
        built.rows(uids([1]))


def test_a_file_changed_behind_the_back_of_the_pacs_is_left_out_with_its_reason(tmp_path):
    built = build(tmp_path, range(2), Shelf(n1=file(8)), digest=Shelf().digest)

    assert built.unreadable == {
        uids([1])[0]: "1.2.2: the file is not the one that was ingested; ingest it again"
    }
    assert len(built.entries) == 1


def md5(shelf):
    return lambda wanted: "md5:" + hashlib.md5(shelf.file(wanted)).hexdigest()


def test_files_told_apart_by_md5_are_cached_as_well(tmp_path):
    shelf = Shelf(n1=file(8))
    built = build(tmp_path, range(2), digest=md5(Shelf()))
    again = build(tmp_path, range(2), replaced := Shelf(n1=file(8)), digest=md5(shelf))

    assert [entry.md5 for entry in built.entries] == [
        hashlib.md5(file(n)).hexdigest() for n in (0, 1)
    ]
    assert replaced.asked == uids([1])
    assert len(again.entries) == 3


def test_a_pacs_that_cannot_say_which_file_it_has_is_asked_for_each_once(tmp_path):
    build(tmp_path, range(2), digest=lambda _: "")
    shelf = Shelf()

    built = build(tmp_path, range(3), shelf, digest=lambda _: "")

    assert shelf.asked == uids([2])
    assert holds(built, range(3))


def test_a_cache_made_from_a_folder_is_taken_where_the_pacs_cannot_say(tmp_path):
    build(tmp_path, range(2))
    shelf = Shelf()

    build(tmp_path, range(2), shelf, digest=lambda _: "")

    assert shelf.asked == []
    (index,) = tmp_path.glob("*/index.jsonl")
    assert {*json.loads(index.read_text().splitlines()[0])} == {
        "sop_instance_uid", "sha256", "pixels_sha256"
    }  # fmt: skip


def test_a_cache_made_from_a_server_is_taken_by_a_folder(tmp_path):
    build(tmp_path, range(2), digest=md5(Shelf()))
    shelf = Shelf()

    build(tmp_path, range(2), shelf)

    assert shelf.asked == []


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_digest_of_unknown_kind_nothing_is_taken(tmp_path, workers):
    with pytest.raises(DataError, match="the file is not the one that was ingested"):
        build(tmp_path, range(40), digest=lambda _: "crc32:00", workers=workers)


def test_few_files_are_fetched_before_they_are_decoded():
    shelf, wanted = Shelf(), [instance(n) for n in range(120)]

    made = decoding.pictures(
        wanted, shelf.retrieve, shelf.digest, image_size=SIZE, preset="voi", workers=2
    )
    ahead = [len(shelf.asked) - done for done, _ in enumerate(made)]

    assert len(ahead) == len(shelf.asked) == 120
    assert max(ahead) <= 4 * 2 + 2 * decoding.THREADS + 2


def test_another_size_or_preset_has_its_own_cache(tmp_path):
    build(tmp_path, range(2))

    assert build(tmp_path, range(2), image_size=[8, 8]).images.shape == (2, 8, 8)
    build(tmp_path, range(2), preset="mimic_jpg")

    recipes = [json.loads(path.read_text()) for path in tmp_path.glob("*/cache.json")]
    assert len(recipes) == 3
    assert {"version": cache.VERSION, "preset": "voi", "image_size": [8, 8]} in recipes


def test_index_names_file_and_pixels_by_hash(tmp_path):
    built = build(tmp_path, [7])

    (entry,) = built.entries
    assert entry.sha256 == hashlib.sha256(file(7)).hexdigest()
    assert entry.pixels_sha256 == hashlib.sha256(built.images[[0]].tobytes()).hexdigest()
    assert built.pixel_hashes(uids([7])) == [entry.pixels_sha256]


def test_images_lie_across_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_BYTES", 3 * SIZE[0] * SIZE[1])

    build(tmp_path, range(4))
    built = build(tmp_path, range(8))

    assert len(list(tmp_path.glob("*/images-*.u8"))) == 3
    assert holds(built, [7, 0, 2, 3, 3, 5])


def test_unreadable_images_are_named_and_the_rest_is_there(tmp_path):
    built = build(tmp_path, range(3), Shelf(n1=b"junk"))

    assert set(built.unreadable) == set(uids([1]))
    assert holds(built, [0, 2])
    with pytest.raises(DataError, match="every image in the cache, met one that is not"):
        built.rows(uids([1]))


def test_nothing_readable_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no image can be decoded; the first: "):
        build(tmp_path, [0], Shelf(n0=b"junk"))


def test_a_torn_index_line_does_not_count(tmp_path):
    build(tmp_path, range(3))
    (index,) = tmp_path.glob("*/index.jsonl")
    index.write_bytes(index.read_bytes()[:-20])
    shelf = Shelf()

    built = build(tmp_path, range(3), shelf)

    assert shelf.asked == uids([2])
    assert holds(built, range(3))


KILLED = """
import sys, time
from pathlib import Path
from test_cache import Shelf, build

class Slow(Shelf):
    def retrieve(self, wanted):
        if len(self.asked) == 100:
            time.sleep(600)
        return super().retrieve(wanted)

build(Path(sys.argv[1]), range(120), Slow())
"""


def test_a_killed_build_goes_on_where_it_ended(tmp_path):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent / "src"), os.environ.get("PYTHONPATH", "")])
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}
    )
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in tmp_path.glob("*/index.jsonl")):
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    (index,) = tmp_path.glob("*/index.jsonl")
    lines = index.read_bytes().count(b"\n")  # whole ones; death may come within a batch
    shelf = Shelf()

    built = build(tmp_path, range(120), shelf)

    assert lines > 0
    assert shelf.asked == uids(range(lines, 120))
    assert holds(built, range(120))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_decoded_before_the_pacs_failed_is_kept(tmp_path, workers):
    class Failing(Shelf):
        def retrieve(self, wanted: Instance) -> bytes:
            if wanted == instance(50):
                raise PacsError("gone")
            return super().retrieve(wanted)

    with pytest.raises(PacsError, match="gone"):
        build(tmp_path, range(60), Failing(), workers=workers)
    shelf = Shelf()
    built = build(tmp_path, range(60), shelf)

    assert len(shelf.asked) <= 10 + (8 if workers == 2 else 0)
    assert holds(built, range(60))


def test_a_full_disk_is_one_line_and_costs_nothing_written_before(tmp_path):
    build(tmp_path, range(2))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * SIZE[0] * SIZE[1], before[1]))
        with pytest.raises(DataError, match="cannot write the cache: File too large"):
            build(tmp_path, range(6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert holds(build(tmp_path, range(6)), range(6))


def test_cache_is_for_its_owner_only(tmp_path):
    build(tmp_path, [0])

    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 13), st.integers(1, 13)),
        elements=st.floats(0, 1, width=32),
    ),
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
)
def test_letterbox_keeps_size_range_and_aspect(image, size):
    box = decoding.letterbox(image, size)

    assert box.shape == size
    lit = np.argwhere(decoding.letterbox(np.ones_like(image), size))
    rows, columns = lit.max(axis=0) - lit.min(axis=0) + 1
    part = min(Fraction(to, side) for to, side in zip(size, image.shape, strict=True))
    assert abs(rows - image.shape[0] * part) <= 1
    assert abs(columns - image.shape[1] * part) <= 1
    assert rows == size[0] or columns == size[1]
    inside = box[lit[:, 0], lit[:, 1]]
    assert inside.min() >= np.floor(image.min() * 255)
    assert inside.max() <= np.ceil(image.max() * 255)


@pytest.mark.parametrize(("side", "size"), [(16, 4), (15, 4), (13, 7), (60, 12), (9, 9)])
def test_shrinking_is_the_mean_over_the_area(side, size):
    image = np.random.default_rng(0).random((side, side))

    box = decoding.letterbox(image, (size, size))

    # each pixel as size x size smaller ones: then blocks of side x side are whole pixels
    fine = image.repeat(size, axis=0).repeat(size, axis=1)
    blocks = fine.reshape(size, side, size, side).mean(axis=(1, 3))
    assert np.abs(box - blocks * 255).max() <= 0.5 + 1e-6


def test_growing_a_ramp_gives_a_ramp():
    ramp = np.linspace(0, 1, 8)[:, None].repeat(8, axis=1)

    box = decoding.letterbox(ramp, (32, 32)).astype(int)

    steps = np.diff(box[2:-2, 0])
    assert steps.min() >= steps.max() - 1
    assert (box == box[:, :1]).all()


@pytest.mark.real
def test_real_radiographs_are_the_mean_of_their_pixels(shared, tmp_path):
    paths = sorted((shared / "nih-cxr" / "dicom").glob("*.dcm"))[::65]
    known = {dicom.identify(path).sop_instance_uid: path for path in paths}
    instances = [dicom.identify(path) for path in paths]

    built = cache.build(
        tmp_path,
        instances,
        lambda i: known[i.sop_instance_uid].read_bytes(),
        digest=lambda i: "",
        image_size=(128, 128),
        workers=1,
    )

    images = built.images[built.rows(known)]
    for image, path in zip(images, paths, strict=True):
        full = dicom.read(path)[0]
        mean = full.reshape(128, 4, 128, 4).mean(axis=(1, 3)) * 255
        assert np.abs(image - mean).max() <= 0.51
