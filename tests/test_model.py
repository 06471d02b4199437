"""The loss is masked, nets come from config, and what is logged is what was measured."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from cxr.errors import ConfigError, DataError, RunError
from cxr.learning import model, score
from cxr.learning.dataset import CxrData
from cxr.learning.model import Classifier, build_net, build_optimizer

NAMES = ("Edema", "Mass", "No Finding")
TINY = {
    "_target_": "monai.networks.nets.DenseNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "init_features": 4,
    "growth_rate": 2,
    "block_config": [1, 1],
}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-2}


def classifier(net=None, **options):
    net = net or build_net(TINY, len(NAMES))
    options = {"optimizer": build_optimizer(ADAMW), "excluded_from_macro": ["No Finding"]} | options
    return Classifier(net, NAMES, **options)


def data(train=24, val=12, seed=0):
    rng = np.random.default_rng(seed)
    count = train + val
    mask = rng.random((count, len(NAMES))) > 0.2
    targets = rng.integers(2, size=mask.shape).astype(np.float32) * mask
    images = rng.integers(256, size=(count, 16, 16), dtype=np.uint8)
    splits = np.array(["train"] * train + ["val"] * val)
    return CxrData(images, np.arange(count), targets, mask, splits, batch_size=8), (
        images[train:],
        targets[train:],
        mask[train:],
    )


def trainer(epochs=1):
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def test_net_is_as_wide_as_the_labels_and_follows_from_the_seed():
    before = torch.random.get_rng_state()

    first, again, other = (build_net(TINY, 5, seed=s) for s in (1, 1, 2))

    assert first(torch.zeros(2, 1, 16, 16)).shape == (2, 5)
    weights = [net.state_dict()["features.conv0.weight"] for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "monai.networks.nets.resnet10", "spatial_dims": 2, "n_input_channels": 1},
        {
            "_target_": "monai.networks.nets.EfficientNetBN",
            "model_name": "efficientnet-b0",
            "spatial_dims": 2,
            "in_channels": 1,
            "pretrained": False,
        },
    ],
)
def test_nets_that_call_their_width_otherwise_are_built_too(config):
    net = build_net(config, 7).eval()

    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_target_": "os.system"}, "expected something in monai.networks.nets or cxr, met 'os"),
        ({}, "expected something in monai.networks.nets or cxr, met ''"),
        ({"_target_": "monai.networks.nets._x"}, "expected something in monai.networks.nets"),
        ({"_target_": "monai.networks.nets.DenseNet1"}, "there is no 'monai.networks.nets.Dense"),
        (TINY | {"out_channels": 14}, "model.net.out_channels: expected none, the labels say it"),
        (TINY | {"depth": 3}, "DenseNet: .* unexpected keyword argument 'depth'"),
        (
            {"_target_": "cxr.learning.model.build_optimizer"},
            "build_optimizer: .*unexpected keyword",
        ),
    ],
)
def test_what_is_no_net_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        build_net(config, 3)


def test_optimizer_is_fused_and_takes_its_arguments():
    optimizer = build_optimizer(ADAMW | {"weight_decay": 0.5})([nn.Parameter(torch.zeros(2))])

    assert isinstance(optimizer, torch.optim.AdamW)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["fused"]) == (1e-2, 0.5, True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_target_": "torch.load"}, "expected something in torch.optim, met 'torch.load'"),
        (ADAMW | {"lrr": 1}, "AdamW: .* unexpected keyword argument 'lrr'"),
        (ADAMW | {"lr": -1.0}, "AdamW: Invalid learning rate"),
    ],
)
def test_what_is_no_optimizer_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(config)([nn.Parameter(torch.zeros(2))])


def test_a_net_of_another_width_is_refused_by_its_first_batch():
    with pytest.raises(DataError, match=r"expected 3 logits per image .* met \(5,\)"):
        trainer().fit(classifier(build_net(TINY, 5)), datamodule=data()[0])


def test_logged_figures_are_those_of_scikit_learn():
    module, (images, targets, mask) = data()
    fitted = classifier(fewest=1)
    run = trainer(2)
    run.fit(fitted, datamodule=module)

    fitted.eval()
    with torch.no_grad():
        logits = fitted(torch.from_numpy(images)[:, None].float() / 255)
    each = {
        name: roc_auc_score(targets[mask[:, k], k], logits.numpy()[mask[:, k], k])
        for k, name in enumerate(NAMES)
    }
    logged = {k: float(v) for k, v in run.callback_metrics.items()}
    assert set(logged) == {"train/loss", "val/loss", "val/auroc_macro"} | {
        f"val/auroc/{name}" for name in NAMES
    }
    for name, value in each.items():
        assert logged[f"val/auroc/{name}"] == pytest.approx(value, abs=1e-6)
    assert logged["val/auroc_macro"] == pytest.approx((each["Edema"] + each["Mass"]) / 2)
    loss = nn.BCEWithLogitsLoss()(
        logits[torch.from_numpy(mask)], torch.from_numpy(targets)[torch.from_numpy(mask)]
    )
    assert logged["val/loss"] == pytest.approx(loss.item(), abs=1e-5)


def test_a_finding_has_one_name_in_val_and_in_test():
    names = ("Edema / (left)", "Ödem", "No Finding")
    module, (_, targets, mask) = data()
    run = trainer()
    run.fit(
        Classifier(build_net(TINY, 3), names, optimizer=build_optimizer(ADAMW)), datamodule=module
    )
    scored = score.score(
        np.full(targets.shape, 0.5), targets, mask, names=names, draws=5,
        patient_ids=[str(k) for k in range(len(targets))], no_finding=None, thresholds={},
        label_source="readers", human_annotated=True,
    )  # fmt: skip

    val = {name for name in run.callback_metrics if name.startswith("val/auroc/")}
    test = {name for name in score.flat(scored) if name.startswith("test/auroc/")}
    assert {name.replace("test", "val") for name in test} == val
    assert "val/auroc/Ödem" in val


class Ranked(nn.Module):
    """A net that ranks every label by the mean of the image."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return image.mean((1, 2, 3))[:, None].expand(-1, len(NAMES)) + self.bias


