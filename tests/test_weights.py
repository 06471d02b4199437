"""Weights of others compute what they computed there, and nothing is taken in silence."""

import dataclasses
import re
import sys

import numpy as np
import pytest
import torch
import torchvision_nets as theirs
from test_model import TINY
from test_predictor import RECORD
from torch import nn

from cxr import config, schema
from cxr.errors import RunError
from cxr.learning import weights
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor

SIDE = 32
IMAGE = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
COLOURS = IMAGE.expand(2, 3, SIDE, SIDE)


def configured(name):
    check = config.check(config.compose("train", [f"model={name}"]), schema.Train)
    return check.model.net.model_dump(by_alias=True)


def embedding(net, image):
    """What the last linear layer is shown."""
    met = []
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    with torch.no_grad():
        net.eval()(image)
    return met[0]


def near(met, expected):
    return (met - expected).abs().max() < 1e-4 * expected.abs().max()


def filled(net, tensors, path, *, head=False):
    torch.save(tensors, path)
    return weights.fill(net, weights.read(path), path=path, source=path.name, head=head)


@pytest.mark.parametrize("old", [False, True])
def test_torchvisions_weights_compute_here_what_they_compute_on_grey_colours(old, tmp_path):
    tensors = theirs.densenet((1, 2), width=4, growth=2, old=old)
    net = build_net(TINY | {"block_config": [1, 2]}, 5)

    taken = filled(net, tensors, tmp_path / "tiny.pth")

    assert taken.adapted == {"features.conv0.weight": "three colours summed to one channel"}
    assert list(taken.left) == ["classifier.weight", "classifier.bias"]
    assert len(taken.taken) == len(tensors) - 3
    assert taken.initial == ("class_layers.out.weight", "class_layers.out.bias")
    with torch.no_grad():
        expected = theirs.densenet_embedding(
            theirs.densenet((1, 2), width=4, growth=2), (1, 2), COLOURS
        )
    assert near(embedding(net, IMAGE), expected)
    assert expected.std() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "densenet169", "resnet50"])
def test_nets_as_configured_compute_what_torchvisions_do_and_train(name, tmp_path):
    blocks = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32)}.get(name)
    tensors = theirs.densenet(blocks) if blocks else theirs.resnet((3, 4, 6, 3))
    net = build_net(configured(name), 5)

    taken = filled(net, tensors, tmp_path / f"{name}.pth")

    assert (len(taken.taken), len(taken.initial)) == (len(tensors) - 3, 2)
    if name == "densenet169":
        return  # more of the same layers, and the dearest to ask
    with torch.no_grad():
        if blocks:
            expected = theirs.densenet_embedding(tensors, blocks, COLOURS)
        else:
            expected = theirs.resnet_embedding(tensors, (3, 4, 6, 3), COLOURS)
    assert near(embedding(net, IMAGE), expected)
    check_that_a_step_moves(net.train())


def test_efficientnets_published_names_are_known(tmp_path):
    source = build_net(configured("efficientnet_b0") | {"in_channels": 3}, 5, seed=1)
    # EfficientNet-PyTorch numbers blocks through, MONAI by stage as well
    tensors = {
        re.sub(r"^_blocks\.\d+\.", "_blocks.", name): tensor
        for name, tensor in source.state_dict().items()
    }
    net = build_net(configured("efficientnet_b0"), 5)

    taken = filled(net, tensors, tmp_path / "efficientnet-b0.pth")

    assert "_blocks.15._project_conv.weight" in taken.taken
    assert list(taken.adapted) == ["_conv_stem.weight"]
    assert list(taken.left) == ["_fc.weight", "_fc.bias"]
    assert torch.allclose(embedding(net, IMAGE), embedding(source, COLOURS), rtol=1e-3, atol=1e-5)


def test_colours_are_summed_so_that_grey_gives_what_it_gave():
    rgb, grey = (nn.Conv2d(into, 4, 3, bias=False) for into in (3, 1))
    shrunk, how = weights._fitted(rgb.weight.detach(), grey.weight.detach())
    grey.load_state_dict({"weight": shrunk})

    assert how == "three colours summed to one channel"
    with torch.no_grad():
        assert torch.allclose(grey(IMAGE), rgb(COLOURS), atol=1e-5)


def lightning(net, **more):
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    return {"state_dict": state | more, "epoch": 3, "pytorch-lightning_version": "2.6.6"}


@pytest.mark.parametrize("wrap", [
    lambda net: net.state_dict(),
    lambda net: lightning(net),
    lambda net: {"model": {f"module.{k}": v for k, v in net.state_dict().items()}, "lr": 1},
    lambda net: {f"model.backbone.{k}": v for k, v in net.state_dict().items()},
], ids=["plain", "lightning", "module", "backbone"])  # fmt: skip
@pytest.mark.parametrize("head", [True, False])
def test_weights_are_found_wherever_they_are_kept(wrap, head, tmp_path):
    source, net = build_net(TINY, 3, seed=1), build_net(TINY, 3, seed=2)
    net.class_layers.out.bias.data.fill_(1)
    own_head = {k: v.clone() for k, v in net.class_layers.state_dict().items()}

    taken = filled(net, wrap(source), tmp_path / "a.pt", head=head)

    same = {k for k, v in net.state_dict().items() if torch.equal(v, source.state_dict()[k])}
    kept = {f"class_layers.{name}" for name in own_head}
    assert same == set(source.state_dict()) - (set() if head else kept)
    assert len(taken.taken) == len(same)
    assert set(taken.initial) == (set() if head else kept)
    assert all(reason == "the classifier is about other labels" for reason in taken.left.values())


