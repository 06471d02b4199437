"""A query or a manifest becomes the input manifest, and what is left out is listed."""

import csv
import json
import os
import subprocess
import sys

import pytest
from specimens import LABELS, dicom

from cxr.contract import labels, manifest
from cxr.errors import JobError, LabelError, ManifestError, PacsError
from cxr.labeling import selection
from cxr.pacs.folder import FolderPacs


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """Three frontal images, a lateral and one of unknown view."""
    store = FolderPacs(tmp_path_factory.mktemp("pacs"))
    for number, view in enumerate(["PA", "AP", "PA", "LL", ""], 1):
        store.store(dicom(number, view=view, patient=f"P{number}"))
    return store


def query(folder, pacs, **changes):
    wanted = {"query": {}, "views": ["frontal"], "label_set": LABELS} | changes
    return selection.from_query(folder, pacs, **wanted)


def test_frontal_images_are_taken_and_the_others_listed(tmp_path, pacs):
    selected = query(tmp_path, pacs)

    with (tmp_path / "passed_over.csv").open(newline="") as file:
        passed = [(row["sop_instance_uid"], row["view"]) for row in csv.DictReader(file)]
    assert selected.path == tmp_path / "input.manifest"
    assert (selected.total, selected.passed_over) == (3, {"lateral": 1, "unknown": 1})
    assert passed == [("1.2.3.4", "lateral"), ("1.2.3.5", "unknown")]
    assert [p.name for p in tmp_path.glob("*.part")] == []


def test_a_line_names_the_image_and_no_patient(tmp_path, pacs):
    query(tmp_path, pacs, query={"PatientID": "P1"})

    (line,) = manifest.read(tmp_path / "input.manifest")

    instance = pacs.find("1.2.3.1")
    assert line["source"] == instance.orthanc_id
    assert line["sop-instance-uid"] == "1.2.3.1"
    assert line["study-instance-uid"] == instance.study_instance_uid
    assert line["series-instance-uid"] == instance.series_instance_uid
    assert labels.from_data_object(line) == LABELS
    assert "P1" not in json.dumps(line)


def test_at_most_so_many_are_taken(tmp_path, pacs):
    assert query(tmp_path, pacs, max_objects=2).total == 2


def test_the_same_query_gives_the_same_manifest(tmp_path, pacs):
    first = query(tmp_path / "a", pacs).path.read_bytes()

    assert query(tmp_path / "b", pacs).path.read_bytes() == first


def test_nothing_found_says_what_was_left_out(tmp_path, pacs):
    with pytest.raises(JobError, match=r"with view frontal, met none; 1 have another view .*later"):
        query(tmp_path, pacs, query={"PatientID": "P4"})
    with pytest.raises(JobError, match=r"met none; bring some in with python -m cxr\.ingest"):
        query(tmp_path, pacs, query={"PatientID": "nobody"})

    assert not (tmp_path / "input.manifest").exists()


def test_an_unknown_key_is_refused(tmp_path, pacs):
    with pytest.raises(PacsError, match="PatientIDD"):
        query(tmp_path, pacs, query={"PatientIDD": "P1"})


A, B = ("-".join([digit * 8] * 5) for digit in "ab")


