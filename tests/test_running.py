"""A run is resumed as it began, or refused by the key that differs."""

import dataclasses

import pytest
from test_predictor import RECORD

from cxr import config, schema
from cxr.errors import RunError
from cxr.infra import checkpoints
from cxr.learning import keeping, predictor, running

BEGAN = (
    "data=job", "data.job=few", "name=one", "loss=bce", "augment.mixup=0.2",
    "targets.per_finding={Edema: {uncertain: ones}}",
)  # fmt: skip


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


def test_a_taken_name_is_refused_even_where_its_last_checkpoint_is_torn(folder):
    (folder / checkpoints.LAST).write_bytes(b"PK")

    with pytest.raises(RunError, match="name: a run called 'one' is there already"):
        running.earlier(configured(), folder)

    assert (folder / checkpoints.LAST).exists()


def test_a_run_that_kept_no_epoch_goes_on_from_its_beginning_or_gives_up_its_name(folder):
    (folder / checkpoints.LAST).unlink()

    assert running.earlier(configured(), folder) is None
    assert running.earlier(configured("resume=true"), folder) is not None


def test_what_never_began_cannot_be_resumed(tmp_path):
    with pytest.raises(RunError, match="name: no run called 'one'"):
        running.earlier(configured("resume=true"), tmp_path)
