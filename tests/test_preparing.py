"""A run begins with labels that fit its config, and with splits that share nobody."""

import numpy as np
import pytest
import torch
from specimens import dicom
from test_examples import line, written

from cxr import config, schema
from cxr.contract.labels import ANSWERS
from cxr.errors import ConfigError, DataError
from cxr.learning import folds, preparing, running
from cxr.pacs.folder import FolderPacs

COUNT = 12


def voted(source, present, **keys):
    """A line on which one of three readers was alone about Edema."""
    made = line(source, states=("present", "absent") if present else ("absent", "present"), **keys)
    for item in made["chest"]["findings"]:
        alike = item["state"]
        other = "absent" if alike == "present" else "present"
        votes = {str(state): 0 for state in ANSWERS} | {alike: 2, other: 1}
        item |= {"votes": votes, "probability": None}
    made["chest"]["findings"][0]["probability"] = 0.875 if present else 0.25
    return made


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Jobs of twelve images of six patients: with votes, without, and of a text."""
    root = tmp_path_factory.mktemp("root")
    pacs = FolderPacs(root / "pacs")
    stored = [
        pacs.store(dicom(n, patient=f"SECRET-{n // 2}", study=f"9.{n // 2}")) for n in range(COUNT)
    ]
    made = {
        "voted": [voted(i.orthanc_id, n % 3 == 0) for n, i in enumerate(stored)],
        "uneven": [
            voted(i.orthanc_id, n % 3 == 0) for n, i in enumerate(stored) if n not in (1, 3)
        ],
        "family": [
            line(
                i.orthanc_id,
                ("not_mentioned", "present" if n < 4 else "absent"),
                names=("Opacity", "Edema"),
                **{"label-parents": {"Opacity": ["Edema"]}},
            )
            for n, i in enumerate(stored)
        ],
        "plain": [line(i.orthanc_id) for i in stored],
        "text": [
            line(i.orthanc_id, ("uncertain", "not_mentioned"), **{"label-not-mentioned": "ignore"})
            for i in stored
        ],
    }
    for name, lines in made.items():
        folder = root / "jobs" / name / "manifests" / "output"
        folder.mkdir(parents=True)
        written(folder, *lines)
    return root


def ready(root, job, *edits):
    cfg = config.compose(
        "train",
        [f"root={root}", f"data.job={job}", "data.image_size=[32,32]", "data.workers=1",
         "name=run", *edits],
    )  # fmt: skip
    cfg = config.check(cfg, schema.Train)
    return cfg, preparing.material(cfg, root)


def test_votes_and_probabilities_reach_the_targets(root):
    _, plain = ready(root, "voted")
    _, soft = ready(root, "voted", "targets.probabilities=true", "targets.confidence=true")

    expected = np.where(plain.truth[:, 0] == 1, 0.875, 0.25)
    assert (soft.targets[:, 0] == expected.astype(np.float32)).all()
    assert (soft.targets[:, 1] == plain.targets[:, 1]).all()
    assert soft.weights == pytest.approx(np.full((COUNT, 2), 1 / 3))
    assert (plain.weights == 1).all()
    for same in ("truth", "mask", "uncertain"):
        assert (getattr(soft, same) == getattr(plain, same)).all()
    assert soft.sha256 != plain.sha256


def test_what_uncertain_becomes_is_trained_on_and_never_scored(root):
    _, plain = ready(root, "text")
    _, ones = ready(
        root,
        "text",
        "targets.uncertain=ones",
        "targets.per_finding={No Finding: {not_mentioned: zeros}}",
    )

    assert plain.weights.max() == 0
    assert ones.targets.tolist() == [[1, 0]] * COUNT
    assert ones.weights.tolist() == [[1, 1]] * COUNT
    assert ones.mask.tolist() == [[False, True]] * COUNT
    assert ones.truth.max() == 0
    assert ones.uncertain.tolist() == plain.uncertain.tolist() == [[True, False]] * COUNT


@pytest.mark.parametrize(
    ("job", "edits", "message"),
    [
        (
            "plain", ["targets.probabilities=true"],
            "targets.probabilities: expected labels with consolidated probabilities, met none; "
            "label with job.consolidation=dawid_skene, or set it to false",
        ),
        (
            "plain", ["targets.confidence=true"],
            "targets.confidence: expected images that two readers answered, or consolidated "
            "probabilities, met neither; set it to false",
        ),
        (
            "plain", ["targets.per_finding={Edeam: {uncertain: ones}}"],
            "targets.per_finding: no label 'Edeam' in label set 'two'; did you mean 'Edema'?",
        ),
        (
            "plain", ["data.split=/nowhere/split.csv"],
            "data.split: expected a CSV file, met /nowhere/split.csv (No such file or directory)",
        ),
        (
            "plain", ["data.split=split.csv", "data.test=list", "data.test_list=patients.txt"],
            "data.split: expected it alone, for it says who is tested on, met data.test=list",
        ),
    ],
)  # fmt: skip
def test_what_labels_or_tables_do_not_have_is_refused_before_decoding(root, job, edits, message):
    with pytest.raises((ConfigError, DataError)) as met:
        ready(root, job, *edits)

    assert str(met.value) == message


def test_a_publishers_split_is_honoured_and_kept(root, tmp_path):
    table = tmp_path / "mimic-cxr-2.0.0-split.csv"
    names = ["train", "train", "train", "validate", "validate", "test"]
    rows = [f"d{n},s{n},SECRET-{n},{name}\n" for n, name in enumerate(names)]
    table.write_text("dicom_id,study_id,subject_id,split\n" + "".join(rows))
    cfg, made = ready(root, "plain", f"data.split={table}")

    roles = preparing.splits(cfg, root, tmp_path / "run", made, None)

    for patient, role in zip(made.patient_ids, roles, strict=True):
        assert {"validate": "val"}.get(names[int(patient[-1])], names[int(patient[-1])]) == role
    assert folds.load(tmp_path / "run" / "split.csv") == dict(
        zip(made.sop_instance_uids, roles, strict=True)
    )
    assert "SECRET" not in (tmp_path / "run" / "split.csv").read_text()


def test_a_table_that_divides_a_patient_is_refused_by_pseudonym_before_anything_is_kept(
    root, tmp_path
):
    cfg, made = ready(root, "plain")
    folds.save(tmp_path / "t.csv", made.sop_instance_uids, ["train", "val", "test"] * (COUNT // 3))
    cfg, made = ready(root, "plain", f"data.split={tmp_path / 't.csv'}")

    named = r"image [0-9a-f]{12} of patient [0-9a-f]{12} in train and "
    with pytest.raises(DataError, match=rf"leak: 6 of 6 patients .* {named}") as met:
        preparing.splits(cfg, root, tmp_path / "run", made, None)

    assert "SECRET" not in str(met.value)
    assert not (tmp_path / "run").exists()
    told = preparing.leaked(root, "run")
    assert str(told) in str(met.value)
    assert told.read_text().count("SECRET-") == 2 * COUNT  # by patient, and by study
    cfg, made = ready(root, "plain")
    preparing.splits(cfg, root, tmp_path / "run", made, None)
    assert not told.exists()


def test_listed_patients_are_tested_on_whatever_the_fold(root, tmp_path):
    listed = tmp_path / "test.txt"
    listed.write_text("SECRET-3\n\nSECRET-0\nnobody\n")

    for fold in (0, 1):
        cfg, made = ready(
            root, "plain", "data.test=list", f"data.test_list={listed}", "data.folds=2",
            f"data.fold={fold}",
        )  # fmt: skip
        roles = preparing.splits(cfg, root, tmp_path / str(fold), made, None)
        tested = {p for p, role in zip(made.patient_ids, roles, strict=True) if role == "test"}
        assert tested == {"SECRET-0", "SECRET-3"}


def test_a_list_saved_with_a_mark_begins_with_its_first_patient_and_another_code_is_refused(
    root, tmp_path
):
    listed = tmp_path / "test.txt"
    listed.write_text("SECRET-3\r\nSECRET-0\r\n", encoding="utf-8-sig")
    asked = ("data.test=list", f"data.test_list={listed}", "data.folds=2")
    cfg, made = ready(root, "plain", *asked)

    roles = preparing.splits(cfg, root, tmp_path / "run", made, None)

    tested = {p for p, role in zip(made.patient_ids, roles, strict=True) if role == "test"}
    assert tested == {"SECRET-3", "SECRET-0"}
    listed.write_text("Jörg\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"^data.test_list: expected .*test.txt' \(not UTF-8\)$"):
        preparing.splits(cfg, root, tmp_path / "run", made, None)


@pytest.mark.parametrize(
    ("job", "edits"),
    [
        ("text", ["targets.uncertain=ones", "targets.uncertain=ignore"]),
        ("family", ["targets.consistent=true", "targets.consistent=false"]),
    ],
)
def test_the_split_does_not_depend_on_what_states_become(root, tmp_path, job, edits):
    divided = []
    for number, edit in enumerate(edits):
        cfg, made = ready(root, job, edit, "data.folds=3")
        divided.append(preparing.splits(cfg, root, tmp_path / str(number), made, None).tolist())

    assert divided[0] == divided[1]
    assert set(divided[0]) == {"train", "val", "test"}


def test_what_a_loss_counts_is_train_with_its_patients_capped(root, tmp_path):
    net = (
        "model.net={_target_: monai.networks.nets.DenseNet, spatial_dims: 2, in_channels: 1, "
        "init_features: 4, growth_rate: 2, block_config: [1, 1]}"
    )
    cfg, made = ready(
        root, "uneven", "loss.pos_weight=true", "data.patient_cap=1", "trainer=smoke",
        "model=densenet121", net,
    )  # fmt: skip
    patients = np.array([int(patient[-1]) for patient in made.patient_ids])
    roles = np.where(patients < 4, "train", "val")

    running.fitted(cfg, tmp_path, made, roles, "val/loss", resume=False)

    # one image each of patients 0 and 1, half of each of the two of patients 2 and 3
    weights = np.where(patients < 2, 1, 0.5)[roles == "train"]
    present = made.targets[roles == "train"] == 1
    expected = (weights @ ~present) / (weights @ present)
    assert len(set(expected)) == 2
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert kept["loss.pos_weight"].numpy() == pytest.approx(expected)
