"""Where in an image a net saw a finding: Grad-CAM on the last features before it pools them.

A map says what raised or would raise one logit, at the coarse grid of the last features. It is no
outline of a finding, and a net may be right for a reason that lies elsewhere. It is computed on the
image as it is: what test-time augmentation moves is left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr import progress
from cxr.errors import RunError
from cxr.learning.material import Material
from cxr.learning.predictor import Predictor

BATCH = 16
"""Images at once; what is kept of each is its map alone."""
_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def maps(
    predictor: Predictor,
    material: Material,
    asked: Sequence[tuple[int, int]],
    by: NDArray[np.bool_] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Give one map per image and label asked, in the order asked; best grouped by label.

    Of an ensemble, maps are averaged over the members whose logits were.

    Args:
        predictor: Of the run.
        material: Of the job.
        asked: Row of `material`, column of the label.
        by: (len(asked), M) which members to ask; None asks all.

    Yields:
        (H, W), 0 where nothing spoke for the finding; not scaled.

    Raises:
        RunError: A net does not pool its features.
    """
    done = 0
    if by is None:
        by = np.ones((len(asked), len(predictor.members)), bool)
    with progress.bar("mapped", len(asked)) as advance:
        for column, rows in _runs(asked):
            images = predictor.inputs(material.gather(np.array(rows, np.intp)))
            yield from _mean(predictor.members, images, column, by[done : done + len(rows)])
            done += len(rows)
            advance(done)


def _mean(
    nets: Sequence[nn.Module], images: Tensor, column: int, by: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Average the maps of the nets that are asked about each image."""
    total = np.zeros((len(images), *images.shape[2:]), np.float64)
    for net, asked in zip(nets, by.T, strict=True):
        if asked.any():
            total[asked] += grad_cam(net, images[torch.from_numpy(asked)], column)
    mean: NDArray[np.float64] = total / by.sum(axis=1)[:, None, None]
    return mean.astype(np.float32)


def grad_cam(net: nn.Module, images: Tensor, column: int) -> NDArray[np.float32]:
    """Give the maps of one label (Selvaraju et al. 2017, by MONAI), as large as the images.

    Args:
        net: (B, 1, H, W) → logits (B, L), in eval mode.
        images: (B, 1, H, W)
        column: Of the label.

    Returns:
        (B, H, W), 0 or more, not scaled.

    Raises:
        RunError: The net does not pool its features.
    """
    from monai.visualize import GradCAM

    with torch.enable_grad(), _opened(net, images[:1]) as layer:
        camera = GradCAM(net, layer, postprocessing=lambda found: found)
        found: Tensor = camera(images, class_idx=column)
    return found[:, 0].detach().float().cpu().numpy()


class _Cut(nn.Module):
    """Hand features on, and let gradients come back to here and no further.

    All before is then computed as in predicting, without what a backward pass would need kept.
    """

    def forward(self, features: Tensor) -> Tensor:
        return features.detach().requires_grad_()


@contextmanager
def _opened(net: nn.Module, image: Tensor) -> Iterator[str]:
    """Put a layer to look at before the last pooling, and give its name; take it out at the end."""
    name = _last_pool(net, image)
    above, _, own = name.rpartition(".")
    parent = net.get_submodule(above)
    pool = net.get_submodule(name)
    learned = [p for p in net.parameters() if p.requires_grad]
    setattr(parent, own, nn.Sequential(_Cut(), nn.Identity(), pool))
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield f"{name}.1"
    finally:
        setattr(parent, own, pool)
        for parameter in learned:
            parameter.requires_grad_(True)


def _last_pool(net: nn.Module, image: Tensor) -> str:
    """Name the pooling that ran last: squeeze-and-excitation blocks pool before it."""
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in net.named_modules()
        if isinstance(module, _POOLS)
    ]
    try:
        with torch.no_grad():
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise RunError(
            f"evaluate.saliency: expected a net that pools its features, met {type(net).__name__}; "
            "leave it false"
        )
    return ran[-1]


def _runs(asked: Sequence[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Give what follows each other of the same label, a batch at most at once."""
    rows: list[int] = []
    for place, (row, column) in enumerate(asked):
        rows.append(row)
        ends = place + 1 == len(asked) or asked[place + 1][1] != column
        if ends or len(rows) == BATCH:
            yield column, rows
            rows = []
