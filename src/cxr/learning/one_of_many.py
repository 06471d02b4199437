"""A net that says of each image which one label it has, as the public sample's does.

Everything else here has one logit a label, and its sigmoid is that label's probability. So this
net gives the logits whose sigmoids are a softmax: evaluation and serving need not know of it.
"""

from typing import cast

import torch
from torch import Tensor, nn

from cxr.errors import ConfigError


class OneOfMany(nn.Module):
    """MONAI's DenseNet121 on one channel, its outputs a softmax told as logits.

    Raises:
        ConfigError: Fewer than two labels: there is nothing to choose between.
    """

    def __init__(self, *, out_channels: int = 2) -> None:
        """Make it for so many labels."""
        super().__init__()
        from monai.networks.nets import DenseNet121

        if out_channels < 2:
            raise ConfigError(
                f"model: expected at least 2 labels to choose between, met {out_channels}"
            )
        self.net = DenseNet121(spatial_dims=2, in_channels=1, out_channels=out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Give the log-odds of each label: (B, 1, H, W) → (B, L)."""
        return log_odds(cast("Tensor", self.net(images)))


def log_odds(scores: Tensor) -> Tensor:
    """Turn (B, L) scores before a softmax into log(p / (1 - p)) of what the softmax gives.

    The odds of one label are its own against the sum of all others, so nothing is subtracted from
    1 and no probability near 1 loses its digits.
    """
    scores = scores.float()
    others = scores[:, None, :].expand(-1, scores.shape[1], -1)
    own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    return scores - others.masked_fill(own, -torch.inf).logsumexp(dim=-1)