def existing(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_existing_manifest_keeps_its_keys_and_gets_labels_where_it_has_none(tmp_path):
    path = existing(tmp_path / "old", {"source": A, "note": 1}, {"source-ref": "s3://b/c.dcm"})

    selected = selection.from_manifest(tmp_path / "job", path, LABELS)

    first, second = manifest.read(selected.path)
    assert selected.total == 2
    assert first == {"source": A, "note": 1, **labels.to_data_object(LABELS)}
    assert second["source-ref"] == "s3://b/c.dcm"
    assert labels.from_data_object(second) == LABELS


def test_earlier_labels_pass_through(tmp_path):
    earlier = {"source": A, "labels": "Edema", "first": {"x": 1}, "first-metadata": {"y": 2}}

    selected = selection.from_manifest(tmp_path / "job", existing(tmp_path / "o", earlier), LABELS)

    assert list(manifest.read(selected.path)) == [earlier]


def test_lines_must_ask_the_same(tmp_path):
    path = existing(
        tmp_path / "old", {"source": A, "labels": "Edema"}, {"source": B, "labels": "Mass"}
    )

    with pytest.raises(
        JobError, match=r"expected the same labels on every line, met .'Mass',. aft"
    ):
        selection.from_manifest(tmp_path / "job", path, LABELS)


def test_a_bad_manifest_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(JobError, match=r"old: expected data objects, met an empty manifest"):
        selection.from_manifest(tmp_path / "job", existing(tmp_path / "old"), LABELS)
    with pytest.raises(LabelError, match="expected at least one name"):
        selection.from_manifest(
            tmp_path / "job", existing(tmp_path / "old", {"source": A, "labels": []}), LABELS
        )
    with pytest.raises(
        ManifestError, match=r"old: data object 2: expected an Orthanc instance ID .* met '\.\./x'"
    ):
        selection.from_manifest(
            tmp_path / "job", existing(tmp_path / "old", {"source": A}, {"source": "../x"}), LABELS
        )
    with pytest.raises(ManifestError, match='no "source"'):
        selection.from_manifest(tmp_path / "job", existing(tmp_path / "old", {}), LABELS)

    assert not (tmp_path / "job" / "input.manifest").exists()


def test_images_the_pacs_does_not_hold_are_named(pacs):
    known = pacs.find("1.2.3.1").orthanc_id
    lines = [{"source": known}, {"source": "x"}, {"source-ref": "s3://b/c.dcm"}]

    assert selection.unknown_sources(lines, pacs) == ["x", "s3://b/c.dcm"]


def test_job_that_has_begun_keeps_its_images_and_labels(tmp_path):
    assert selection.begun(tmp_path, LABELS) is None
    line = {"source": "a", **labels.to_data_object(LABELS)}
    manifest.write(tmp_path / "input.manifest", [line])
    (tmp_path / selection.ANSWERS).touch()

    found = selection.begun(tmp_path, LABELS)

    assert found is not None
    assert found.total == 1
    other = labels.LabelSet("other", ("Hernia",))
    with pytest.raises(JobError, match=r"began with label set .*; choose another job.name"):
        selection.begun(tmp_path, other)


PLAIN = LABELS.__class__("plain", ("Edema", "Lung Opacity", "No Finding"), "No Finding")


def known(pacs, tmp_path, own):
    """What is asked of images whose answer is known: one here, one elsewhere, one not labelled."""
    here, other = list(pacs.search())[:2]
    label = {
        "schema": "cxr-consolidated/1",
        "findings": [{"label": "Edema", "state": "present", "votes": {}}],
    }
    lines = [
        {"source": here.orthanc_id, **labels.to_data_object(LABELS), "label-aliases": {"x": "y"},
         "old": label, "old-metadata": {}, "shown": {"age": 9, "sex": "M"}, "unit": "study",
         "companions": [{"kind": "prior", "source": "gone"}], "kept": 1},
        {"source": "elsewhere", "labels": ["Edema"], "old": label, "old-metadata": {}},
        {"source": other.orthanc_id, "labels": ["Edema"]},
    ]  # fmt: skip
    path = tmp_path / "known.manifest"
    manifest.write(path, lines)
    return lines[0], list(selection.known(path, pacs, own))


def test_a_known_image_is_asked_about_like_all_others(pacs, tmp_path):
    own = selection.manner([{"source": "a", **labels.to_data_object(PLAIN)}], LABELS)

    whole, [(asked, line)] = known(pacs, tmp_path, own)

    assert line == whole
    assert asked == {"source": whole["source"], **labels.to_data_object(PLAIN)}
    assert labels.from_data_object(asked) == PLAIN


def test_a_known_image_has_the_keys_of_the_jobs_own_lines(pacs, tmp_path):
    path = query(tmp_path / "a", pacs, shown=["age", "sex"], study_companions=["lateral"]).path
    lines = list(manifest.read(path))

    _, [(asked, _)] = known(pacs, tmp_path, selection.manner(lines, PLAIN))
    plain = list(manifest.read(query(tmp_path / "b", pacs).path))
    _, [(unshown, _)] = known(pacs, tmp_path, selection.manner(plain, PLAIN))

    assert [asked] == [line for line in lines if line["source"] == asked["source"]]
    assert [unshown] == [line for line in plain if line["source"] == unshown["source"]]


def test_a_known_image_has_the_companions_that_the_others_have(tmp_path):
    pacs = FolderPacs(tmp_path / "pacs")
    for number in (1000, 1002):
        pacs.store(dicom(number))
        pacs.store(dicom(number + 1, view="LL"))
    path = query(tmp_path, pacs, study_companions=["lateral"]).path
    lines = list(manifest.read(path))

    _, [(asked, _)] = known(pacs, tmp_path, selection.manner(lines[1:], PLAIN))

    assert [asked] == lines[:1]
    assert [other["kind"] for other in asked["companions"]] == ["lateral"]


def test_what_no_line_shows_is_not_shown_of_a_known_image(pacs, tmp_path):
    """Whatever the config says: the job was given as a manifest."""
    own = selection.manner([{"source": "a"}, {"source": "b", "unit": "study"}], LABELS)

    _, [(asked, _)] = known(pacs, tmp_path, own)

    assert "shown" not in asked
    assert (asked["unit"], asked["companions"]) == ("study", [])
    assert labels.from_data_object(asked) == LABELS


def test_known_images_that_cannot_be_asked_about_are_passed_over_with_a_warning(
    pacs, tmp_path, caplog
):
    known(pacs, tmp_path, selection.manner([], LABELS))

    (record,) = caplog.records
    assert (
        "known.manifest: 1 known images cannot be asked about and are passed over, first else"
        in (record.getMessage())
    )


def test_what_the_lines_keep_is_said_where_the_config_asks_for_something_else():
    lines = [{"source": "a", "shown": {"age": 9}}, {"source": "b", "shown": {}, "unit": "study"}]
    own = selection.manner(lines, LABELS)

    assert selection.unheeded(own, ["age"], "study") is None
    assert selection.unheeded(own, ["age", "sex"], "image") == (
        "job.show=[age, sex] and job.unit=image change nothing here: the job's lines keep what "
        "they have, show=[age] and unit=study"
    )
    assert selection.unheeded(selection.manner([{"source": "a"}], LABELS), [], "image") is None


FILLED = """
import sys
import memory
from pathlib import Path
from cxr.contract.labels import from_names
from cxr.images.dicom import Instance
from cxr.labeling import selection
from cxr.pacs import matching
from cxr.pacs.folder import FolderPacs

folder = Path(sys.argv[1])
with FolderPacs(folder / "pacs") as pacs:
    with pacs.index.alone():
        for n in range(50_000):
            uids = [f"1.2.3.{n // 2}", f"1.2.3.{n // 2}.1", f"1.2.3.{n // 2}.1.{n}"]
            found = Instance(f"P{n // 4}", *uids)
            row = dict.fromkeys(matching.ATTRIBUTES) | {"PatientID": found.patient_id}
            row |= dict(zip(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), uids))
            row |= {"transfer_syntax_uid": "", "age_years": None, "burned_in": None, "size": 0}
            row |= {"view": "frontal" if n % 10 else "lateral", "orthanc_id": found.orthanc_id}
            pacs.index.add(row | {"sha256": "", "pixel_hash": ""})
    names = from_names([f"finding {k}" for k in range(14)])
    memory.forget_peak()
    before = memory.peak()
    made = selection.from_query(
        folder, pacs, query={"PatientID": "P*"}, views=["frontal"], label_set=names
    )
    after = memory.peak()
print(made.total, after - before)
"""


def test_fifty_thousand_images_are_listed_in_little_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    total, grown = map(int, done.stdout.split())
    assert total == sum(1 for _ in manifest.read(tmp_path / "input.manifest")) == 45_000
    assert grown < 30 << 20


def test_what_found_nothing_leaves_no_manifest(pacs, tmp_path):
    with pytest.raises(JobError, match="met none; 1 have another view"):
        query(tmp_path, pacs, query={"SOPInstanceUID": "1.2.3.3"}, views=["unknown"])

    assert not (tmp_path / "input.manifest").exists()
