"""Learning rates as a real Trainer steps through them."""

import math

import numpy as np
import pytest
import torch
from test_model import NAMES, classifier, data, trainer
from torch import nn

STEPS = 2  # of an epoch
HIGHEST = 1e-2


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, len(NAMES)))


def rates(epochs, module=None, **options):
    fitted = classifier(net=module or net(), **options)
    seen = []
    fitted.on_train_batch_start = lambda *_: seen.append(
        fitted.trainer.optimizers[0].param_groups[0]["lr"]
    )
    trainer(epochs).fit(fitted, datamodule=data(train=16)[0])
    assert len(seen) == STEPS * epochs
    return np.array(seen) / HIGHEST


def test_cosine_rises_along_a_line_and_falls_along_a_cosine_to_nothing():
    seen = rates(10, schedule="cosine", warmup=0.2)

    assert seen[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    falling = [(1 + math.cos(math.pi * k / 16)) / 2 for k in range(16)]
    assert seen[4:] == pytest.approx(falling)
    assert seen[-1] < 0.01


def test_cosine_without_warmup_begins_at_its_highest():
    assert rates(2, schedule="cosine", warmup=0.0)[0] == 1


@pytest.mark.parametrize(("warmup", "top"), [(0.1, 2), (0.5, 10)])
def test_one_cycle_has_its_highest_where_warmup_ends(warmup, top):
    seen = rates(10, schedule="one_cycle", warmup=warmup)

    assert abs(int(np.argmax(seen)) - top) <= 1
    assert seen.max() == pytest.approx(1, rel=0.02)
    assert seen[-1] < 0.01


def test_constant_stays():
    assert (rates(3, schedule="constant") == 1).all()


class Deaf(nn.Module):
    """Says the same whatever it is shown and taught."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return torch.zeros(len(image), len(NAMES)) + self.weight * 0


@pytest.mark.parametrize("objective", ["val/auroc_macro", "val/loss"])
def test_plateau_halves_the_rate_with_each_third_epoch_that_is_no_better(objective):
    seen = rates(8, Deaf(), schedule="plateau", objective=objective)

    # the first epoch is the best, the next three are not better
    assert seen[::STEPS].tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


class Calming(nn.Module):
    """Is less and less sure of what it cannot know, so that its loss falls."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked = 0

    def forward(self, image):
        self.asked += 1
        return torch.full((len(image), len(NAMES)), 10 / self.asked) + self.weight * 0


def test_plateau_leaves_a_rate_alone_while_the_objective_improves():
    assert (rates(8, Calming(), schedule="plateau", objective="val/loss") == 1).all()
