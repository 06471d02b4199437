"""From a published set's files to a trained experiment, in small; and what each one promises."""

import csv
import json

import pytest
from ingest_command import here
from omegaconf import OmegaConf
from published_sets import nih

from cxr import config, label, schema, train

TINY = [
    "data.image_size=[32,32]", "data.batch_size=8", "trainer.max_epochs=2", "draws=100",
    "evaluate.shortcuts=false", "evaluate.subgroups=[]",
]  # fmt: skip
TINY_NET = [
    "model=densenet121",
    "model.net={_target_:monai.networks.nets.DenseNet,spatial_dims:2,in_channels:1,"
    "init_features:4,growth_rate:4,block_config:[1,1]}",
]


def checked(*overrides):
    composed = config.compose("train", list(overrides))
    return config.check(composed, schema.Train), composed


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with job `nih`: 24 patients, of whom the publisher keeps four for testing."""
    folder = tmp_path_factory.mktemp("nih")
    rows = [
        (f"{1 + n // 2:08}_{n % 2:03}.png", ("No Finding", "Edema|Mass", "Edema")[n // 2 % 3],
         n % 2, 1 + n // 2, f"{20 + n:03}Y", "MF"[n // 2 % 2], ("PA", "AP")[n % 2])
        for n in range(48)
    ]  # fmt: skip
    nih(folder / "set", rows, test=[row[0] for row in rows[-8:]])
    here(folder / "root", f"folder={folder / 'set'}", "published=nih14")
    given = config.compose(
        "label", [f"root={folder / 'root'}", "job=published", "job.name=nih", "labels=nih14"]
    )
    label.main(config.check(given, schema.Label), given)
    return folder / "root"


def trained(root, name, *overrides):
    """Train; what its metrics.json and split.csv say."""
    cfg, composed = checked(f"root={root}", f"name={name}", *TINY, *overrides)
    train.main(cfg, composed)
    run = root / "runs" / name
    return json.loads((run / "metrics.json").read_text()), (run / "split.csv").read_text()


@pytest.mark.slow
def test_nih_frontal_trains_on_an_imported_set_and_tests_on_its_published_list(root):
    listed = root / "published" / "nih" / "test_patients.txt"

    told, split = trained(
        root, "frontal", "experiment=nih_frontal", *TINY_NET,
        "data.test=list", f"data.test_list={listed}",
    )  # fmt: skip

    assert listed.read_text().split() == [f"NIH{n:08}" for n in (21, 22, 23, 24)]
    assert split.count(",test") == 8
    assert told["split"] == "test"


@pytest.mark.slow
def test_the_public_samples_recipe_trains_and_its_probabilities_share_one(root):
    trained(root, "blog", "experiment=blog")

    with (root / "runs" / "blog" / "predictions.csv").open(newline="") as file:
        rows = [[float(p) for name, p in row.items() if name != "sop_instance_uid"]
                for row in csv.DictReader(file)]  # fmt: skip
    assert len(rows[0]) == 15
    assert [sum(row) for row in rows] == pytest.approx([1.0] * len(rows), abs=1e-4)


@pytest.mark.parametrize("recipe", ["plain", "blog", "chexclusion"])
def test_a_recipe_says_every_key_that_decides_a_run(recipe):
    """So it stays what it is when the groups' own defaults change."""
    cfg, _ = checked(f"recipe={recipe}")
    said = OmegaConf.load(config.conf_dir() / "recipe" / f"{recipe}.yaml")

    assert "objective" in said
    for section, elsewhere in (
        ("targets", {"soft"}),  # asked only with uncertain=soft
        ("augment", set()),
        ("model", {"net"}),  # by the group
        ("trainer", {"accelerator"}),  # the machine's
    ):
        assert set(getattr(cfg, section).model_dump()) - elsewhere == set(said[section])


def test_compare_runs_both_recipes_on_the_same_folds_and_seeds():
    sweep = OmegaConf.load(config.conf_dir() / "experiment" / "compare.yaml").hydra
    (plain, _), (default, _) = (
        checked("experiment=compare", f"recipe={name}", "seed=2", "data.fold=3")
        for name in ("plain", "default")
    )

    assert sweep.mode == "MULTIRUN"
    assert OmegaConf.to_container(sweep.sweeper.params, resolve=False) == {
        "seed": "1,2,3", "data.fold": "range(0,${data.folds})", "recipe": "plain,default",
    }  # fmt: skip
    divided = {"job", "folds", "fold", "test", "test_list", "split"}
    assert plain.data.model_dump(include=divided) == default.data.model_dump(include=divided)
    assert plain.name != default.name


@pytest.mark.parametrize(
    ("name", "batch", "degrees", "mean"),
    [("chexclusion_mimic", 48, 15.0, ".834"), ("chexclusion_nih", 32, 10.0, ".849")],
)
def test_the_published_protocol_is_an_80_10_10_division_of_patients(name, batch, degrees, mean):
    cfg, _ = checked(f"experiment={name}")

    assert (cfg.data.folds, cfg.data.test, cfg.data.split) == (10, "fold", None)
    assert (cfg.data.batch_size, cfg.augment.rotation_deg, cfg.augment.flip) == (
        batch,
        degrees,
        0.5,
    )
    assert (cfg.targets.uncertain, cfg.targets.not_mentioned) == ("zeros", "zeros")
    assert not cfg.targets.consistent
    assert (cfg.model.optimizer.target, cfg.model.optimizer.lr) == ("torch.optim.Adam", 5e-4)
    assert cfg.model.weights == "densenet121-a639ec97.pth"
    assert (cfg.model.schedule, cfg.trainer.patience, cfg.objective) == ("plateau", 10, "val/loss")
    assert mean in (config.conf_dir() / "experiment" / f"{name}.yaml").read_text()
