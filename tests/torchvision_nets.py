"""State dicts as torchvision names them, and what torchvision's nets compute from them.

Written out from the published architectures (Huang 2017, He 2016), without torchvision, which is
no dependency: an independent computation for what is loaded from such files.
"""

import torch
from torch.nn import functional as f


class Maker:
    """Random tensors under given names."""

    def __init__(self, seed=0):
        self.made = {}
        self._generator = torch.Generator().manual_seed(seed)

    def conv(self, name, out, into, size):
        spread = (2 / (into * size * size)) ** 0.5
        self.made[f"{name}.weight"] = (
            torch.randn(out, into, size, size, generator=self._generator) * spread
        )

    def norm(self, name, width, *, counter=True):
        for key, low in (
            ("weight", 0.5),
            ("bias", -0.1),
            ("running_mean", -0.1),
            ("running_var", 0.5),
        ):
            values = torch.rand(width, generator=self._generator)
            self.made[f"{name}.{key}"] = low + values * (0.2 if low < 0 else 1.0)
        if counter:
            self.made[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(self, name, out, into):
        self.made[f"{name}.weight"] = torch.randn(out, into, generator=self._generator) / into**0.5
        self.made[f"{name}.bias"] = torch.randn(out, generator=self._generator)


def densenet(blocks, *, width=64, growth=32, old=False, seed=0):
    """`old` are the names of the files torchvision offers for download: norm.1, no counters."""
    make = Maker(seed)
    dot = "." if old else ""
    make.conv("features.conv0", width, 3, 7)
    make.norm("features.norm0", width, counter=not old)
    for b, layers in enumerate(blocks, 1):
        for k in range(1, layers + 1):
            at = f"features.denseblock{b}.denselayer{k}"
            make.norm(f"{at}.norm{dot}1", width, counter=not old)
            make.conv(f"{at}.conv{dot}1", growth * 4, width, 1)
            make.norm(f"{at}.norm{dot}2", growth * 4, counter=not old)
            make.conv(f"{at}.conv{dot}2", growth, growth * 4, 3)
            width += growth
        if b < len(blocks):
            make.norm(f"features.transition{b}.norm", width, counter=not old)
            make.conv(f"features.transition{b}.conv", width // 2, width, 1)
            width //= 2
    make.norm("features.norm5", width, counter=not old)
    make.linear("classifier", 1000, width)
    return make.made


def resnet(layers, *, seed=0):
    make = Maker(seed)
    make.conv("conv1", 64, 3, 7)
    make.norm("bn1", 64)
    into = 64
    for stage, count in enumerate(layers, 1):
        width = 64 * 2 ** (stage - 1)
        for k in range(count):
            at = f"layer{stage}.{k}"
            make.conv(f"{at}.conv1", width, into, 1)
            make.norm(f"{at}.bn1", width)
            make.conv(f"{at}.conv2", width, width, 3)
            make.norm(f"{at}.bn2", width)
            make.conv(f"{at}.conv3", width * 4, width, 1)
            make.norm(f"{at}.bn3", width * 4)
            if k == 0:
                make.conv(f"{at}.downsample.0", width * 4, into, 1)
                make.norm(f"{at}.downsample.1", width * 4)
            into = width * 4
    make.linear("fc", 1000, into)
    return make.made


def _norm(w, name, x):
    return f.batch_norm(
        x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"],
        w[f"{name}.bias"],
    )  # fmt: skip


def densenet_embedding(w, blocks, image):
    """Image (B, 3, H, W) → what torchvision's classifier is shown, (B, D)."""
    x = f.conv2d(image, w["features.conv0.weight"], stride=2, padding=3)
    x = f.max_pool2d(_norm(w, "features.norm0", x).relu(), 3, 2, 1)
    for b, layers in enumerate(blocks, 1):
        for k in range(1, layers + 1):
            at = f"features.denseblock{b}.denselayer{k}"
            new = f.conv2d(_norm(w, f"{at}.norm1", x).relu(), w[f"{at}.conv1.weight"])
            new = f.conv2d(_norm(w, f"{at}.norm2", new).relu(), w[f"{at}.conv2.weight"], padding=1)
            x = torch.cat([x, new], dim=1)
        if b < len(blocks):
            at = f"features.transition{b}"
            x = f.avg_pool2d(f.conv2d(_norm(w, f"{at}.norm", x).relu(), w[f"{at}.conv.weight"]), 2)
    return _norm(w, "features.norm5", x).relu().mean(dim=(2, 3))


def resnet_embedding(w, layers, image):
    x = f.conv2d(image, w["conv1.weight"], stride=2, padding=3)
    x = f.max_pool2d(_norm(w, "bn1", x).relu(), 3, 2, 1)
    for stage, count in enumerate(layers, 1):
        for k in range(count):
            at, stride = f"layer{stage}.{k}", 2 if stage > 1 and k == 0 else 1
            y = _norm(w, f"{at}.bn1", f.conv2d(x, w[f"{at}.conv1.weight"])).relu()
            y = f.conv2d(y, w[f"{at}.conv2.weight"], stride=stride, padding=1)
            y = f.conv2d(_norm(w, f"{at}.bn2", y).relu(), w[f"{at}.conv3.weight"])
            if k == 0:
                x = f.conv2d(x, w[f"{at}.downsample.0.weight"], stride=stride)
                x = _norm(w, f"{at}.downsample.1", x)
            x = (x + _norm(w, f"{at}.bn3", y)).relu()
    return x.mean(dim=(2, 3))
