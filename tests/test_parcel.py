"""What a training job elsewhere is sent of the images trains it alike, and names nobody."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import sites
from test_examples import line, written

from cxr.errors import AbsentError, DataError, PacsError
from cxr.images.dicom import Instance
from cxr.learning import folds, material, parcel
from cxr.learning.targets import Policy
from cxr.pacs import shipped as shipped_pacs
from cxr.pacs.shipped import ShippedPacs


def prepared(path, pacs, cache):
    return material.prepare(
        path, pacs, cache, attribute=None,
        policy=Policy("soft", probabilities=True, confidence=True),
        image_size=(32, 32), preset="voi", workers=1,
    )  # fmt: skip


def pseudonym(identifier: str) -> str:
    return f"0b0d{zlib.crc32(identifier.encode()):028x}"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three images in the PACS and in the cache, two of them in the job that is shipped."""
    folder = tmp_path_factory.mktemp("home")
    pacs = sites.filled(folder / "pacs")
    chosen = list(pacs.search())
    everything = written(folder, *(line(i.orthanc_id) for i in reversed(chosen)))
    prepared(everything, pacs, folder / "cache")
    lines = [
        line(i.orthanc_id, comment="Ms Miller", owner="ann", **{"label-not-mentioned": "ignore"})
        for i in chosen[:2]
    ]
    lines[0]["chest-metadata"]["consolidation"] = "dawid_skene"
    lines[1]["chest-metadata"]["consolidation"] = "majority"
    lines[0]["chest"]["findings"][0] |= {
        "probability": 0.123456789, "votes": {"present": 1, "absent": 2, "uncertain": 0},
    }  # fmt: skip
    job = written(folder, *lines, line("elsewhere"))
    return folder, prepared(job, pacs, folder / "cache"), chosen


@pytest.fixture(scope="module")
def shipped(home):
    """What is sent of that job, its images and its labels in one folder."""
    folder, ready, chosen = home
    sent = folder / "sent"
    agreed = {"labels": {"Edema": {"alpha": 0.5, "pairs": [{"workers": ["ann", "bob"]}]}}}
    (folder / "agreement.json").write_text(json.dumps(agreed))
    files = parcel.write(ready, pseudonym, folder / "cache", sent, preset="voi")
    files += parcel.write_labels(
        ready, np.array(["train", "test"]), pseudonym, sent,
        attribute="chest", drawn=True, agreement=folder / "agreement.json",
    )  # fmt: skip
    return sent, files, ready, chosen


def test_a_parcel_gives_the_same_examples_and_pixels_without_a_pacs(shipped):
    sent, _, ready, _ = shipped

    there = parcel.told(prepared(sent / "output.manifest", ShippedPacs(sent), sent), sent)

    everyone = np.arange(len(ready.rows))
    assert there.sha256 == ready.sha256
    assert there.manifest_sha256 == ready.manifest_sha256
    assert there.cohort.left_out == ready.cohort.left_out == {"not in the PACS": 1}
    assert ready.cohort.consolidation == ("dawid_skene", "majority")
    for same in ("labels", "label_source", "human_annotated", "consolidation"):
        assert getattr(there.cohort, same) == getattr(ready.cohort, same)
    for same in ("states", "probabilities", "votes"):
        assert [getattr(e, same) for e in there.cohort.examples] == [
            getattr(e, same) for e in ready.cohort.examples
        ]
    assert there.cohort.labels.not_mentioned == "ignore"
    assert there.cohort.examples[0].probabilities == (0.123456789, None)
    assert there.cohort.examples[0].votes == ((1, 2, 0), (0, 0, 0))
    for same in ("targets", "weights", "truth", "mask", "uncertain"):
        assert (getattr(there, same) == getattr(ready, same)).all()
    assert np.array_equal(there.gather(everyone), ready.gather(everyone))
    assert len(there.images) == 2
    assert folds.load(sent / "split.csv") == dict(
        zip(there.sop_instance_uids, ("train", "test"), strict=True)
    )


