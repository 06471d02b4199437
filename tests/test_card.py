"""A model card says what a model is for, how well it does, and where it ends."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxr.learning import card, score
from cxr.learning.predictor import RunRecord

NAMES = ("Edema", "A|B", "No Finding")
RECORD = RunRecord(
    name="run-1", run_id="r", label_names=NAMES, label_set="few", label_source="readers",
    no_finding="No Finding", image_size=(96, 128), preset="voi", net={"_target_": "net"},
    job="chest", manifest_sha256="a" * 64, examples_sha256="b" * 64, seed=1,
    counts={"train": 80, "val": 20, "test": 40},
    thresholds={"Edema": {"threshold": 0.25}, "A|B": {"threshold": None}},
)  # fmt: skip


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=(40, 3)).astype(float)
    return score.score(
        np.clip(targets * 0.4 + rng.random((40, 3)) * 0.6, 0, 1), targets, np.ones((40, 3), bool),
        names=NAMES, patient_ids=[f"SECRET-{n}" for n in range(40)], no_finding="No Finding",
        thresholds=RECORD.thresholds, label_source="readers", human_annotated=True, draws=100,
    )  # fmt: skip


def test_a_card_holds_use_limits_hashes_and_numbers(tmp_path, scored):
    card.write(tmp_path, RECORD, scored, ["Synthetic radiographs."])

    document = json.loads((tmp_path / "model-card.json").read_text())
    assert document["schema"] == "cxr-model-card/1"
    assert document["data"]["manifest_sha256"] == "a" * 64
    assert document["data"]["examples_sha256"] == "b" * 64
    assert document["metrics"]["auroc_macro"] == scored["auroc_macro"]
    assert document["thresholds"] == {"Edema": 0.25, "A|B": None}
    assert document["limits"][0] == "Synthetic radiographs."
    assert "No threshold was chosen for A|B, No Finding: too few images." in document["limits"]


def test_a_card_for_people_says_the_same(tmp_path, scored):
    card.write(tmp_path, RECORD, scored)

    text = (tmp_path / "model-card.md").read_text()
    assert text.startswith("# Model card: run-1\n\n**Research use only.")
    (row,) = (line for line in text.splitlines() if line.startswith("| Edema"))
    assert row.endswith("| 0.250 |")
    assert f"{scored['labels']['Edema']['auroc']:.3f}" in row
    assert "| A\\|B |" in text
    assert "80 train, 20 val, 40 test" in text
    assert "SECRET" not in text


def test_labels_no_radiologist_read_are_a_limit(scored):
    document = card.describe(
        replace(RECORD, label_source="report-text-mined"), scored | {"human_annotated": False}
    )

    assert "No radiologist read these images for these labels." in document["limits"]
