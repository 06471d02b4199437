"""Training learns, keeps its best epoch, and ends sanely however it ends."""

import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr.errors import ConfigError, DataError, RunError
from cxr.learning import fit
from cxr.learning.dataset import CxrData
from cxr.learning.model import Classifier, build_net, build_optimizer

NAMES = ("Top", "Bottom", "No Finding")
NET = {
    "_target_": "monai.networks.nets.DenseNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
}
SIZE = 16


def learnable(train=64, val=32, seed=0):
    """Noise with a bright half for each finding."""
    rng = np.random.default_rng(seed)
    count = train + val
    has = rng.integers(2, size=(count, 2))
    images = rng.integers(0, 90, size=(count, SIZE, SIZE), dtype=np.uint8)
    images[:, : SIZE // 2] += (has[:, 0, None, None] * 60).astype(np.uint8)
    images[:, SIZE // 2 :] += (has[:, 1, None, None] * 60).astype(np.uint8)
    targets = np.column_stack([has, ~has.any(axis=1)]).astype(np.float32)
    splits = np.array(["train"] * train + ["val"] * val)
    return CxrData(
        images, np.arange(count), targets, np.ones(targets.shape, bool), splits, batch_size=16
    )


def classifier(seed=42):
    return Classifier(
        build_net(NET, 3, seed=seed),
        NAMES,
        optimizer=build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1e-2}),
        excluded_from_macro=["No Finding"],
    )


def run(folder: Path, **options):
    given = {"max_epochs": 4, "accelerator": "cpu", "precision": "32-true"} | options
    return fit.fit(classifier(), learnable(), folder=folder, **given)


def test_a_learnable_set_is_learnt_and_every_epoch_is_told(tmp_path, capfd):
    told = []

    fitted = run(tmp_path, max_epochs=6, log_metrics=lambda m, e: told.append((e, dict(m))))

    scores = [metrics["val/auroc_macro"] for _, metrics in told]
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4, 5, 6]
    assert max(scores) > 0.9
    assert scores[-1] > scores[0]
    assert fitted.score == pytest.approx(max(scores))
    assert fitted.epoch == 1 + int(np.argmax(scores))
    assert fitted.epochs == 6
    assert fitted.images_per_s > 0
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("epoch 1/6  loss ")
    assert "images/s" in lines[0]
    assert lines[-1].endswith("0:00 left")


def test_best_checkpoint_holds_the_best_epoch_and_loads_as_tensors(tmp_path):
    fitted = run(tmp_path, max_epochs=6)

    assert fitted.checkpoint_path == tmp_path / "best.ckpt"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    best = torch.load(fitted.checkpoint_path, weights_only=True)
    assert best["epoch"] == fitted.epoch - 1
    assert "optimizer_states" not in best
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 5


def test_a_loss_is_minimised(tmp_path):
    told = []

    fitted = run(tmp_path, objective="val/loss", log_metrics=lambda m, _: told.append(m))

    assert fitted.score == pytest.approx(min(m["val/loss"] for m in told))


def test_an_auroc_is_maximised_even_of_a_finding_called_loss(tmp_path):
    told = []
    names = ("Top", "Volume loss", "No Finding")
    model = Classifier(
        build_net(NET, 3),
        names,
        optimizer=build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1e-2}),
    )

    fitted = fit.fit(
        model, learnable(), folder=tmp_path, max_epochs=4, accelerator="cpu",
        objective="val/auroc/Volume loss", log_metrics=lambda m, _: told.append(m),
    )  # fmt: skip

    assert fitted.score == pytest.approx(max(m["val/auroc/Volume loss"] for m in told))


def test_same_seed_same_figures(tmp_path):
    told = [[], []]

    for k in (0, 1):
        run(tmp_path / str(k), max_epochs=2, log_metrics=lambda m, _, k=k: told[k].append(m))

    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("schedule", "precision"),
    [("plateau", "32-true"), ("one_cycle", "32-true"), ("one_cycle", "bf16-mixed")],
)
def test_resume_ends_where_an_uninterrupted_run_does(tmp_path, schedule, precision):
    whole, parts = [], []
    options = {"max_epochs": 12, "ema": 0.9} if schedule == "plateau" else {}

    def fitted_in(name, told, **more):
        net = build_net(NET | {"dropout_prob": 0.3}, 3)
        made = build_optimizer({"_target_": "torch.optim.AdamW", "lr": 3e-2})
        model = Classifier(
            net, NAMES, optimizer=made, schedule=schedule, excluded_from_macro=["No Finding"]
        )
        return fit.fit(
            model, learnable(), folder=tmp_path / name, log_metrics=told, accelerator="cpu",
            precision=precision, **({"max_epochs": 4} | options | more),
        )  # fmt: skip

    expected = fitted_in("whole", lambda m, e: whole.append((e, m)))

    def stop_after_some(metrics, epoch):
        parts.append((epoch, metrics))
        if epoch == expected.epochs - (4 if schedule == "plateau" else 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted_in("parts", stop_after_some)
    # the checkpoint is written after metrics are told, so that epoch is done again
    parts.pop()
    fitted = fitted_in(
        "parts", lambda m, e: parts.append((e, m)), resume_from=tmp_path / "parts" / "last.ckpt"
    )

    assert parts == whole
    assert (fitted.epoch, fitted.score) == (expected.epoch, expected.score)
    ends = [
        torch.load(tmp_path / name / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    ]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    rates = [metrics["train/lr"] for _, metrics in whole]
    assert rates[-1] < max(rates)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = run(tmp_path)
    before = (tmp_path / "best.ckpt").read_bytes()

    again = run(tmp_path, resume_from=tmp_path / "last.ckpt")

    assert (again.score, again.epoch) == (first.score, first.epoch)
    assert again.epochs == 4
    assert (tmp_path / "best.ckpt").read_bytes() == before


def test_a_run_resumed_in_another_folder_knows_its_best_epoch(tmp_path):
    told = []

    def stop_after_three(metrics, epoch):
        told.append(metrics["val/auroc_macro"])
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "here", log_metrics=stop_after_three)
    shutil.move(tmp_path / "here", tmp_path / "there")
    worse = learnable()
    worse._trained["targets"][:] = 1 - worse._trained["targets"]
    again = fit.fit(
        classifier(), worse, folder=tmp_path / "there", max_epochs=4, accelerator="cpu",
        precision="32-true", resume_from=tmp_path / "there" / "last.ckpt",
    )  # fmt: skip

    assert (again.epochs, again.score) == (4, max(told[:2]))
    best = torch.load(tmp_path / "there" / "best.ckpt", weights_only=True)
    assert best["epoch"] == int(np.argmax(told[:2]))
    assert sorted(p.name for p in tmp_path.rglob("*.ckpt")) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]


