"""PatchGAN discriminator (Isola et al., 2017), as in taming-transformers: 64 channels, three layers."""

import torch
from torch import Tensor, nn


class PatchDiscriminator(nn.Sequential):
    """Logits of real or generated per patch: [n, 3, height, width] in [-1, 1] to [n, 1, height / 8 - 2, width / 8 - 2].

    GroupNorm takes the place of BatchNorm, whose statistics are degenerate on batches of a few like images.
    """

    def __init__(self, channels: int = 64, layers: int = 3, groups: int = 8) -> None:
        """Build `layers` downsampling blocks and two at constant resolution."""
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = channels
        for layer in range(1, layers + 1):
            wider = channels * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            blocks.append(nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False))
            blocks += [nn.GroupNorm(groups, wider), nn.LeakyReLU(0.2)]
            width = wider
        blocks.append(nn.Conv2d(width, 1, 4, padding=1))
        super().__init__(*blocks)
        self.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def hinge_loss(real_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """Discriminator's hinge loss, a scalar."""
    real = torch.relu(1 - real_logits).mean()
    generated = torch.relu(1 + generated_logits).mean()
    return (real + generated) / 2