def macro_of(targets, **options):
    count = len(targets)
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 4, 4))
    module = CxrData(
        np.concatenate([images, images]),
        np.arange(2 * count),
        np.concatenate([targets, targets]).astype(np.float32),
        np.ones((2 * count, len(NAMES)), bool),
        np.array(["train"] * count + ["val"] * count),
    )
    run = trainer()
    run.fit(classifier(Ranked(), **options), datamodule=module)
    return run.callback_metrics


def test_findings_with_too_few_of_a_class_are_not_averaged():
    # Edema: one positive, ranked last; Mass: half positive, ranked first; No Finding: all
    targets = np.array([[i == 0, i >= 6, True] for i in range(12)])

    metrics = macro_of(targets)

    assert float(metrics["val/auroc/Edema"]) == 0
    assert float(metrics["val/auroc_macro"]) == 1
    assert "val/auroc/No Finding" not in metrics


def test_every_finding_with_both_classes_is_averaged_where_none_has_enough():
    targets = np.array([[i == 0, i == 11, True] for i in range(12)])

    assert float(macro_of(targets)["val/auroc_macro"]) == 0.5


def test_no_macro_is_logged_where_nothing_can_be_ranked():
    metrics = macro_of(np.zeros((12, 3)))

    assert "val/auroc_macro" not in metrics
    assert "val/loss" in metrics


def test_outputs_that_are_no_numbers_stop_the_run():
    net = Ranked()
    net.bias.data.fill_(torch.nan)

    with pytest.raises(RunError, match="the loss is nan in epoch 1, batch 1"):
        trainer().fit(classifier(net), datamodule=data()[0])


@pytest.mark.parametrize(("schedule", "epochs"), [("one_cycle", 7), ("one_cycle", 1)])
def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nothing(schedule, epochs):
    module, _ = data(train=16)  # two steps an epoch
    fitted = classifier(schedule=schedule, warmup=0.3)
    rates = []
    fitted.on_train_batch_start = lambda *_: rates.append(
        fitted.trainer.optimizers[0].param_groups[0]["lr"]
    )

    trainer(epochs).fit(fitted, datamodule=module)

    assert len(rates) == 2 * epochs
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    if epochs > 1:
        assert np.argmax(rates) == 3
        assert rates[0] < 1e-3
        assert rates[-1] < 1e-3


def test_gradients_are_clipped_though_the_optimizer_is_fused():
    fitted = classifier()
    for parameter in fitted.net.parameters():
        parameter.grad = torch.ones_like(parameter)

    fitted.configure_gradient_clipping(None, 0.5)

    total = sum(p.grad.square().sum() for p in fitted.net.parameters()).sqrt()
    assert total == pytest.approx(0.5, rel=1e-4)


def test_nothing_outside_the_named_packages_can_be_called():
    assert model.NETS == ("monai.networks.nets.", "cxr.")
    assert model.OPTIMIZERS == ("torch.optim.",)
