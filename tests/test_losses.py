"""Each loss against an independent computation in numpy, masked and weighted."""

import inspect

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fit import NAMES, NET, learnable
from torch import nn

from cxr import places
from cxr.errors import ConfigError
from cxr.learning import fit, losses
from cxr.learning.losses import Asymmetric, AucMargin, Bce
from cxr.learning.model import Classifier, build_net, build_optimizer

B, L = 6, 4


def batch(seed, soft=False, rows=B):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (rows, L))
    targets = rng.random((rows, L)) if soft else rng.integers(2, size=(rows, L)).astype(float)
    weights = rng.random((rows, L)) * (rng.random((rows, L)) > 0.3)
    return logits, targets, weights


def tensors(*arrays):
    return [torch.tensor(a, dtype=torch.float32) for a in arrays]


def prepared(loss, seed=9, rows=200):
    _, targets, weights = tensors(*batch(seed, rows=rows))
    loss.prepare(targets, weights)
    return loss


def warm(loss):
    loss.begin(1000)
    return loss


KINDS = [
    lambda: Bce(),
    lambda: prepared(Bce(pos_weight=True)),
    lambda: Asymmetric(),
    lambda: Asymmetric(gamma_positive=1, gamma_negative=0.5, clip=0.2),
    lambda: prepared(AucMargin()),
    lambda: warm(prepared(AucMargin())),
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bce(logits, targets, positive=1.0):
    p = sigmoid(logits)
    return -(positive * targets * np.log(p) + (1 - targets) * np.log(1 - p))


def weighted(each, weights):
    return (each * weights).sum() / weights.sum() if weights.sum() else 0.0


def numeric_gradient(function, logits, step=1e-5):
    gradient = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        ahead, behind = logits.copy(), logits.copy()
        ahead[place] += step
        behind[place] -= step
        gradient[place] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def asl(logits, targets, up, down, clip):
    p = sigmoid(logits)
    q = np.maximum(p - clip, 0)
    return -(targets * (1 - p) ** up * np.log(p) + (1 - targets) * q**down * np.log(1 - q))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.booleans())
def test_cross_entropy_is_the_mean_by_weight(seed, soft):
    logits, targets, weights = batch(seed, soft)

    met = Bce()(*tensors(logits, targets, weights)).item()

    assert met == pytest.approx(weighted(bce(logits, targets), weights), abs=1e-5)


def test_cross_entropy_of_a_masked_batch_equals_torch_on_the_rest():
    logits, targets, weights = tensors(*batch(3))
    mask = weights > 0

    expected = nn.BCEWithLogitsLoss()(logits[mask], targets[mask])

    assert torch.allclose(Bce()(logits, targets, mask.float()), expected)


def test_positives_weigh_as_much_as_negatives_on_train():
    loss, (_, targets, weights) = Bce(pos_weight=True), batch(1, rows=50)
    targets[:, 3] = 0  # a label that train has no positive of

    loss.prepare(*tensors(targets, weights))

    positives, negatives = (targets * weights).sum(0), ((1 - targets) * weights).sum(0)
    expected = [*(negatives / np.maximum(positives, 1e-9))[:3], 1]
    assert loss.pos_weight.numpy() == pytest.approx(np.array(expected), rel=1e-5)
    logits, y, w = batch(2)
    assert loss(*tensors(logits, y, w)).item() == pytest.approx(
        weighted(bce(logits, y, expected), w), rel=1e-5
    )


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.sampled_from([(0, 4, 0.05), (1, 2, 0.0), (0.5, 0.5, 0.2), (0, 0, 0)]),
)
def test_the_asymmetric_loss_is_that_of_the_paper(seed, soft, numbers):
    logits, targets, weights = batch(seed, soft)
    up, down, clip = numbers
    loss = Asymmetric(gamma_positive=up, gamma_negative=down, clip=clip)

    met = loss(*tensors(logits, targets, weights)).item()

    expected = weighted(asl(logits, targets, up, down, clip), weights)
    assert met == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("numbers", [(0, 4, 0.05), (1, 2, 0.0), (2, 0.5, 0.2)])
def test_the_asymmetric_loss_has_the_gradient_of_its_formula(numbers):
    logits, targets, weights = batch(5)
    up, down, clip = numbers
    x, y, w = tensors(logits, targets, weights)
    x.requires_grad_()

    Asymmetric(gamma_positive=up, gamma_negative=down, clip=clip)(x, y, w).backward()

    expected = numeric_gradient(
        lambda at: weighted(asl(at, targets, up, down, clip), weights), logits
    )
    assert x.grad.numpy() == pytest.approx(expected, abs=1e-4)


def test_an_asymmetric_loss_without_asymmetry_is_cross_entropy():
    given = tensors(*batch(8))

    plain = Asymmetric(gamma_positive=0, gamma_negative=0, clip=0)(*given)

    assert torch.allclose(plain, Bce()(*given))