def test_patience_stops_early_and_a_resume_knows(tmp_path):
    fitted = run(tmp_path, max_epochs=30, patience=2)

    told = []
    (tmp_path / "best.ckpt").write_bytes(b"torn")
    last = tmp_path / "last.ckpt"
    again = run(
        tmp_path, max_epochs=30, patience=2, resume_from=last,
        log_metrics=lambda m, _: told.append(m),
    )  # fmt: skip

    assert fitted.epochs < 30
    assert fitted.epochs >= fitted.epoch + 2
    assert told == []
    assert (again.epoch, again.epochs, again.score) == (fitted.epoch, fitted.epochs, fitted.score)
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert kept["epoch"] == fitted.epoch - 1
    assert kept["state_dict"].keys() == classifier().state_dict().keys()


def test_an_overflow_ends_the_fit_and_names_the_batch(tmp_path):
    model = Classifier(
        build_net(NET, 3), NAMES, schedule="constant", named=lambda rows: [f"<{r}>" for r in rows],
        optimizer=build_optimizer({"_target_": "torch.optim.SGD", "lr": 1e30}),
    )  # fmt: skip

    with pytest.raises(RunError, match=r"the loss is (inf|nan) in epoch 1, batch") as met:
        fit.fit(
            model, learnable(), folder=tmp_path, max_epochs=2, accelerator="cpu",
            precision="32-true", gradient_clip=None,
        )  # fmt: skip

    named = re.findall(r"<(\d+)>", str(met.value))
    assert len(set(named)) == 16
    assert all(int(row) < 64 for row in named)


def test_a_target_that_is_no_number_is_told_of_at_its_first_batch(tmp_path):
    data = learnable()
    data._trained["targets"][5, 0] = np.nan

    with pytest.raises(RunError, match="the loss is nan in epoch 1") as met:
        fit.fit(classifier(), data, folder=tmp_path, max_epochs=2, accelerator="cpu")

    assert "row 5," in str(met.value) + ","
    assert not (tmp_path / "best.ckpt").exists()


def test_a_val_split_that_cannot_be_ranked_is_refused(tmp_path):
    data = learnable()
    data._trained["targets"][:] = 0

    with pytest.raises(DataError, match='"val/auroc_macro" cannot be computed: expected a finding'):
        fit.fit(classifier(), data, folder=tmp_path, max_epochs=1, accelerator="cpu")


def test_bf16_trains_where_the_machine_has_it(tmp_path):
    if fit.resolve_precision("auto", "cpu") != "bf16-mixed":
        pytest.skip("this processor does not compute bfloat16")

    fitted = run(tmp_path, precision="auto", max_epochs=6)

    assert fitted.precision == "bf16-mixed"
    assert fitted.score > 0.9


def test_precision_is_as_asked_and_float16_is_refused():
    assert fit.resolve_precision("32-true") == "32-true"
    assert fit.resolve_precision("bf16-mixed") == "bf16-mixed"
    with pytest.raises(ConfigError, match="expected auto, bf16-mixed or 32-true, met '16-mixed'"):
        fit.resolve_precision("16-mixed")


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU"
)
def test_a_gpu_that_is_not_there_is_refused_in_one_line(tmp_path):
    message = 'trainer.accelerator: expected a GPU that torch can use for "gpu", met none'

    for precision in ("auto", "32-true", "bf16-mixed"):
        with pytest.raises(ConfigError, match=message) as met:
            run(tmp_path, accelerator="gpu", precision=precision)
        assert "\n" not in str(met.value)


@pytest.mark.slow
@pytest.mark.parametrize(("signal_", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_so_and_keeps_its_last_checkpoint(tmp_path, preloaded, signal_, status):
    process = preloaded.begin("endless_run", tmp_path)
    process.reaches("epoch 3/")  # so the second is on disk
    time.sleep(0.1)

    assert process.ends(signal_, 60) == status
    assert "Traceback" not in process.err
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] >= 1
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