def test_what_is_not_taken_is_named_with_its_reason(tmp_path):
    source = build_net(TINY | {"growth_rate": 3}, 3, seed=1)
    net = build_net(TINY, 3, seed=2)

    taken = filled(
        net, lightning(source, **{"loss.pos_weight": torch.ones(3)}), tmp_path / "a.ckpt"
    )

    assert taken.left["loss.pos_weight"] == "the net has none of this name"
    growth = "net.features.denseblock1.denselayer1.layers.conv2.weight"
    assert taken.left[growth] == "expected the shape (2, 8, 3, 3), met (3, 12, 3, 3)"
    assert growth.removeprefix("net.") in taken.initial
    assert "net.features.conv0.weight" in taken.taken
    counted = taken.counts
    assert counted["source"] == "a.ckpt"
    assert len(counted["sha256"]) == 64
    assert counted["taken"] + counted["adapted"] + counted["left"] == len(source.state_dict()) + 1
    assert str(taken).startswith(
        f"weights of a.ckpt: {counted['taken']} tensors taken, 0 adapted, "
    )
    assert "\n" not in str(taken)


def test_safetensors_are_read_where_the_library_is(tmp_path, monkeypatch):
    library = pytest.importorskip("safetensors.torch")
    source, net = build_net(TINY, 3, seed=1), build_net(TINY, 3, seed=2)
    path = tmp_path / "a.safetensors"
    library.save_file({k: v.contiguous() for k, v in source.state_dict().items()}, path)

    weights.fill(net, weights.read(path), path=path, source="a", head=True)

    assert torch.equal(net.features.conv0.weight, source.features.conv0.weight)
    path.write_bytes(b"no tensors at all")
    with pytest.raises(RunError, match=r"a.safetensors: expected a state dict: "):
        weights.read(path)
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RunError, match=r"expected the library safetensors .* save it as .pth"):
        weights.read(path)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Trap()}, "expected tensors alone, met other objects"),
        (nn.Linear(2, 2), "expected tensors alone, met other objects"),
        (torch.zeros(3), "expected a state dict, so names of tensors, met one Tensor"),
        ([1, 2], "met one list"),
        ({}, "met nothing"),
        ({"state_dict": {}}, "met nothing"),
        ({"lr": 0.1, "a": torch.zeros(1)}, 'met "lr" among its keys'),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused(content, message, tmp_path):
    path = tmp_path / "a.pth"
    torch.save(content, path)

    with pytest.raises(RunError, match=message) as met:
        weights.read(path)

    assert "\n" not in str(met.value)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 torn", b"\x80\x02torn"])
def test_a_file_of_another_kind_or_a_torn_one_is_one_line(data, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(data)

    with pytest.raises(RunError, match=r"a.pth: expected ") as met:
        weights.read(path)

    assert "\n" not in str(met.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        {"features.norm0.num_batches_tracked": torch.tensor(3)},
        {"features.norm0.running_mean": torch.zeros(4)},
    ],
)
def test_nothing_learnt_that_fits_is_refused_and_changes_nothing(tensors, tmp_path):
    net = build_net(TINY, 3)
    before = {k: v.clone() for k, v in net.state_dict().items()}

    with pytest.raises(RunError, match="expected weights that fit DenseNet, met 1 tensors none of"):
        filled(net, tensors, tmp_path / "a.pth")

    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    source = build_net(TINY, 3)
    source.features.conv0.weight.data[0] = torch.nan

    with pytest.raises(RunError, match=r'finite numbers, met others in "features.conv0.weight"'):
        filled(build_net(TINY, 3), source.state_dict(), tmp_path / "a.pth")


def check_that_a_step_moves(net):
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    step = torch.optim.SGD(net.parameters(), lr=0.1)

    net(IMAGE).square().sum().backward()
    step.step()

    moved = [k for k, v in net.named_parameters() if not torch.equal(v, before[k])]
    assert len(moved) > 0.9 * len(before)


SMALL = {"block": "bottleneck", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 8]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "net",
    [
        configured("resnet50") | {"_target_": "monai.networks.nets.ResNet"} | SMALL,
        configured("efficientnet_b0"),
    ],
    ids=["resnet", "efficientnet_b0"],
)
def test_a_net_is_exported_and_embedded_and_trains(net, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    images = (IMAGE[:, 0] * 255).numpy().astype(np.uint8)
    record = dataclasses.replace(RECORD, net=net, image_size=(SIDE, SIDE))
    asked = Predictor(record, build_net(net, 3), "cpu")

    session = onnxruntime.InferenceSession(str(asked.export_onnx(tmp_path / "model.onnx")))

    given = {"image": images[:, None].astype(np.float32) / 255}
    assert np.abs(session.run(None, given)[0] - asked.predict(images)).max() < 1e-5
    assert asked.embed(images).shape[0] == 2
    check_that_a_step_moves(asked.net.train())
