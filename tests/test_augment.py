"""Augmentation moves and exposes, within bounds, and the same for the same generator."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cxr.learning import augment

ALL = {
    "rotation_deg": 20.0,
    "scale": 0.3,
    "shift": 0.2,
    "brightness": 0.5,
    "contrast": 0.5,
    "gamma": 1.0,
    "flip": 1.0,
    "erase": 1.0,
}
SHARES = ("flip", "erase")  # of the images, which then change wholly


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(8, 1, 24, 24, generator=seeded(9))


def test_range_and_shape_are_kept(images):
    changed = augment.apply(images, seeded(), **ALL)

    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - images).abs().max() > 0.1


def test_zero_strength_gives_the_images_back(images):
    assert torch.equal(augment.apply(images, seeded()), images)


@pytest.mark.parametrize("strength", list(ALL))
def test_every_strength_does_something_and_little_of_it_does_little(images, strength):
    much = augment.apply(images, seeded(), **{strength: ALL[strength]})
    little = augment.apply(images, seeded(), **{strength: 1e-4})

    assert (much - images).abs().max() > 0.05
    if strength in SHARES:
        assert torch.equal(little, images)
    assert (little - images).abs().max() < 0.02


def test_same_generator_same_images(images):
    once, again, other = (augment.apply(images, seeded(s), **ALL) for s in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_images_of_a_batch_change_differently(images):
    same = images[:1].expand(2, -1, -1, -1)

    first, second = augment.apply(same, seeded(), **ALL)

    assert not torch.equal(first, second)


def test_letterbox_stays_black_under_exposure(images):
    images[..., :6] = 0
    images[..., 18:] = 0

    changed = augment.apply(images, seeded(), brightness=0.5, contrast=0.5, gamma=1.0, erase=1.0)

    assert changed[..., :6].max() == 0
    assert changed[..., 18:].max() == 0
    assert changed[..., 6:18].min(dim=0).values.max() > 0


def test_a_rotation_turns_by_its_angle_in_pixels_even_off_square():
    image = torch.zeros(1, 1, 41, 81)
    image[..., 20, 60] = 1  # 20 columns right of the centre
    angle = math.radians(90) * (2 * torch.rand(6, 1, generator=seeded(3))[0].item() - 1)

    turned = augment.apply(image, seeded(3), rotation_deg=90)

    row, column = divmod(int(turned.argmax()), 81)
    assert row - 20 == pytest.approx(-20 * math.sin(angle), abs=1)
    assert column - 40 == pytest.approx(20 * math.cos(angle), abs=1)


def test_gamma_raises_to_a_power_as_often_up_as_down():
    grey = torch.full((4000, 1, 1, 1), 0.5)

    powers = augment.apply(grey, seeded(), gamma=1.0).flatten().log2().neg()

    assert powers.min() == pytest.approx(0.5, abs=0.01)
    assert powers.max() == pytest.approx(2.0, abs=0.01)
    assert (powers > 1).float().mean() == pytest.approx(0.5, abs=0.03)


def test_a_share_of_images_is_mirrored_and_the_others_stay():
    images = torch.rand(2000, 1, 2, 5, generator=seeded(4))

    changed = augment.apply(images, seeded(), flip=0.3)

    mirrored = (changed == images.flip(-1)).flatten(1).all(dim=1)
    assert mirrored.float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(changed[~mirrored], images[~mirrored])


def test_a_rectangle_of_a_fiftieth_to_a_fifth_becomes_the_mean():
    images = torch.rand(300, 1, 40, 40, generator=seeded(4)) + 0.1

    changed = augment.apply(images, seeded(), erase=1.0)

    hidden = (changed != images)[:, 0]
    rows, columns = hidden.any(dim=2), hidden.any(dim=1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None, :])
    areas = hidden.float().mean(dim=(1, 2))
    assert 0.01 < areas.min() < 0.04
    assert 0.17 < areas.max() < 0.22
    inside = changed[:, 0].masked_fill(~hidden, 0).amax(dim=(1, 2))
    assert torch.allclose(inside, images.mean(dim=(1, 2, 3)))


def test_one_strength_does_not_change_what_the_others_do(images):
    alone = augment.apply(images, seeded(), rotation_deg=20.0)

    beside = augment.apply(images, seeded(), rotation_deg=20.0, erase=1e-9, flip=1e-9)

    assert torch.equal(alone, beside)


def batch(count=64, labels=3):
    generator = seeded(7)
    return {
        "image": torch.rand(count, 1, 4, 4, generator=generator),
        "targets": torch.rand(count, labels, generator=generator),
        "weights": torch.rand(count, labels, generator=generator).round(decimals=1)
        * (torch.rand(count, labels, generator=generator) > 0.4),
        "index": torch.arange(count),
    }


def parts(given, mixed):
    """Which other image each was blended with, and by which part, found from the pixels alone."""
    mine, blend = given["image"].flatten(1), mixed["image"].flatten(1)
    found = []
    for row in range(len(mine)):
        away = mine - mine[row]
        part = (away * (blend[row] - mine[row])).sum(1) / away.square().sum(1).clamp(min=1e-9)
        rest = (mine[row] + part[:, None] * away - blend[row]).abs().amax(1)
        other = int(rest.argmin())
        found.append((other, 1 - float(part[other])))
    return found


def test_the_loss_of_a_blend_is_that_of_both_images_each_by_its_part():
    given = batch()

    mixed = augment.mix(given, seeded(), alpha=0.4)

    def each(of, logits):
        return of["weights"] * torch.nn.functional.binary_cross_entropy_with_logits(
            logits, of["targets"], reduction="none"
        )

    logits = torch.randn(64, 3, generator=seeded(8))
    blends = parts(given, mixed)
    others = [other for other, _ in blends]
    part = torch.tensor([part for _, part in blends])[:, None]
    both = part * each(given, logits)
    both += (1 - part) * each({k: v[others] for k, v in given.items()}, logits)
    assert sorted(others) != others
    assert torch.allclose(each(mixed, logits), both, atol=1e-4)
    assert torch.equal(mixed["index"], given["index"])


def test_what_has_no_target_says_nothing_in_a_blend():
    given = batch()
    given["targets"][given["weights"] == 0] = torch.nan

    mixed = augment.mix(given | {"targets": given["targets"].nan_to_num(9.0)}, seeded(), alpha=1.0)

    assert mixed["targets"].max() <= 1
    assert ((mixed["weights"] == 0) <= (given["weights"] == 0)).all()


def test_parts_are_of_the_beta_distribution_and_follow_from_the_generator():
    given = batch(400)

    drawn = np.array([part for _, part in parts(given, augment.mix(given, seeded(1), alpha=0.3))])

    drawn = drawn[(drawn > 1e-3) & (drawn < 1 - 1e-3)]  # of an image with itself, any part is right
    cut = stats.beta(0.3, 0.3).cdf([1e-3, 1 - 1e-3])
    uniform = (stats.beta(0.3, 0.3).cdf(drawn) - cut[0]) / (cut[1] - cut[0])
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    again, other = (augment.mix(given, seeded(s), alpha=0.3) for s in (1, 2))
    assert torch.equal(again["image"], augment.mix(given, seeded(1), alpha=0.3)["image"])
    assert not torch.equal(again["image"], other["image"])
