"""An evaluation takes any number of images, and keeps patients' pictures where they belong."""

import dataclasses
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from test_fit import NAMES, NET, SIZE
from test_predictor import RECORD

from cxr import config, evaluate
from cxr.contract.labels import LabelSet, State
from cxr.errors import DataError
from cxr.images.dicom import Instance
from cxr.learning import evaluation
from cxr.learning.evaluation import cohort as flow
from cxr.learning.evaluation import tuning
from cxr.learning.examples import Cohort, Example
from cxr.learning.material import Material
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor
from cxr.learning.targets import Policy
from cxr.pacs import synthetic
from cxr.pacs.folder import FolderPacs

PICTURE = "data:image/png;base64,"


class Counted:
    """Images that note how many were asked for at once."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __getitem__(self, rows):
        self.asked.append(len(rows))
        return self.images[rows]


def material(count=60, job_sha256="b" * 64):
    rng = np.random.default_rng(0)
    examples = [
        Example(f"1.2.{k}", f"source-{k}", f"PAT-{k // 2}", f"1.3.{k}", (State.PRESENT,) * 3)
        for k in range(count)
    ]
    instances = tuple(
        Instance(e.patient_id, e.study_instance_uid, "", e.sop_instance_uid) for e in examples
    )
    labels = LabelSet("toy", NAMES, "No Finding")
    cohort = Cohort(labels, "readers", True, tuple(examples), instances)
    truth = rng.integers(2, size=(count, 3)).astype(np.float32)
    images = Counted(rng.integers(256, size=(count, SIZE, SIZE), dtype=np.uint8))
    hashes = [f"pixels-{k}" for k in range(count)]
    mask = np.ones((count, 3), bool)
    return Material(
        cohort, images, np.arange(count), truth, mask.astype(np.float32), truth, mask, ~mask,
        hashes, job_sha256, Policy(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictor():
    return Predictor(RECORD, build_net(NET, 3), "cpu")


def evaluated(root, predictor, given, **changed):
    options = {
        "job": "ward", "config_yaml": "", "warnings": [], "policies": {}, "pictures": True,
        "draws": 20, "seed": 0,
    } | changed  # fmt: skip
    context = evaluation.context(root, given, **options)
    chosen = np.arange(len(given.targets))
    return evaluation.evaluate(root / "out", predictor, given, chosen, "test", context)


def test_a_split_larger_than_memory_is_predicted_piece_by_piece(predictor):
    given = material(2 * tuning.AT_ONCE + 7)
    chosen = np.arange(len(given.targets))[::-1]

    made = tuning.probabilities(predictor, given, chosen)

    assert given.images.asked == [tuning.AT_ONCE, tuning.AT_ONCE, 7]
    assert (made == predictor.predict(given.images.images[chosen])).all()
    assert tuning.probabilities(predictor, given, chosen[:0]).shape == (0, 3)


def test_pictures_of_patients_are_in_one_report_and_not_in_the_one_to_share(tmp_path, predictor):
    made = evaluated(tmp_path, predictor, material())

    assert PICTURE in made.report.read_text()
    assert made.shareable != made.report
    shared = made.shareable.read_text()
    assert PICTURE not in shared
    assert f"{made.scored['auroc_macro']:.3f}" in shared
    # killed in between, it is there to take the other's place when a patient withdraws
    assert made.shareable.stat().st_mtime_ns <= made.report.stat().st_mtime_ns


def test_an_evaluation_without_pictures_leaves_no_report_of_the_one_before_it(tmp_path, predictor):
    before = evaluated(tmp_path, predictor, material())

    made = evaluated(tmp_path, predictor, material(40), pictures=False)

    assert not before.shareable.exists()
    assert PICTURE not in made.report.read_text()


def test_pictures_go_before_the_predictions_that_tell_whose_they_are(tmp_path, predictor):
    made = evaluated(tmp_path, predictor, material())
    (tmp_path / "out" / "metrics.json").unlink()
    (tmp_path / "out" / "metrics.json").mkdir()

    with pytest.raises(OSError, match="directory"):  # as if killed once predictions are written
        evaluated(tmp_path, predictor, material(40))

    assert len(made.predictions.read_text().splitlines()) == 41
    assert PICTURE not in made.report.read_text()


def test_without_pictures_of_patients_there_is_one_report_to_share(tmp_path, predictor):
    made = evaluated(tmp_path, predictor, material(), pictures=False)

    assert made.shareable == made.report
    assert PICTURE not in made.report.read_text()


@pytest.mark.parametrize("missing", [0, 1])
def test_pictures_are_shared_only_if_every_image_was_drawn(tmp_path, predictor, missing):
    pacs = FolderPacs(tmp_path / "pacs")
    truth = tmp_path / "synthetic" / "truth.csv"
    synthetic.draw_into(pacs, truth, images=12 - missing, seed=1, size=(64, 64))
    given = material(12)
    examples = list(given.cohort.examples)
    for k, instance in enumerate(pacs.search()):
        examples[k] = replace(examples[k], source=instance.orthanc_id)
    given = replace(given, cohort=replace(given.cohort, examples=tuple(examples)))

    made = evaluated(tmp_path, predictor, given, pictures=bool(missing))

    assert PICTURE in made.report.read_text()
    assert (PICTURE in made.shareable.read_text()) is not bool(missing)


def test_intervals_are_the_same_whatever_patients_are_called(tmp_path, predictor):
    given = material()
    others = tuple(
        replace(e, patient_id=f"nobody-{zlib.crc32(e.patient_id.encode())}")
        for e in given.cohort.examples
    )
    renamed = replace(given, cohort=replace(given.cohort, examples=others))

    made = evaluated(tmp_path, predictor, given)

    assert made.scored["auroc_macro_ci"]
    assert evaluated(tmp_path, predictor, renamed).scored == made.scored


def test_report_tells_what_was_trained_on_from_what_is_scored(tmp_path, predictor):
    trained = Predictor(
        dataclasses.replace(RECORD, job="clinic", manifest_sha256="a" * 64), predictor.net, "cpu"
    )

    text = evaluated(tmp_path, trained, material()).report.read_text()

    rows = dict(re.findall(r'<th scope="row">([^<]*)</th><td>([0-9a-f]{64})</td>', text))
    assert rows == {
        "trained on clinic: output manifest (sha256)": "a" * 64,
        "scored on ward: output manifest (sha256)": "b" * 64,
    }


def test_nothing_to_score_is_refused(tmp_path, predictor):
    with pytest.raises(DataError, match="ward: expected images to score in test, met none"):
        evaluated(tmp_path, predictor, material(0))


def reordered(given, order):
    examples = tuple(given.cohort.examples[k] for k in order)
    return replace(
        given,
        cohort=replace(
            given.cohort,
            examples=examples,
            instances=tuple(given.cohort.instances[k] for k in order),
        ),
        rows=given.rows[order],
        targets=given.targets[order],
        weights=given.weights[order],
        truth=given.truth[order],
        mask=given.mask[order],
        uncertain=given.uncertain[order],
        pixel_hashes=[given.pixel_hashes[k] for k in order],
    )


def test_material_is_the_same_in_any_order_and_another_with_any_change():
    given = material(9)
    flipped, unasked, softer = given.targets.copy(), given.mask.copy(), given.weights.copy()
    flipped[4, 1] = 1 - flipped[4, 1]
    unasked[4, 1] = False
    softer[4, 1] = 0.5
    renamed = replace(given.cohort.labels, names=("Top", "No Finding", "Bottom"))

    assert reordered(given, np.arange(9)[::-1]).sha256 == given.sha256
    others = [
        reordered(given, np.arange(8)),
        replace(given, targets=flipped),
        replace(given, truth=flipped),
        replace(given, mask=unasked),
        replace(given, weights=softer),
        replace(given, pixel_hashes=[*given.pixel_hashes[:-1], "other"]),
        replace(given, targets=given.targets[::-1]),
        replace(given, cohort=replace(given.cohort, labels=renamed)),
    ]
    assert len({given.sha256, *(other.sha256 for other in others)}) == 9


def test_a_report_says_what_the_job_did_before_its_manifest_and_only_what_it_knows(
    tmp_path, predictor
):
    given = material()
    weighed = replace(given, cohort=replace(given.cohort, consolidation=("dawid_skene",)))
    bare = evaluated(tmp_path, predictor, given, pictures=False).report.read_text()
    job = tmp_path / "jobs" / "ward"
    job.mkdir(parents=True)
    rows = ["7,a,lateral", "8,b,further frontal", "9,c,lateral"]
    (job / "passed_over.csv").write_text("\n".join(["sop_instance_uid,source,view", *rows]))

    told = evaluated(tmp_path, predictor, weighed, pictures=False).report.read_text()

    assert "<b>63</b> images that the job found" in told
    assert "<b>2</b> lateral: no view that the job asked for" in told
    assert "<b>1</b> further frontal: another image stands for the study" in told
    assert "not accounted for" not in told
    assert "<dd>readers weighed by how reliable they are (Dawid and Skene)</dd>" in told
    assert "The flow begins with the job&#39;s output manifest" in bare.replace("'", "&#39;")
    assert "images that the job found" not in bare
    assert "Consolidation" not in bare


def test_a_list_of_what_a_job_passed_over_that_is_none_is_refused(tmp_path):
    (tmp_path / "passed_over.csv").write_text("image\n7\n")

    with pytest.raises(DataError, match=r"with a column view: KeyError\('view'\); remove it"):
        flow.passed_over(tmp_path)


def test_an_evaluation_does_not_show_settings_that_are_the_runs():
    asked = evaluate._asked(config.compose("evaluate", ["run=a", "draws=123"]))

    assert "draws: 123" in asked
    assert "job:" in asked
    assert not re.search("image_size|batch_size|folds|calibration", asked)
