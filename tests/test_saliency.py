"""Maps are those of Grad-CAM as published, whatever the net, and leave the net as it was."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cxr.errors import RunError
from cxr.learning.evaluation import saliency

MONAI = "monai.networks.nets."


def tiny(kind):
    from monai.networks import nets

    torch.manual_seed(0)
    if kind == "densenet":
        return nets.DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(1, 1))
    if kind == "resnet":
        return nets.ResNet(
            "bottleneck", [1, 1, 1, 1], [4, 4, 8, 8],
            spatial_dims=2, n_input_channels=1, num_classes=3,
        )  # fmt: skip
    return nets.EfficientNetBN(
        "efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=3
    )


def by_hand(net, pool, images, column):
    """Selvaraju et al. 2017, equations 1 and 2, by autograd over the whole net."""
    met = []

    def keep(module, given):
        given[0].retain_grad()
        met.append(given[0])

    hook = net.get_submodule(pool).register_forward_pre_hook(keep)
    net(images)[:, column].sum().backward()
    hook.remove()
    net.zero_grad()
    (features,) = met
    weights = features.grad.mean(dim=(2, 3), keepdim=True)
    found = functional.relu((weights * features).sum(dim=1, keepdim=True))
    return functional.interpolate(found, images.shape[2:], mode="bilinear")[:, 0].detach().numpy()


@pytest.mark.parametrize(
    ("kind", "pool"),
    [("densenet", "class_layers.pool"), ("resnet", "avgpool"), ("efficientnet", "_avg_pooling")],
)
def test_a_map_is_grad_cam_of_the_last_features_of_every_kind_of_net(kind, pool):
    net = tiny(kind).eval()
    images = torch.rand(2, 1, 64, 96)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    column = next(k for k in range(3) if by_hand(net, pool, images, k).max() > 0)
    found = saliency.grad_cam(net, images, column)

    assert found.shape == (2, 64, 96)
    np.testing.assert_allclose(found, by_hand(net, pool, images, column), rtol=1e-4, atol=1e-9)
    assert net.state_dict().keys() == before.keys()
    assert all((net.state_dict()[name] == value).all() for name, value in before.items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_net_that_pools_nothing_is_refused_and_left_alone():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    with pytest.raises(RunError, match="expected a net that pools its features, met Sequential"):
        saliency.grad_cam(net, torch.rand(1, 1, 4, 4), 0)


class Spots(nn.Module):
    """Sees brightness alone: its features are the image."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = nn.Linear(1, 2, bias=False)
        self.out.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, image):
        return self.out(self.pool(image).flatten(1))


def test_a_map_is_highest_where_the_finding_shows_and_zero_where_nothing_speaks_for_it():
    images = torch.zeros(1, 1, 32, 32)
    images[0, 0, 20:24, 5:9] = 1

    assert np.unravel_index(saliency.grad_cam(Spots(), images, 0)[0].argmax(), (32, 32)) == (20, 5)
    assert (saliency.grad_cam(Spots(), images, 1) == 0).all()
