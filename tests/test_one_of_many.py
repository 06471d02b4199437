"""The public sample's single label: its loss, and its softmax as training takes it."""

import pytest
import torch
from torch.nn import functional

from cxr.errors import ConfigError
from cxr.learning import losses, one_of_many


def scores():
    return 6 * torch.randn(7, 5, generator=torch.Generator().manual_seed(3))


def test_the_sigmoids_of_its_logits_are_a_softmax():
    logits = one_of_many.log_odds(scores())

    torch.testing.assert_close(logits.sigmoid(), scores().softmax(dim=1))


def test_a_probability_next_to_1_has_finite_odds():
    assert one_of_many.log_odds(torch.tensor([[200.0, 0.0, -200.0]])).isfinite().all()


def test_its_loss_is_cross_entropy_on_the_first_label_that_is_present():
    targets = torch.zeros(7, 5)
    first = torch.tensor([0, 4, 2, 2, 1, 3, 0])
    targets[torch.arange(7), first] = 1.0
    targets[0, 3] = targets[4, 2] = 1.0  # a second label of these counts for nothing
    expected = functional.cross_entropy(scores(), first)

    met = losses.FirstLabel()(one_of_many.log_odds(scores()), targets, torch.ones(7, 5))

    torch.testing.assert_close(met, expected)


def test_images_without_a_present_label_count_for_nothing():
    targets, weights = torch.zeros(3, 5), torch.ones(3, 5)
    targets[1, 2] = targets[2, 0] = 1.0
    weights[2] = 0.0  # masked, so nobody knows
    logits = one_of_many.log_odds(scores()[:3])

    met = losses.FirstLabel()(logits, targets, weights)

    torch.testing.assert_close(met, functional.cross_entropy(scores()[1:2], torch.tensor([2])))


def test_one_label_alone_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="at least 2 labels to choose between, met 1"):
        one_of_many.OneOfMany(out_channels=1)
