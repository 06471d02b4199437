"""The mean of the weights is what is validated and kept; several batches make one step."""

import numpy as np
import pytest
import torch
from test_fit import NAMES, NET, SIZE, classifier, learnable
from torch import nn

from cxr.learning import fit, metrics
from cxr.learning.averaging import at_step
from cxr.learning.model import Classifier, build_net, build_optimizer


def run(model, folder, data=None, **options):
    given = {"max_epochs": 3, "accelerator": "cpu", "precision": "32-true"} | options
    return fit.fit(model, data or learnable(), folder=folder, **given)


class Recorded(Classifier):
    """A classifier that remembers its weights after each step, buffers too."""

    def on_train_start(self):
        self.after = []

    def on_train_batch_end(self, *_):
        self.after.append({k: v.clone() for k, v in self.state_dict().items()})


def recorded():
    return Recorded(
        build_net(NET, 3, seed=42), NAMES,
        optimizer=build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1e-2}),
        excluded_from_macro=["No Finding"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A fit with a mean of its weights, the last of which is kept."""
    folder, model, told = tmp_path_factory.mktemp("averaged"), recorded(), []
    fitted = run(model, folder, ema=0.7, keep="last", log_metrics=lambda m, _: told.append(dict(m)))
    return folder, model, told, fitted


def kept(folder):
    return torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]


def test_what_is_kept_is_the_mean_of_the_weights_after_every_step(averaged):
    folder, model, _, _ = averaged
    mean = {k: v.double() for k, v in model.after[0].items()}
    for updates, after in enumerate(model.after[1:], start=1):
        share = min(0.7, (1 + updates) / (10 + updates))
        for name, value in after.items():
            now = value.double()
            mean[name] = (
                share * mean[name] + (1 - share) * now if value.is_floating_point() else now
            )

    found = kept(folder)

    assert len(model.after) == 12
    assert any("running_mean" in name for name in found)
    for name, value in found.items():
        assert torch.allclose(value.double(), mean[name], atol=1e-5), name
    name = next(n for n in found if n.endswith("weight"))
    assert not torch.allclose(found[name], model.after[-1][name], atol=1e-4)


def test_what_is_validated_is_what_is_kept(averaged):
    folder, _, told, fitted = averaged
    data, net = learnable(), classifier()
    net.load_state_dict(kept(folder))
    images, truth, mask = data._images, data._scored["truth"], data._scored["mask"]

    with torch.inference_mode():
        logits = net.eval()(torch.from_numpy(images[64:])[:, None].float() / 255)

    aurocs = metrics.aurocs(logits.sigmoid().numpy(), truth[64:], mask[64:])
    assert fitted.score == pytest.approx(np.mean(aurocs[:2]), abs=1e-6)
    assert told[-1]["val/auroc_macro"] == fitted.score


def test_the_last_epoch_is_kept_however_good_others_were(averaged, tmp_path):
    folder, _, told, fitted = averaged
    losses = [m["val/loss"] for m in told]

    best = run(recorded(), tmp_path, ema=0.7, objective="val/loss")

    assert (fitted.epoch, fitted.epochs) == (3, 3)
    assert fitted.score == told[-1]["val/auroc_macro"]
    assert best.score == min(losses)
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == 2


def test_the_first_steps_are_soon_forgotten():
    assert [at_step(0.999, n) for n in (1, 90)] == [pytest.approx(2 / 11), pytest.approx(0.91)]
    assert at_step(0.999, 100_000) == 0.999


class Linear(nn.Module):
    """A net whose answer to one image does not depend on the others."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.last = nn.Linear(SIZE * SIZE, 3)

    def forward(self, image):
        return self.last(image.flatten(1))


def stepped(folder, batch_size, accumulate, schedule="one_cycle"):
    data = learnable(train=60)
    data._trained["weights"][:30, 0] = 0  # batches have targets for unlike many entries
    data._batch_size = batch_size
    model = Classifier(
        Linear(), NAMES, schedule=schedule,
        optimizer=build_optimizer({"_target_": "torch.optim.SGD", "lr": 0.3}),
    )  # fmt: skip
    told = []
    run(
        model, folder, data, accumulate=accumulate, max_epochs=4,
        log_metrics=lambda m, _: told.append(dict(m)),
    )  # fmt: skip
    return told, kept(folder)["net.last.weight"], model.trainer.global_step


@pytest.mark.parametrize(("batch_size", "accumulate"), [(15, 2), (10, 3)])
def test_accumulated_batches_step_as_one_batch_of_them_all_does(tmp_path, batch_size, accumulate):
    whole, expected, steps = stepped(tmp_path / "whole", 30, 1)

    parts, met, as_many = stepped(tmp_path / "parts", batch_size, accumulate)

    assert steps == as_many == 8
    assert torch.allclose(met, expected, atol=1e-6)
    assert [m["train/lr"] for m in parts] == [m["train/lr"] for m in whole]
    assert parts[-1]["train/lr"] < 1e-4 < parts[0]["train/lr"]


def test_a_rest_of_batches_at_an_epochs_end_is_a_step_by_its_own_mean(tmp_path):
    _, expected, _ = stepped(tmp_path / "whole", 60, 1, "constant")

    _, met, steps = stepped(tmp_path / "parts", 20, 4, "constant")

    assert steps == 4
    assert torch.allclose(met, expected, atol=1e-6)
