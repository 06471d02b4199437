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
    thresholds={
        "Edema": {"threshold": 0.25, "method": "youden", "at": None, "split": "val"},
        "A|B": {"threshold": None, "reason": "sensitivity 0.9 is not reached on val"},
    },
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
    why = "A|B (sensitivity 0.9 is not reached on val), No Finding (nobody asked for one)"
    assert f"No threshold was chosen for {why}." in document["limits"]


def test_a_card_for_people_says_the_same(tmp_path, scored):
    card.write(tmp_path, RECORD, scored)

    text = (tmp_path / "model-card.md").read_text()
    assert text.startswith("# Model card: run-1\n\n**Research use only.")
    row, point = (line for line in text.splitlines() if line.startswith("| Edema"))
    assert row.endswith("| 0.250 |")
    assert point.startswith("| Edema | 0.250 | youden on val |")
    assert f"{scored['labels']['Edema']['auroc']:.3f}" in row
    assert "| A\\|B |" in text
    assert "80 train, 20 val, 40 test" in text
    assert "SECRET" not in text


def test_labels_no_radiologist_read_are_a_limit(scored):
    document = card.describe(
        replace(RECORD, label_source="report-text-mined"), scored | {"human_annotated": False}
    )

    assert "No radiologist read these images for these labels." in document["limits"]


SECTIONS = {
    "within_view": {
        "auroc_macro": 0.612, "auroc_macro_ci": [0.5, 0.7], "findings": ["Edema"], "pooled": 0.634,
        "reason": None,
    },
    "metadata_only": {
        "auroc_macro": 0.587, "auroc_macro_ci": None, "difference": 0.041, "difference_ci": None,
        "asked": ["view"], "reason": None,
    },
    "subgroups": {"worst": {"auroc_macro": {
        "column": "sex", "better": "M", "worse": "F", "difference": 0.123, "ci": [0.01, 0.2],
        "looks": 7, "by_chance": 0.3,
    }}},
    "calibration": {"labels": {"Edema": {"after": {"brier": 0.1234, "ece": 0.0567}}}},
    "operating": {"labels": {"Edema": {"prevalence": 0.1, "ppv": 0.321, "npv": 0.987}}},
    "cohort": {"splits": {"train": {
        "patients": 60, "images": 80, "age": {"median": 51.0}, "sex": {"F": 33, "M": None},
        "view": {}, "findings": {},
    }}},
}  # fmt: skip


def test_a_card_says_what_stands_beside_the_headline_and_who_was_trained_on(scored):
    document = card.describe(RECORD, scored | SECTIONS)

    text = card.markdown(document, scored | SECTIONS)
    assert (
        "within one view: 0.612 (0.500–0.700); mean of AP and PA, 1 finding; together 0.634" in text
    )
    assert "view, age and sex alone: 0.587; the model: +0.041" in text
    assert "by sex, AUROC 0.123 (95 % CI +0.010 to +0.200) lower for F than for M; " in text
    assert (
        "the largest of 7 looked at; were there none, chance would show one as large in 30 %"
        in text
    )
    assert "| train | 60 | 80 | 51 | F 33, M withheld | not known |" in text
    assert "| 0.123 | 0.057 | 0.250 |" in text
    assert "0.321, 0.987 at 10 %" in text
    assert document["metadata_only"]["auroc_macro"] == 0.587
    assert document["data"]["train"]["patients"] == 60
    assert document["out_of_scope"]
    json.dumps(document, allow_nan=False)


def test_a_card_says_so_where_nothing_stands_beside_the_headline(scored):
    text = card.markdown(card.describe(RECORD, scored), scored)

    assert "within one view: –; not known: no image says whether it is AP or PA" in text
    assert "view, age and sex alone: –; not known: not asked" in text


def test_a_card_for_people_says_what_the_net_is_how_it_was_trained_and_by_which_policies(scored):
    record = replace(
        RECORD, net={"_target_": "monai.networks.nets.ResNet", "layers": [2, 2]},
        weights={"source": "densenet.pth"}, policy={"uncertain": "zeros", "per_finding": {}},
        settings={
            "trainer.max_epochs": "50", "model.optimizer._target_": "torch.optim.AdamW",
            "model.optimizer.lr": "0.001",
        },
    )  # fmt: skip
    alone, whole = (
        card.markdown(card.describe(one, scored), scored)
        for one in (record, replace(RECORD, members=("a", "b")))
    )

    assert "- Net: ResNet (layers [2, 2])." in alone
    assert "- Began with densenet.pth." in alone
    assert "- Trained with: epochs 50, optimizer AdamW, learning rate 0.001." in alone
    assert "uncertain zeros, not_mentioned as the label set says." in alone
    assert "- The mean of the runs a, b." in whole
    assert "Trained with" not in whole