def test_whoever_shares_a_patient_or_a_study_at_home_shares_one_there(shipped):
    sent, _, ready, _ = shipped

    there = prepared(sent / "output.manifest", ShippedPacs(sent), sent)

    assert there.patient_ids == [pseudonym(patient) for patient in ready.patient_ids]
    assert [e.study_instance_uid for e in there.cohort.examples] == [
        pseudonym(e.study_instance_uid) for e in ready.cohort.examples
    ]


def test_a_parcel_names_nobody(shipped):
    sent, files, ready, chosen = shipped

    held = b"".join(path.read_bytes() for path in files)

    named = [*ready.patient_ids, '"ann"', '"bob"', "Miller"]
    for instance in chosen:
        named += [instance.orthanc_id, instance.study_instance_uid, instance.series_instance_uid]
        named += [instance.sop_instance_uid]
    assert all(named)
    assert [name for name in named if name.encode() in held] == []
    assert pseudonym(ready.patient_ids[0]).encode() in held
    (index,) = sent.glob("*/index.jsonl")
    assert {json.loads(row)["sha256"] for row in index.read_text().splitlines()} == {"not told"}


def test_neither_sex_nor_age_nor_dates_are_sent():
    instance = Instance("P", "1.2", "1.3", "1.4", sex="F", age_years=71.5, study_date="20261122")

    (sent,) = shipped_pacs.lines([instance], pseudonym)

    told = json.loads(sent)
    assert (told["sex"], told["age_years"], told["study_date"]) == ("", None, "")


def test_a_fetched_run_names_its_images_as_they_are_called_here(shipped, tmp_path):
    sent, _, ready, _ = shipped
    (tmp_path / "split.csv").write_text((sent / "split.csv").read_text())
    gone = "2.25.7"  # whose cache is no more
    rows = f"sop_instance_uid,Edema\n{shipped_pacs.uid('1.2.3.1', pseudonym)},0.5\n{gone},1\n"
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "predictions.csv").write_text(rows)
    (tmp_path / "notes.csv").write_text("of,others\n")

    for _ in range(2):
        parcel.restore(tmp_path, sent.parent / "cache", pseudonym)

    assert list(folds.load(tmp_path / "split.csv")) == ready.sop_instance_uids
    assert (tmp_path / "evaluations" / "predictions.csv").read_text() == (
        f"sop_instance_uid,Edema\n1.2.3.1,0.5\n{gone},1\n"
    )
    assert (tmp_path / "notes.csv").read_text() == "of,others\n"


def test_a_job_that_no_parcel_brought_is_left_as_it_is(home):
    folder, ready, _ = home

    assert parcel.told(ready, folder) is ready


def test_what_a_parcel_says_is_whole_or_refused(tmp_path):
    (tmp_path / "parcel.json").write_text('{"schema": "cxr-parcel/1"}')

    with pytest.raises(DataError, match="expected what a training job is told of its labels"):
        parcel.said(tmp_path)


def test_a_parcel_is_named_by_its_content(shipped):
    _, _, ready, _ = shipped

    named = parcel.digest(ready, pseudonym, preset="voi")

    assert named == parcel.digest(ready, pseudonym, preset="voi")
    assert named != parcel.digest(ready, pseudonym, preset="chexpert")
    assert named != parcel.digest(ready, lambda name: pseudonym(name + "?"), preset="voi")


def test_a_shipped_pacs_finds_and_never_fetches(shipped):
    sent, _, _, chosen = shipped
    pacs = ShippedPacs(sent)

    uids = [shipped_pacs.uid(i.sop_instance_uid, pseudonym) for i in chosen]
    found = pacs.find(uids[0])

    assert found.rows == chosen[0].rows
    assert list(pacs.search(SOPInstanceUID=uids)) == [pacs.find(uid) for uid in uids[:2]]
    with pytest.raises(AbsentError, match="does not have the instance"):
        pacs.find(uids[2])
    with pytest.raises(PacsError, match="only says who the images are"):
        pacs.retrieve(found)


def test_a_folder_without_instances_is_refused(tmp_path: Path):
    with pytest.raises(PacsError, match="expected the instances that a training job was sent"):
        ShippedPacs(tmp_path)
