"""Output manifest and PACS become examples, and nothing is lost without being counted."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import specimens

from cxr.contract import manifest
from cxr.contract.labels import LabelSet, State, to_data_object
from cxr.errors import AbsentError, DataError
from cxr.images.dicom import Instance
from cxr.learning import examples

NAMES = ("Edema", "No Finding")


class Shelf:
    """A PACS of identifiers only."""

    def __init__(self, *uids: str) -> None:
        self._instances = {
            uid: Instance(f"PAT-{uid}", f"study-{uid}", "series", uid, view="frontal", sex="F")
            for uid in uids
        }

    def search(self, SOPInstanceUID):  # noqa: N803 a DICOM keyword
        return iter([self._instances[uid] for uid in SOPInstanceUID if uid in self._instances])

    def find(self, source: str) -> Instance:
        try:
            return self._instances[source]
        except KeyError as error:
            raise AbsentError(f"no instance {source!r}") from error


def line(source, states=("present", "absent"), *, names=NAMES, usable=True, human="yes", **keys):
    findings = [{"label": n, "state": s} for n, s in zip(names, states, strict=True)]
    meta = manifest.metadata("chest", human_annotated=human == "yes", created=datetime.now(UTC))
    return {
        "source": source,
        "labels": ",".join(names),
        "label-set": "two",
        "chest": {"schema": manifest.SCHEMA, "findings": findings, "usable": usable},
        "chest-metadata": meta | {"label-source": "readers"},
    } | keys


def written(folder: Path, *lines) -> Path:
    path = folder / "output.manifest"
    manifest.write(path, lines)
    return path


def test_example_joins_the_manifest_line_and_what_the_pacs_knows(tmp_path):
    path = written(tmp_path, line("1.2"))

    cohort = examples.read(path, Shelf("1.2"))

    (example,) = cohort.examples
    assert example.sop_instance_uid == "1.2"
    assert example.patient_id == "PAT-1.2"
    assert example.states == (State.PRESENT, State.ABSENT)
    (instance,) = cohort.instances
    assert (instance.view, instance.sex) == ("frontal", "F")
    assert cohort.names == NAMES
    assert cohort.no_finding == "No Finding"
    assert (cohort.label_set, cohort.label_source) == ("two", "readers")
    assert cohort.human_annotated
    assert cohort.instances[0].sop_instance_uid == "1.2"


def test_lines_that_cannot_be_used_are_counted_by_reason(tmp_path):
    path = written(
        tmp_path,
        line("1"),
        line("1"),
        line("2", usable=False),
        {"source": "3", "labels": "Edema,No Finding"},
        line("elsewhere"),
    )

    cohort = examples.read(path, Shelf("1", "2", "3"))

    assert [e.sop_instance_uid for e in cohort.examples] == ["1"]
    assert cohort.left_out == {
        examples.REPEATED: 1,
        examples.UNUSABLE: 1,
        examples.UNLABELLED: 1,
        examples.NOT_IN_PACS: 1,
    }


def test_one_replayed_line_makes_the_cohort_not_human_annotated(tmp_path):
    path = written(tmp_path, line("1"), line("2", human="no"))

    assert not examples.read(path, Shelf("1", "2")).human_annotated


def test_uid_beside_an_s3_uri_finds_the_instance(tmp_path):
    s3 = line("x") | {"source-ref": "s3://bucket/1.dcm", "sop-instance-uid": "1"}
    del s3["source"]

    cohort = examples.read(written(tmp_path, s3), Shelf("1"))

    assert cohort.examples[0].source == "s3://bucket/1.dcm"
    assert cohort.examples[0].sop_instance_uid == "1"


def test_an_address_of_orthanc_names_its_instance(tmp_path):
    name = "502b0a4b-5cb43965-7f092716-bd6fe6d6-4f7fc3ce"
    given = line("x") | {"source-ref": f"https://orthanc.example:8042/instances/{name}/file"}
    del given["source"]

    (example,) = examples.read(written(tmp_path, given), Shelf(name)).examples

    assert example.sop_instance_uid == name


def test_the_same_image_with_other_labels_is_refused(tmp_path):
    path = written(tmp_path, line("1"), line("1", ("absent", "present")))

    with pytest.raises(DataError, match="object 2: the same image stands in an earlier line"):
        examples.read(path, Shelf("1"))


def test_label_names_that_differ_between_lines_are_refused(tmp_path):
    path = written(tmp_path, line("1"), line("2", names=("Mass", "No Finding")))

    with pytest.raises(DataError, match=r"object 2: expected the label names .* 'Edema' is in one"):
        examples.read(path, Shelf("1", "2"))


def test_label_order_that_differs_between_lines_is_refused(tmp_path):
    path = written(tmp_path, line("1"), line("2", names=NAMES[::-1]))

    with pytest.raises(DataError, match="their order differs"):
        examples.read(path, Shelf("1", "2"))


def test_a_manifest_with_nothing_to_train_on_is_refused_with_the_counts(tmp_path):
    path = written(tmp_path, line("elsewhere"), line("1", usable=False))

    with pytest.raises(DataError, match=r"met none \(1 not in the PACS, 1 called unusable"):
        examples.read(path, Shelf("1"))


def test_images_left_out_later_are_counted_too(tmp_path):
    cohort = examples.read(written(tmp_path, line("1"), line("2")), Shelf("1", "2"))

    fewer = cohort.without({"2"})

    assert [e.sop_instance_uid for e in fewer.examples] == ["1"]
    assert [i.sop_instance_uid for i in fewer.instances] == ["1"]
    assert fewer.left_out == {examples.UNREADABLE: 1}
    with pytest.raises(DataError, match="no image is left"):
        fewer.without({"1"})


def test_what_consolidation_adds_is_passed_over(tmp_path):
    added = line("1.2")
    added["chest"]["findings"][0] |= {"probability": None, "reason": "adjudicated"}
    added["chest"] |= {
        "adjudication": {"workerId": "judge", "annotationData": {"content": "{}"}},
        "consensus": [{"label": "Edema"}], "unmatched": [],
        "rois": [{"label": "Edema", "adjudicator": True, "measure": None}],
    }  # fmt: skip
    added["chest-metadata"] |= {"consolidation": "adjudicated", "shown": ["age"], "unit": "image"}

    cohort = examples.read(written(tmp_path, added), Shelf("1.2"))

    assert cohort.consolidation == ("adjudicated",)
    bare = examples.read(written(tmp_path, line("1.2")), Shelf("1.2"))
    assert replace(cohort, consolidation=()) == bare


def test_probabilities_and_votes_come_with_the_example(tmp_path):
    said = line("1")
    said["chest"]["findings"][0] |= {
        "probability": 0.7, "votes": {"present": 2, "absent": 0, "uncertain": 1},
    }  # fmt: skip
    nobody = line("2")
    for item in nobody["chest"]["findings"]:
        item |= {"probability": None, "votes": {"present": 0, "absent": 0, "uncertain": 0}}

    one, two = examples.read(written(tmp_path, said, nobody), Shelf("1", "2")).examples

    assert one.probabilities == (0.7, None)
    assert one.votes == ((2, 0, 1), (0, 0, 0))
    assert (two.probabilities, two.votes) == ((), ())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"votes": {"present": "two"}},
            "expected votes as counts of answers, met {'present': 'two",
        ),
        ({"votes": [2, 1]}, "expected votes as counts"),
        ({"votes": {"absent": -1}}, "expected votes as counts"),
        ({"probability": 1.5}, "Edema: expected a probability from 0 to 1, met 1.5"),
        ({"probability": float("nan")}, "Edema: expected a probability from 0 to 1, met nan"),
    ],
)
def test_votes_and_probabilities_that_are_none_are_refused(tmp_path, item, message):
    odd = line("1")
    odd["chest"]["findings"][0] |= item

    with pytest.raises(DataError, match=message):
        examples.read(written(tmp_path, odd), Shelf("1"))


def test_the_whole_label_set_comes_from_the_line(tmp_path):
    asked = LabelSet(
        "two", NAMES, "No Finding", parents={"Edema": ()}, aliases={"Oedema": "Edema"},
        not_mentioned="ignore",
    )  # fmt: skip

    cohort = examples.read(written(tmp_path, line("1") | to_data_object(asked)), Shelf("1"))

    assert cohort.labels == asked
    assert cohort.aliases == {"Oedema": "Edema"}


def test_of_label_sets_that_read_silence_otherwise_the_cautious_one_holds(tmp_path):
    path = written(tmp_path, line("1"), line("2", **{"label-not-mentioned": "ignore"}))

    assert examples.read(path, Shelf("1", "2")).labels.not_mentioned == "ignore"


def test_the_rule_of_consolidation_is_what_lines_say_and_nothing_where_they_say_none(tmp_path):
    content = specimens.form("pa", LabelSet("two", NAMES, "No Finding"))
    answer = {"workerId": "ann", "annotationData": {"content": content}}
    collected = {"annotationsFromAllWorkers": [answer]}
    lines = [line(uid) for uid in "12"]
    lines[1]["chest-metadata"] |= {"consolidation": "dawid_skene"}

    alone = examples.read(written(tmp_path, lines[0]), Shelf("1"))
    both = examples.read(written(tmp_path, *lines), Shelf("1", "2"))
    bare = examples.read(written(tmp_path, line("1", chest=collected)), Shelf("1"))

    assert alone.consolidation == ()
    assert both.consolidation == ("dawid_skene",)
    assert bare.consolidation == ("majority",)
