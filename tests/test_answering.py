"""Views are small, fixed and balanced; answers obey what is known of the labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.contract.labels import LabelSet
from cxr.learning import answering, augment, consistency
from cxr.learning.answering import Answer, Logits


class Shown(torch.nn.Module):
    """Gives back what it is shown, a pixel a logit."""

    def forward(self, image):
        return image.flatten(1)


def shown(image, view, *, standardized=False):
    pixels = Logits([Shown()], [view], standardized=standardized)(
        torch.from_numpy(image)[None, None]
    )
    return pixels.reshape(image.shape).numpy()


IMAGE = np.random.default_rng(0).random((8, 12), dtype=np.float32)


def test_a_view_moves_as_augmentation_does():
    moved = augment._move(
        torch.from_numpy(IMAGE)[None, None], torch.zeros(1), torch.tensor([1.2]),
        torch.tensor([[0.1], [-0.05]]),
    )  # fmt: skip
    ours = shown(IMAGE, (0.1, -0.05, 1.2, False))

    # augment moves what is looked at, a view what is seen
    other = augment._move(
        torch.from_numpy(IMAGE)[None, None], torch.zeros(1), torch.tensor([1.2]),
        torch.tensor([[-0.1 / 1.2], [0.05 / 1.2]]),
    )  # fmt: skip
    assert np.abs(ours - other[0, 0].numpy()).max() < 1e-5
    assert np.abs(ours - moved[0, 0].numpy()).max() > 0.1


def test_a_shift_of_whole_pixels_is_that_and_black_comes_in():
    moved = shown(IMAGE, (3 / 12, -2 / 8, 1.0, False))

    assert np.abs(moved[:6, 3:] - IMAGE[2:, :-3]).max() < 1e-5
    assert not moved[6:].any()
    assert not moved[:, :3].any()


def test_a_mirrored_view_is_mirrored():
    assert np.array_equal(shown(IMAGE, (0.0, 0.0, 1.0, True)), IMAGE[:, ::-1])


@pytest.mark.parametrize("count", [1, 2, 4, 10, 64])
def test_moves_begin_with_the_image_as_it_is_and_are_small_and_different(count):
    made = answering.moves(count, mirror=False)

    assert made[0] == answering.STILL
    assert len(set(made)) == count + 1
    assert all(max(abs(m[0]), abs(m[1]), abs(m[2] - 1)) < 0.1 for m in made)
    if count % 2 == 0:
        assert np.abs(np.array([m[:3] for m in made]).mean(axis=0) - [0, 0, 1]).max() < 1e-12


def test_moves_are_mirrored_too_where_training_mirrors():
    made = answering.moves(2, mirror=True)

    assert [m[:3] for m in made[::2]] == [m[:3] for m in answering.moves(2, mirror=False)]
    assert [m[3] for m in made] == [False, True] * 3
    assert answering.moves(0, mirror=True) == ()


def test_an_image_of_one_grey_is_standardized_to_nothing():
    flat = torch.full((2, 1, 4, 4), 0.7)

    assert answering.standardize(flat).abs().max() < 1e-3


NAMES = ("Opacity", "Edema", "Consolidation", "Pneumonia", "Devices", "No Finding")
LABELS = LabelSet(
    "deep", NAMES, "No Finding", compatible=("Devices",),
    parents={"Opacity": ("Edema", "Consolidation"), "Consolidation": ("Pneumonia",)},
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_consistent_answers_break_no_rule_and_change_nothing_else(count, seed):
    logits = np.random.default_rng(seed).normal(0, 3, (count, 6))

    p = Answer(NAMES, {}, LABELS)(torch.from_numpy(logits)).numpy()

    plain = 1 / (1 + np.exp(-logits))
    opacity, edema, consolidation, pneumonia, _, none = p.T
    assert (opacity >= np.maximum(edema, consolidation)).all()
    assert (consolidation >= pneumonia).all()
    assert (none <= 1 - p[:, :4].max(axis=1)).all()
    for k in (1, 3, 4):
        assert np.allclose(p[:, k], plain[:, k], rtol=0, atol=1e-12)
    assert np.allclose(consolidation, plain[:, [2, 3]].max(axis=1), rtol=0, atol=1e-12)
    assert np.allclose(opacity, plain[:, :4].max(axis=1), rtol=0, atol=1e-12)
    assert np.allclose(none, np.minimum(plain[:, 5], 1 - plain[:, :4].max(axis=1)), atol=1e-12)


def test_torch_makes_consistent_what_numpy_does():
    logits = np.random.default_rng(3).normal(0, 3, (50, 6))

    ours = Answer(NAMES, {}, LABELS)(torch.from_numpy(logits)).numpy()

    plain = Answer(NAMES, {}, None)(torch.from_numpy(logits)).numpy()
    assert np.array_equal(ours, consistency.apply(plain, LABELS))
    assert not np.array_equal(ours, plain)


def test_a_label_that_was_not_calibrated_stays():
    logits = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    fitted = {"B": {"method": "platt", "slope": 2.0, "intercept": 1.0}}

    p = Answer(("A", "B"), fitted, None)(logits)

    assert torch.allclose(p, torch.sigmoid(torch.tensor([[1.0, -3.0]], dtype=torch.float64)))
