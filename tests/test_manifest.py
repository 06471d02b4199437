"""Manifests are read and written line by line, in the spelling of real Ground Truth jobs."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.contract import labels, manifest
from cxr.contract.labels import State
from cxr.errors import ManifestError

NAMES = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,"
    "Lung Lesion,Lung Opacity,Pleural Effusion,Pneumonia,Pneumothorax,Pleural Other,"
    "Support Devices,No Finding"
)
SAMPLE = (
    {"source": "502b0a4b-5cb43965-7f092716-bd6fe6d6-4f7fc3ce", "labels": NAMES},
    {"source": "502b0a4b-5cb43965-7f092716-bd6fe6d6-4f7fc3cf", "labels": NAMES.split(",")},
    {"source-ref": "s3://bucket/a.dcm", "labels": NAMES, "study": {"accession": 7}},
)
CREATED = datetime(2026, 11, 22, 16, 0, tzinfo=timezone(timedelta(hours=1)))


def output_line(**changes):
    finding = {"label": "Edema", "state": "present", "probability": None}
    attribute = {"schema": "cxr-consolidated/1", "findings": [finding], "rois": [], "usable": True}
    meta = manifest.metadata("demo", human_annotated=True, created=CREATED)
    return {"source": "a", "labels": "Edema", "demo": attribute | changes, "demo-metadata": meta}


def test_the_three_lines_of_the_public_sample_are_read(tmp_path):
    path = tmp_path / "input.manifest"
    path.write_text("".join(json.dumps(line) + "\r\n\n" for line in SAMPLE))

    lines = list(manifest.read(path))

    assert lines == list(SAMPLE)
    assert {labels.from_data_object(line).names for line in lines} == {tuple(NAMES.split(","))}
    assert [manifest.source(line) for line in lines] == [
        SAMPLE[0]["source"], SAMPLE[1]["source"], "s3://bucket/a.dcm"
    ]  # fmt: skip


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "input.manifest"
    path.write_text('{"source": "a"}\n{"source": "b"}\nbroken\n')
    lines = manifest.read(path)

    assert [next(lines), next(lines)] == [{"source": "a"}, {"source": "b"}]
    with pytest.raises(ManifestError, match=r"input\.manifest:3: expected JSON, met b'broken"):
        next(lines)


@pytest.mark.parametrize(
    ("raw", "met"),
    [
        (b"{}", 'input.manifest:2: no "source" or "source-ref"'),
        (b'{"source": ""}', 'no "source" or "source-ref"'),
        (b'{"source": 3}', 'no "source" or "source-ref"'),
        (b"[1]", "expected a JSON object, met b'.1.'"),
        (b'{"source": "\xff"}', "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
    ],
)
def test_a_line_that_is_no_data_object_is_named(tmp_path, raw, met):
    path = tmp_path / "input.manifest"
    path.write_bytes(b'{"source": "a"}\n' + raw)

    with pytest.raises(ManifestError, match=met):
        list(manifest.read(path))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.manifest: expected a manifest, met No such"):
        list(manifest.read(tmp_path / "none.manifest"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])).filter(lambda key: key != "source"),
            st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.none(),
        )
    )
)
def test_what_is_written_is_read_again(tmp_path, extras):
    path = tmp_path / "new" / "input.manifest"
    lines = [{"source": f"s{i}", **extra} for i, extra in enumerate(extras)]

    count = manifest.write(path, iter(lines))

    assert count == len(lines)
    assert list(manifest.read(path)) == lines


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "input.manifest"
    manifest.write(path, [{"source": "old"}])

    with pytest.raises(ManifestError, match=r"input\.manifest:2: expected at most 100000 bytes"):
        manifest.write(path, [{"source": "new"}, {"source": "x" * manifest.MAX_LINE}])

    assert list(manifest.read(path)) == [{"source": "old"}]


@pytest.mark.parametrize("name", ["a", "demo-by-hand", "A--9", "x" * 63])
def test_job_names_that_ground_truth_takes(name):
    assert manifest.check_job_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "demo_by_hand", "-a", "a-", "x" * 64, "a" + "-" * 70 + "b", "a b", "a\n", "é", "a-ref",
     "a-metadata", "../a"],
)  # fmt: skip
def test_job_names_that_ground_truth_refuses(name):
    with pytest.raises(ManifestError, match="expected a job name of 1 to 63 letters"):
        manifest.check_job_name(name)


def test_metadata_is_spelled_as_real_jobs_spell_it():
    extra = {"label-source": "readers"}

    meta = manifest.metadata("demo", human_annotated=False, created=CREATED, **extra)

    assert meta == {
        "type": "groundtruth/custom",
        "job-name": "demo",
        "human-annotated": "no",
        "creation-date": "2026-11-22T15:00:00.000000",
        "label-source": "readers",
    }
    assert datetime.fromisoformat(meta["creation-date"]).replace(tzinfo=UTC) == CREATED


def test_an_output_line_is_read_back():
    found = manifest.labelled(output_line())

    assert found.states == {"Edema": State.PRESENT}
    assert found.data_object == {"source": "a", "labels": "Edema"}
    assert (found.usable, found.label_source, found.label_set) == (True, "readers", "manifest")


def test_metadata_as_the_documentation_spells_it_is_read_too():
    line = output_line() | {
        "demo-metadata": {"job_name": "demo", "type": "groundTruth/custom", "creation_date": "x"}
    }

    assert manifest.labelled(line).states == {"Edema": State.PRESENT}


def test_a_line_without_a_label_yet_gives_none():
    assert manifest.labelled({"source": "a"}) is None
    assert manifest.labelled({"source": "a", "demo-metadata": {}}) is None
    assert manifest.labelled(output_line(), "other") is None


def test_of_two_attributes_one_must_be_named():
    line = output_line()
    line |= {"second": line["demo"] | {"usable": False}, "second-metadata": line["demo-metadata"]}

    with pytest.raises(ManifestError, match=r"a: expected one label attribute, met .'demo', 'sec"):
        manifest.labelled(line)

    assert manifest.labelled(line, "second").usable is False
    assert manifest.labelled(line, "demo").usable is True
    assert manifest.attributes(line) == ["demo", "second"]


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({"schema": "other/1"}, 'a: demo: expected "schema": "cxr-consolidated/1"'),
        ({"findings": None}, r"a: demo\.findings: TypeError"),
        ({"findings": [{"label": "Edema"}]}, "KeyError.'state'"),
        ({"findings": [{"label": "Edema", "state": "maybe"}]}, "'maybe' is not a valid State"),
        ({"findings": ["Edema"]}, "TypeError"),
        ({"findings": [{"label": "E", "state": "absent", "probability": "x"}]}, "ValueError"),
    ],
)
def test_an_attribute_that_is_not_ours_is_refused(changes, met):
    with pytest.raises(ManifestError, match=met):
        manifest.labelled(output_line(**changes))


def test_metadata_that_is_no_object_is_refused():
    with pytest.raises(ManifestError, match="a: demo-metadata: expected an object, met 'x'"):
        manifest.labelled(output_line() | {"demo-metadata": "x"})