def minmax(h, targets, weights, share, a, b, alpha, margin):
    """Give equation (5) of Yuan et al. (2021) for each entry, as published."""
    p, y = share, targets
    return weighted(
        (1 - p) * (h - a) ** 2 * y
        + p * (h - b) ** 2 * (1 - y)
        + 2 * alpha * (p * (1 - p) * margin + p * h * (1 - y) - (1 - p) * h * y)
        - p * (1 - p) * alpha**2,
        weights,
    )


def test_the_margin_loss_is_the_published_one_at_the_best_a_b_and_alpha():
    logits, targets, _ = batch(4, rows=64)
    weights = np.ones_like(logits)
    margin = 0.8
    loss = AucMargin(margin=margin, memory=10_000)
    loss.prepare(*tensors(targets, weights))
    loss.begin(1000)

    x, y, w = tensors(logits, targets, weights)
    x.requires_grad_()
    value = loss(x, y, w)
    value.backward()

    h, share = sigmoid(logits), targets.mean(0)
    a = np.array([h[targets[:, k] == 1, k].mean() for k in range(L)])
    b = np.array([h[targets[:, k] == 0, k].mean() for k in range(L)])
    alpha = np.maximum(0, margin + b - a)
    assert loss.share.numpy() == pytest.approx(share)
    assert loss.means.numpy() == pytest.approx(np.array([a, b]), abs=1e-6)
    assert value.item() == pytest.approx(
        minmax(h, targets, weights, share, a, b, alpha, margin), abs=1e-6
    )
    # in closed form: the variances of both classes and a squared hinge of their distance
    spread = [h[targets[:, k] == c, k].var() for c in (1, 0) for k in range(L)]
    closed = (share * (1 - share) * (np.reshape(spread, (2, L)).sum(0) + alpha**2)).mean()
    assert value.item() == pytest.approx(closed, abs=1e-6)
    # a, b are minimal and alpha is maximal there
    for k in range(L):
        step = 1e-3 * np.eye(L)[k]
        least = minmax(h, targets, weights, share, a, b, alpha, margin)
        assert minmax(h, targets, weights, share, a + step, b, alpha, margin) > least
        assert minmax(h, targets, weights, share, a, b - step, alpha, margin) > least
        assert minmax(h, targets, weights, share, a, b, alpha + step, margin) < least

    def whole(at):
        h = sigmoid(at)
        classes = [[h[targets[:, k] == c, k] for k in range(L)] for c in (1, 0)]
        variances = np.array([[of.var() for of in row] for row in classes]).sum(0)
        a, b = np.array([[of.mean() for of in row] for row in classes])
        return (share * (1 - share) * (variances + np.maximum(0, margin + b - a) ** 2)).mean()

    assert x.grad.numpy() == pytest.approx(numeric_gradient(whole, logits), abs=1e-5)


def test_running_means_are_over_the_last_entries_of_each_class():
    loss = AucMargin(memory=10)
    stream = [batch(seed) for seed in range(12)]
    loss.prepare(*tensors(*stream[0][1:]))

    means, seen = np.array([[1.0] * L, [0.0] * L]), np.zeros((2, L))
    for logits, targets, weights in stream:
        loss(*tensors(logits, targets, weights))
        for k in range(L):
            for c in (0, 1):
                w = weights[:, k] * (targets[:, k] if c == 0 else 1 - targets[:, k])
                if w.sum() > 0:
                    seen[c, k] = min(10, seen[c, k] + w.sum())
                    mean = (w * sigmoid(logits[:, k])).sum() / w.sum()
                    means[c, k] += min(1, w.sum() / seen[c, k]) * (mean - means[c, k])

    assert loss.means.numpy() == pytest.approx(means, abs=1e-5)
    before = loss.means.clone()
    loss.eval()(*tensors(*batch(99)))
    assert torch.equal(loss.means, before)


def test_the_margin_loss_is_cross_entropy_until_it_is_warm():
    given, loss = tensors(*batch(6)), prepared(AucMargin(warmup_epochs=2))

    values = []
    for epoch in range(4):
        loss.begin(epoch)
        values.append(loss(*given).item())

    plain = Bce()(*given).item()
    assert values[:2] == pytest.approx([plain, plain])
    assert values[2] != pytest.approx(plain)


def test_a_label_of_one_class_costs_nothing_by_margin():
    logits, targets, weights = batch(7)
    targets[:, 2] = 0
    loss = AucMargin(warmup_epochs=0)
    loss.prepare(*tensors(targets, weights))
    x, y, w = tensors(logits, targets, weights)
    x.requires_grad_()

    loss(x, y, w).backward()

    assert torch.equal(x.grad[:, 2], torch.zeros(B))
    assert x.grad.isfinite().all()


