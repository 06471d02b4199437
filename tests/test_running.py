"""A run is resumed as it began, or refused by the key that differs."""

import dataclasses
import functools

import pytest
from omegaconf import OmegaConf
from sagemaker_site import NET
from test_predictor import RECORD

from cxr import config, schema, train
from cxr.errors import CxrError, RunError
from cxr.infra import checkpoints
from cxr.learning import keeping, predictor, running

BEGAN = (
    "data=job", "data.job=few", "name=one", "loss=bce", "augment.mixup=0.2",
    "targets.per_finding={Edema: {uncertain: ones}}",
)  # fmt: skip


@functools.cache
def configured(*overrides):
    return config.check(config.compose("train", [*BEGAN, *overrides]), schema.Train)


@pytest.fixture
def folder(tmp_path):
    """A run that ended early, with one epoch kept."""
    record = dataclasses.replace(RECORD, settings=running.settings(configured()))
    predictor.save_run(tmp_path, record)
    keeping.write(tmp_path / checkpoints.LAST, {})
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("loss.pos_weight=true", "loss.pos_weight: expected False, with which 'one' began, met T"),
        ("targets.uncertain=zeros", "targets.uncertain: expected ignore"),
        ("augment.mixup=0", "augment.mixup: expected 0.2"),
        ("trainer.ema=0.99", "trainer.ema: expected None, .* met 0.99"),
        ("seed=7", "seed: expected 42"),
    ],
)
def test_what_decides_the_figures_must_be_as_it_was(folder, changed, message):
    with pytest.raises(RunError, match=message):
        running.earlier(configured("resume=true", changed), folder)


def test_what_decides_nothing_of_the_training_may_change(folder):
    changed = ("data.workers=3", "draws=200", "examples=true", "evaluate.unit=patient")

    assert running.earlier(configured("resume=true", *changed), folder) is not None


def test_a_setting_that_was_taken_away_is_named_too(folder):
    began = running.settings(configured()) | {"targets.per_finding.Fracture.uncertain": "zeros"}
    predictor.save_run(folder, dataclasses.replace(RECORD, settings=began))

    with pytest.raises(RunError, match=r"per_finding.Fracture.uncertain: .*zeros.* met none"):
        running.earlier(configured("resume=true"), folder)


def test_a_run_that_began_before_there_was_a_key_goes_on_where_it_did_the_same(folder):
    began = running.settings(configured())
    del began["targets.consistent"]
    predictor.save_run(folder, dataclasses.replace(RECORD, settings=began))

    assert running.earlier(configured("resume=true"), folder) is not None
    with pytest.raises(RunError, match=r"targets.consistent: expected True, .* met False"):
        running.earlier(configured("resume=true", "targets.consistent=false"), folder)


def test_a_taken_name_is_refused_even_where_its_last_checkpoint_is_torn(folder):
    (folder / checkpoints.LAST).write_bytes(b"PK")

    with pytest.raises(RunError, match="name: a run called 'one' is there already"):
        running.earlier(configured(), folder)

    assert (folder / checkpoints.LAST).exists()


def test_a_run_that_kept_no_epoch_goes_on_from_its_beginning_or_gives_up_its_name(folder):
    (folder / checkpoints.LAST).unlink()

    assert running.earlier(configured(), folder) is None
    assert running.earlier(configured("resume=true"), folder) is not None


@pytest.mark.parametrize(
    ("changed", "met"),
    [
        ({"kept": {"score": 0.8}}, "finished, and its checkpoints are gone"),
        ({"thresholds": {"Edema": {"threshold": 0.5}}}, "finished, and its checkpoints are gone"),
        ({"members": ("a", "b")}, "an ensemble"),
    ],
)
def test_a_finished_run_keeps_its_name_whatever_became_of_its_checkpoints(folder, changed, met):
    (folder / checkpoints.LAST).unlink()
    predictor.save_run(folder, dataclasses.replace(RECORD, **changed))

    with pytest.raises(RunError, match=r"is there already; choose another name$"):
        running.earlier(configured(), folder)
    with pytest.raises(RunError, match=f"'one' is {met}, so there is nothing to go on from"):
        running.earlier(configured("resume=true"), folder)


def test_a_run_with_nothing_but_its_best_epoch_keeps_its_name(folder):
    (folder / checkpoints.LAST).rename(folder / predictor.CHECKPOINT)

    with pytest.raises(RunError, match="is there already"):
        running.earlier(configured(), folder)

    assert running.earlier(configured("resume=true"), folder) is not None


def test_what_never_began_cannot_be_resumed_but_begins_in_a_sweep(tmp_path):
    with pytest.raises(RunError, match="name: no run called 'one'"):
        running.earlier(configured("resume=true"), tmp_path)

    assert running.earlier(configured("resume=true"), tmp_path, begins_rest=True) is None


@pytest.fixture(scope="module")
def composed():
    return config.compose("train", [*BEGAN, "model=densenet121", f"model.net={NET}"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.weights", "imagenet.pth", "model.weights: expected a file or a finished run, met"),
        ("loss", {"_target_": "cxr.learning.losses.Asymmetric", "clip": 2}, "loss.clip: expected"),
        ("model.net.spatial_dims", 3, "model.net: expected a net that takes images of 1 x 128 x"),
        ("model.net.in_channels", 3, "model.net: .*, met one that cannot: .*to have 3 channels"),
        ("model.net.act", "nonsense", "monai.networks.nets.DenseNet: .*'NONSENSE'"),
    ],
)
def test_what_cannot_be_built_or_found_is_said_before_the_job_is_even_read(
    tmp_path, composed, key, value, message
):
    given = OmegaConf.merge(composed, {"root": str(tmp_path)})
    OmegaConf.update(given, key, value, force_add=True, merge=False)

    with pytest.raises(CxrError, match=message):
        train.train(given)

    assert [p.name for p in tmp_path.iterdir()] == ["at-work"]
