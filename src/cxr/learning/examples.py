"""An output manifest and a PACS → what is trained on.

A line that cannot be used is left out and counted under its reason, so that the report can show
how many images left at which step.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import tee
from pathlib import Path
from typing import Any

from cxr.contract import consolidate, labels, manifest
from cxr.contract.labels import ANSWERS, LabelSet, State
from cxr.contract.manifest import Labelled
from cxr.errors import DataError, LabelError
from cxr.images.dicom import Instance
from cxr.learning import regions
from cxr.learning.regions import Region
from cxr.pacs import Pacs, finding

UNLABELLED = "no label yet"
UNUSABLE = "called unusable by readers"
NOT_IN_PACS = "not in the PACS"
REPEATED = "repeated in the manifest"
UNREADABLE = "pixels cannot be read"
_ORTHANC_FILE = re.compile(r"/instances/([0-9a-f]{8}(?:-[0-9a-f]{8}){4})/file$")


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes:
        sop_instance_uid: Key of the image everywhere in learning.
        source: As in the manifest.
        patient_id: What folds divide.
        study_instance_uid: Of the same patient.
        states: One per label, in label order.
        burned_in: Whether the file says that text is burned into its pixels, and then it is never
            shown; None if it does not say (PS3.3 C.7.6.1, BurnedInAnnotation).
        regions: Where readers saw the findings that are present.
        probabilities: How likely consolidation takes each label for present, None where it says
            nothing of it; empty where it says nothing at all.
        votes: How many readers said present, absent and uncertain of each label; empty where
            none answered.
    """

    sop_instance_uid: str
    source: str
    patient_id: str
    study_instance_uid: str
    states: tuple[State, ...]
    burned_in: bool | None = False
    regions: tuple[Region, ...] = ()
    probabilities: tuple[float | None, ...] = ()
    votes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Cohort:
    """Every image of one job that can be trained on, in manifest order.

    Attributes:
        labels: What was asked, under the names of all label sets joined by " + ".
        label_source: `readers`, `report-text-mined` or `model`; several joined by " + ".
        human_annotated: Every line was labelled by a person for this job.
        consolidation: By which rules several answers became one, as `labeling.Job` has them; none
            where lines came labelled.
        examples: N of them.
        instances: (N), the same images as the PACS knows them: view, sex and age are theirs.
        left_out: Reason → lines of the manifest not among the examples.
    """

    labels: LabelSet
    label_source: str
    human_annotated: bool
    examples: tuple[Example, ...]
    instances: tuple[Instance, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    consolidation: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Label names, in column order."""
        return self.labels.names

    @property
    def no_finding(self) -> str | None:
        """The label that says every other finding is absent, or None."""
        return self.labels.no_finding

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names of labels → the name here."""
        return self.labels.aliases

    @property
    def label_set(self) -> str:
        """The label set's name."""
        return self.labels.name

    def without(self, sop_instance_uids: Collection[str], reason: str = UNREADABLE) -> "Cohort":
        """Leave out these images and count them under `reason`.

        Raises:
            DataError: Nothing is left.
        """
        gone = set(sop_instance_uids)
        keep = [i for i, e in enumerate(self.examples) if e.sop_instance_uid not in gone]
        left_out = Counter(self.left_out)
        left_out[reason] += len(self.examples) - len(keep)
        left_out = +left_out  # drops zeros
        if not keep:
            raise DataError(f"no image is left to train on ({_counts(left_out)})")
        return replace(
            self,
            examples=tuple(self.examples[i] for i in keep),
            instances=tuple(self.instances[i] for i in keep),
            left_out=dict(left_out),
        )


def read(manifest_path: Path, pacs: Pacs, attribute: str | None = None) -> Cohort:
    """Read the labelled images of an output manifest.

    Args:
        manifest_path: Output manifest of a job.
        pacs: Where the images are.
        attribute: Label attribute name, where lines have several.

    Raises:
        ManifestError: The manifest cannot be read or was not consolidated by this project.
        DataError: No line can be used, or label names differ between lines.
    """
    found: dict[str, tuple[Example, Instance]] = {}
    left_out: Counter[str] = Counter()
    said = _Said()

    lines, asked = tee(_labelled(manifest_path, attribute))
    wanted = (_names(line) for line, labelled in asked if labelled and labelled.usable)
    instances = finding.several(pacs, wanted)
    for number, (line, labelled) in enumerate(lines, 1):
        if labelled is None or not labelled.usable:
            left_out[UNLABELLED if labelled is None else UNUSABLE] += 1
            continue
        place = f"{manifest_path}, object {number}"
        said.check_names(place, line, labelled)
        instance = next(instances)
        if instance is None:
            left_out[NOT_IN_PACS] += 1
            continue
        example = _example(line, labelled, instance)
        if _is_repeated(example, found, place):
            left_out[REPEATED] += 1
        else:
            found[example.sop_instance_uid] = example, instance
            said.add(labelled, line, attribute)
    if not found:
        raise DataError(
            f"{manifest_path}: expected a labelled image that is in the PACS, met none "
            f"({_counts(left_out) or 'no lines'})"
        )
    return said.cohort(found.values(), left_out)


def _labelled(
    manifest_path: Path, attribute: str | None
) -> Iterator[tuple[dict[str, Any], Labelled | None]]:
    for line in manifest.read(manifest_path):
        yield line, manifest.labelled(consolidate.completed(line, attribute), attribute)


@dataclass
class _Said:
    """What lines say of their labels, gathered as they are read."""

    labels: LabelSet | None = None
    silences: set[str] = field(default_factory=set)
    label_sets: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    by_hand: bool = True

    def check_names(self, place: str, line: Mapping[str, Any], labelled: Labelled) -> None:
        names = tuple(labelled.states)
        if self.labels is None:
            self.labels = _label_set(line, names)
        if names != self.labels.names:
            raise DataError(_difference(place, self.labels.names, names))

    def add(self, labelled: Labelled, line: Mapping[str, Any], attribute: str | None) -> None:
        name = attribute or manifest.attributes(line)[0]
        meta = line[name + manifest.METADATA]
        by_hand = bool(meta.get("human-annotated") == "yes")
        # an attribute of nothing but answers is consolidated as it is read, by majority
        rule = meta.get("consolidation") or ("" if "findings" in line[name] else "majority")
        self.rules.update(str(rule).split(" + ") if rule else ())
        self.label_sets.add(labelled.label_set)
        self.silences.add(str(labelled.data_object.get("label-not-mentioned", "zeros")))
        self.sources.add(labelled.label_source)
        self.by_hand = self.by_hand and by_hand

    def cohort(
        self, found: Collection[tuple[Example, Instance]], left_out: Mapping[str, int]
    ) -> Cohort:
        if self.labels is None:
            raise ValueError("expected a line's names to have been checked")
        return Cohort(
            labels=replace(
                self.labels,
                name=" + ".join(sorted(self.label_sets)),
                # of several label sets in one manifest the more cautious one holds
                not_mentioned="zeros" if self.silences == {"zeros"} else "ignore",
            ),
            label_source=" + ".join(sorted(self.sources)),
            human_annotated=self.by_hand,
            examples=tuple(example for example, _ in found),
            instances=tuple(instance for _, instance in found),
            left_out=dict(left_out),
            consolidation=tuple(sorted(self.rules)),
        )


def _names(line: Mapping[str, Any]) -> tuple[str, str]:
    uid = str(line.get("sop-instance-uid", ""))
    if line.get("source") or uid:  # an S3 URI says nothing to a PACS, the UID beside it does
        return str(line.get("source") or uid), uid
    address = str(line["source-ref"])
    # the published sample's first manifests name images by Orthanc's own addresses
    known = _ORTHANC_FILE.search(address)
    return known[1] if known else address, uid


def _example(line: Mapping[str, Any], labelled: Labelled, instance: Instance) -> Example:
    return Example(
        sop_instance_uid=instance.sop_instance_uid,
        source=manifest.source(line),
        patient_id=instance.patient_id,
        study_instance_uid=instance.study_instance_uid,
        states=tuple(labelled.states.values()),
        burned_in=instance.burned_in,
        regions=regions.told(labelled),
        probabilities=_probabilities(labelled),
        votes=_votes(line, labelled),
    )


def _probabilities(labelled: Labelled) -> tuple[float | None, ...]:
    if not labelled.probabilities:
        return ()
    found = tuple(labelled.probabilities.get(name) for name in labelled.states)
    for name, p in labelled.probabilities.items():
        if not 0 <= p <= 1:
            raise DataError(f"{name}: expected a probability from 0 to 1, met {p}")
    return found


def _votes(line: Mapping[str, Any], labelled: Labelled) -> tuple[tuple[int, ...], ...]:
    """Count who said what of each label; empty where nobody did."""
    counted = {}
    for item in labelled.document["findings"]:
        given = item.get("votes") or {}
        count = tuple(
            given.get(str(state), 0) if isinstance(given, dict) else -1 for state in ANSWERS
        )
        if not all(isinstance(n, int) and n >= 0 for n in count):
            raise DataError(
                f"{manifest.source(line)}: expected votes as counts of answers, met {given!r}"[:200]
            )
        counted[item["label"]] = count
    found = tuple(counted[name] for name in labelled.states)
    return found if any(map(any, found)) else ()


def _is_repeated(
    example: Example, found: Mapping[str, tuple[Example, Instance]], place: str
) -> bool:
    earlier = found.get(example.sop_instance_uid)
    if earlier is not None and earlier[0].states != example.states:
        raise DataError(f"{place}: the same image stands in an earlier line with other labels")
    return earlier is not None


def _label_set(line: Mapping[str, Any], names: tuple[str, ...]) -> LabelSet:
    try:
        found = labels.from_data_object(line)
    except LabelError:  # a line without `labels`: the names are all that is known
        return labels.from_names(names)
    return found if found.names == names else labels.restricted(found, names)


def _difference(place: str, expected: tuple[str, ...], met: tuple[str, ...]) -> str:
    odd = [n for n in (*expected, *met) if (n in expected) != (n in met)]
    what = f"{odd[0]!r} is in one of them only" if odd else "their order differs"
    return f"{place}: expected the label names of the lines before, but {what}"


def _counts(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())