def test_descending_the_margin_loss_parts_the_classes():
    torch.manual_seed(0)
    y = (torch.rand(256, 1) < 0.1).float()
    x = (torch.randn(256, 3) + y).requires_grad_(False)
    model, loss = nn.Linear(3, 1), AucMargin(warmup_epochs=0)
    loss.prepare(y, torch.ones_like(y))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)

    def lead():
        h = model(x).sigmoid()
        return (h[y == 1].mean() - h[y == 0].mean()).item()

    before = lead()
    for _ in range(150):
        optimizer.zero_grad()
        loss(model(x), y, torch.ones_like(y)).backward()
        optimizer.step()

    assert lead() > before + 0.3


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_masked_entries_have_no_gradient_and_change_nothing(make, soft):
    logits, targets, weights = batch(2, soft)
    x, y, w = tensors(logits, targets, weights)
    x.requires_grad_()
    other = torch.where(w > 0, x.detach(), torch.full_like(x, 50.0))

    value = make()(x, y, w)
    value.backward()

    assert (x.grad[w == 0] == 0).all()
    assert (x.grad[w > 0] != 0).any()
    assert torch.allclose(make()(other, torch.where(w > 0, y, 1 - y), w), value)


@pytest.mark.parametrize("make", KINDS)
def test_a_batch_of_masked_entries_alone_costs_nothing(make):
    logits, targets, _ = tensors(*batch(2))
    logits.requires_grad_()

    loss = make()(logits, targets, torch.zeros(B, L))
    loss.backward()

    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(B, L))


@pytest.mark.parametrize("make", KINDS)
def test_sure_logits_give_finite_losses_and_gradients(make):
    logits = torch.tensor([[200.0, -200, 1e4, -1e4]] * 2).requires_grad_()

    value = make()(logits, torch.tensor([[1.0] * L, [0.0] * L]), torch.ones(2, L))
    value.backward()

    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("make", KINDS)
def test_what_a_loss_knows_is_in_its_checkpoint(make):
    first, other = warm(make()), make()
    first(*tensors(*batch(11)))
    other.prepare(*tensors(*batch(12, rows=30)[1:]))  # as a resume does, before it loads

    other.load_state_dict(first.state_dict())

    given = tensors(*batch(13))
    assert torch.equal(first(*given), other(*given))
    assert first.state_dict().keys() == other.state_dict().keys()


@pytest.mark.parametrize(("name", "kind"), [("bce", Bce), ("asl", Asymmetric), ("aucm", AucMargin)])
def test_each_config_builds_its_loss_with_the_defaults_of_the_code(name, kind):
    config = yaml.safe_load((places.shipped("conf") / "loss" / f"{name}.yaml").read_text())

    built = losses.build(config)

    assert type(built) is kind
    said = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    assert {**said, "_target_": f"cxr.learning.losses.{kind.__name__}"} == config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_target_": "os.system"}, "loss._target_: expected one of cxr.learning.losses.Bce, .*os"),
        ({}, "loss._target_: expected one of"),
        ({"_target_": "cxr.learning.losses.Bce", "gamma": 1}, "loss: .*unexpected keyword .*gamma"),
        (
            {"_target_": "cxr.learning.losses.Asymmetric", "clip": 0.7},
            "loss.clip: .*to 0.5, met 0.7",
        ),
        ({"_target_": "cxr.learning.losses.Asymmetric", "gamma_negative": -1}, "gamma_negative: "),
        (
            {"_target_": "cxr.learning.losses.AucMargin", "margin": 2},
            "loss.margin: .*0 to 1, met 2",
        ),
        ({"_target_": "cxr.learning.losses.AucMargin", "memory": 0}, "loss.memory: expected"),
    ],
)
def test_what_is_no_loss_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        losses.build(config)


def fitted(folder, told, resume_from=None, stop_after=None):
    """Train with the margin loss from its second epoch on, and give its state."""
    data = learnable(train=32, val=16)
    loss = AucMargin(warmup_epochs=1)
    loss.prepare(*(torch.from_numpy(table[:32]) for table in data._trained.values()))
    optimizer = build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1e-2})
    model = Classifier(build_net(NET, 3), NAMES, optimizer=optimizer, loss=loss)

    def tell(metrics, epoch):
        told.append((epoch, metrics))
        if epoch == stop_after:
            raise KeyboardInterrupt

    fit.fit(
        model, data, folder=folder, max_epochs=3, accelerator="cpu", precision="32-true",
        log_metrics=tell, resume_from=resume_from,
    )  # fmt: skip
    return loss.state_dict()


def test_a_resumed_margin_loss_goes_on_with_what_it_remembers(tmp_path):
    whole, parts = [], []
    expected = fitted(tmp_path / "whole", whole)

    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "parts", parts, stop_after=3)
    del parts[2]  # told before its checkpoint was written, so it is done again
    met = fitted(tmp_path / "parts", parts, tmp_path / "parts" / "last.ckpt")

    assert parts == whole
    assert all(torch.equal(met[name], expected[name]) for name in expected)
    # cross-entropy of an epoch, then the margin loss, which is bounded by a quarter of 1 + 1 + 4
    assert whole[0][1]["train/loss"] > 0.5
    assert whole[1][1]["train/loss"] < 0.5
