"""Drawn radiographs: valid DICOM, the truth about what is in them, and visible."""

import io
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pydicom
import pytest

from cxr.contract.labels import NO_FINDING, LabelSet, State
from cxr.images import dicom, doctor, synth
from cxr.pacs.folder import FolderPacs

PRESENT = State.PRESENT
SMALL = (64, 56)
PARENTS = {
    "Lung Opacity": ("Atelectasis", "Consolidation", "Edema", "Lung Lesion", "Pneumonia"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
}


@pytest.fixture(scope="module")
def truths() -> list[dict[str, State]]:
    return [synth.draw(index, size=(16, 14))[1] for index in range(600)]


def test_the_same_index_is_the_same_file() -> None:
    assert synth.draw(5, seed=2) == synth.draw(5, seed=2)
    assert synth.draw(5, seed=2)[0] != synth.draw(5, seed=3)[0] != synth.draw(6, seed=3)[0]


def test_other_sizes_are_other_instances_of_the_same_patient() -> None:
    small, large = (
        dicom.identify(synth.draw(5, seed=2, size=size)[0]) for size in (SMALL, (96, 84))
    )

    assert small.patient_id == large.patient_id
    assert small.sop_instance_uid != large.sop_instance_uid
    assert small.series_instance_uid != large.series_instance_uid
    assert small.study_instance_uid != large.study_instance_uid


@pytest.mark.parametrize("seed", [0, 7, 70])
def test_every_seed_stands_in_the_patient_id(seed: int) -> None:
    assert dicom.identify(synth.draw(0, seed=seed, size=SMALL)[0]).patient_id == f"SYN{seed}-0001"


def test_files_are_good_chest_radiographs() -> None:
    for index in range(16):
        file, _ = synth.draw(index, size=SMALL)
        assert doctor.problems(file) == []
        ds = pydicom.dcmread(io.BytesIO(file))
        assert (ds.Rows, ds.Columns) == SMALL
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 12, 11)
        assert ds.pixel_array.max() <= 4095
        assert ds.BurnedInAnnotation == "NO"
        assert len(ds.PatientOrientation) == len(ds.ImagerPixelSpacing) == 2
        assert ds.PhotometricInterpretation == ("MONOCHROME1" if index == 7 or index == 15 else
                                                "MONOCHROME2")  # fmt: skip


def test_identifiers_are_unique_and_patients_have_up_to_three_images() -> None:
    instances = [dicom.identify(synth.draw(index, size=(16, 14))[0]) for index in range(120)]

    assert len({i.sop_instance_uid for i in instances}) == 120
    assert all(i.sop_instance_uid.startswith("2.25.") for i in instances)
    images = Counter(i.patient_id for i in instances)
    assert set(images.values()) == {1, 2, 3}
    assert images["SYN0-0001"] == 1
    by_patient = {i.patient_id: (i.sex, i.age_years) for i in instances}
    assert all(by_patient[i.patient_id] == (i.sex, i.age_years) for i in instances)
    laterals = [i for i in instances if i.view == "lateral"]
    assert len(laterals) == 8
    for lateral in laterals:
        study = [i for i in instances if i.study_instance_uid == lateral.study_instance_uid]
        assert {i.view for i in study} == {"frontal", "lateral"}
        assert len({i.patient_id for i in study}) == 1
    assert {i.view_position for i in instances} == {"PA", "AP", "LL"}


def test_truths_agree_with_the_label_set(truths: list[dict[str, State]]) -> None:
    names = (*synth.FINDINGS, NO_FINDING)
    labels = LabelSet("mimic_cxr", names, NO_FINDING, ("Support Devices",), PARENTS)

    for truth in truths:
        assert tuple(truth) == names
        assert labels.contradictions(truth) == []
        none = not any(truth[name] is PRESENT for name in labels.excluded)
        assert (truth[NO_FINDING] is PRESENT) is none


def test_every_finding_is_common_enough_to_learn(truths: list[dict[str, State]]) -> None:
    counts = Counter(name for truth in truths for name, state in truth.items() if state is PRESENT)
    shares = {name: counts[name] / len(truths) for name in (*synth.FINDINGS, NO_FINDING)}

    assert {name: share for name, share in shares.items() if not 0.13 <= share <= 0.42} == {}
    assert 0.2 <= shares[NO_FINDING] <= 0.32


def test_what_is_present_has_an_outline_inside_the_image() -> None:
    for index in range(60):
        _, truth = synth.draw(index)
        outlines = synth.outlines(index)
        present = [name for name in synth.FINDINGS if truth[name] is PRESENT]
        assert list(outlines) == present
        for ellipses in outlines.values():
            assert ellipses
            for ellipse in ellipses:
                assert 0 <= ellipse.x < 448
                assert 0 <= ellipse.y < 512
                assert min(ellipse.radius_x, ellipse.radius_y) > 0


def test_inverted_storage_looks_the_same() -> None:
    images = {index: dicom.read(synth.draw(index)[0])[0] for index in (6, 7, 8)}

    for image in images.values():
        corners = np.r_[image[:25, :40], image[:25, -40:]]
        assert corners.mean() < 0.2 < image[100:400, 210:240].mean()


@dataclass
class Seen:
    """A frontal image of 128 by 112 pixels, and where each finding is outlined."""

    image: np.ndarray
    outlines: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def frontals() -> list[Seen]:
    found = []
    for index in range(110):
        file, _ = synth.draw(index)
        if dicom.identify(file).view == "frontal":
            image = dicom.read(file)[0].reshape(128, 4, 112, 4).mean((1, 3))
            outlines = synth.outlines(index)
            found.append(Seen(image, {name: _mask(es) for name, es in outlines.items()}))
    return found


@pytest.mark.parametrize("finding", synth.FINDINGS)
def test_each_finding_is_seen_where_it_is_drawn(finding: str, frontals: list[Seen]) -> None:
    healthy = [seen.image for seen in frontals if not set(seen.outlines) - {"Support Devices"}]
    usual, spread = np.mean(healthy, axis=0), np.std(healthy, axis=0) + 0.02

    def oddness(image: np.ndarray, mask: np.ndarray) -> float:
        return float(np.abs((image - usual) / spread)[mask].mean())

    ill = [seen for seen in frontals if finding in seen.outlines]
    odd = [oddness(seen.image, seen.outlines[finding]) for seen in ill]
    chance = [oddness(image, seen.outlines[finding]) for image in healthy for seen in ill]

    assert len(ill) >= 8
    assert np.median(odd) > 1.25 * np.median(chance)


def _mask(ellipses: list[synth.Ellipse]) -> np.ndarray:
    rows, columns = np.mgrid[2:512:4, 2:448:4]
    inside = np.zeros(rows.shape, bool)
    for e in ellipses:
        inside |= ((columns - e.x) / e.radius_x) ** 2 + ((rows - e.y) / e.radius_y) ** 2 <= 1
    return inside


def test_other_sizes_show_the_same_chest() -> None:
    small, large = (dicom.read(synth.draw(3, size=size)[0])[0] for size in (SMALL, (512, 448)))
    shrunk = large.reshape(64, 8, 56, 8).mean((1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.97


def test_they_can_be_stored(tmp_path_factory: pytest.TempPathFactory) -> None:
    with FolderPacs(tmp_path_factory.mktemp("pacs")) as pacs:
        for index in range(20):
            pacs.store(synth.draw(index, size=SMALL)[0])
        assert pacs.count() == 20
        assert len({pacs.hashes(instance)[1] for instance in pacs.search()}) == 20
