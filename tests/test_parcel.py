"""What a training job elsewhere is sent of the images trains it alike, and names nobody."""

from pathlib import Path

import numpy as np
import pytest
import sites
from test_examples import line, written

from cxr.errors import AbsentError, PacsError
from cxr.learning import material, parcel
from cxr.learning.targets import Policy
from cxr.pacs.shipped import ShippedPacs


def prepared(path, pacs, cache):
    return material.prepare(
        path, pacs, cache, attribute=None, policy=Policy("ignore", "zeros"),
        image_size=(32, 32), preset="voi", workers=1,
    )  # fmt: skip


def pseudonym(patient: str) -> str:
    return f"nobody-{len(patient)}"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Three images in the PACS and in the cache, two of them in the job that is shipped."""
    folder = tmp_path_factory.mktemp("shipped")
    pacs = sites.filled(folder / "pacs")
    chosen = list(pacs.search())
    everything = written(folder, *(line(i.orthanc_id) for i in reversed(chosen)))
    prepared(everything, pacs, folder / "cache")
    job = written(folder, *(line(i.orthanc_id) for i in chosen[:2]))
    ready = prepared(job, pacs, folder / "cache")
    files = parcel.write(ready, pseudonym, folder / "cache", folder / "sent", preset="voi")
    return job, ready, folder / "sent", files, chosen


def test_a_parcel_gives_the_same_examples_and_pixels_without_a_pacs(shipped):
    job, ready, sent, _, _ = shipped

    there = prepared(job, ShippedPacs(sent), sent)

    everyone = np.arange(len(ready.rows))
    assert there.sha256 == ready.sha256
    assert np.array_equal(there.gather(everyone), ready.gather(everyone))
    assert len(there.images) == 2


def test_a_parcel_names_no_patient(shipped):
    _, ready, _, files, _ = shipped

    held = b"".join(path.read_bytes() for path in files)

    assert ready.patient_ids
    assert not any(patient.encode() in held for patient in ready.patient_ids)
    assert b"nobody-" in held


def test_a_parcel_is_named_by_its_content(shipped):
    _, ready, _, _, _ = shipped

    named = parcel.digest(ready, pseudonym, preset="voi")

    assert named == parcel.digest(ready, pseudonym, preset="voi")
    assert named != parcel.digest(ready, pseudonym, preset="chexpert")
    assert named != parcel.digest(ready, str.lower, preset="voi")


def test_a_shipped_pacs_finds_and_never_fetches(shipped):
    _, _, sent, _, chosen = shipped
    pacs = ShippedPacs(sent)

    found = pacs.find(chosen[0].orthanc_id)

    assert found == pacs.find(chosen[0].sop_instance_uid)
    assert list(pacs.search(SOPInstanceUID=[i.sop_instance_uid for i in chosen])) == [
        pacs.find(i.sop_instance_uid) for i in chosen[:2]
    ]
    with pytest.raises(AbsentError, match="has no instance"):
        pacs.find(chosen[2].orthanc_id)
    with pytest.raises(PacsError, match="only says who the images are"):
        pacs.retrieve(found)


def test_a_folder_without_instances_is_refused(tmp_path: Path):
    with pytest.raises(PacsError, match="expected the instances that a training job was sent"):
        ShippedPacs(tmp_path)
