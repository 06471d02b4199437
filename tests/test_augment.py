"""Augmentation moves and exposes, within bounds, and the same for the same generator."""

import math

import pytest
import torch

from cxr.learning import augment

ALL = {
    "rotation_deg": 20.0,
    "scale": 0.3,
    "shift": 0.2,
    "brightness": 0.5,
    "contrast": 0.5,
}


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

    changed = augment.apply(images, seeded(), brightness=0.5, contrast=0.5)

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
