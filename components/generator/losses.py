"""L_vq of Eq. 7: the full VQGAN loss (Esser et al., 2021) and the discriminator that it trains."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.compute import placed
from components.errors import check
from components.generator.config import PERCEPTUALS, LossConfig
from components.networks.perceptual import Lpips, Perceptual, PerceptualDistance

ADAM_BETAS = (0.5, 0.9)
"""As in taming-transformers."""
MAX_ADAPTIVE_WEIGHT = 1e4


@dataclass(frozen=True, kw_only=True)
class VqTerms:
    """Terms of L_vq, each a scalar before weighting, and their weighted sum."""

    reconstruction: Tensor
    """Mean absolute difference of the reconstruction to the image."""
    perceptual: Tensor
    adversarial: Tensor
    """Negative mean logit of the reconstruction; 0 before the adversarial term starts."""
    codebook: Tensor
    """Codebook and commitment terms."""
    adaptive_weight: Tensor
    total: Tensor
    """L_vq."""

    def scalars(self) -> dict[str, float]:
        """The terms as Python numbers."""
        return {name: float(value.detach()) for name, value in vars(self).items()}


class VqLoss:
    """L_vq, its perceptual network, and its discriminator with an optimiser of its own."""

    def __init__(self, last_layer: nn.Parameter, config: LossConfig, learning_rate: float) -> None:
        """Load the networks; the adaptive weight compares gradients at `last_layer`, the decoder's last weight.

        The learning rate is the discriminator's.
        """
        self._last_layer = last_layer
        self._config = config
        self.perceptual = placed(load_perceptual(config.perceptual, config.perceptual_backbone))
        self.discriminator = placed(PatchDiscriminator())
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), learning_rate, ADAM_BETAS)

    def __call__(self, images: Tensor, reconstructed: Tensor, codebook: Tensor, *, adversarial: bool) -> VqTerms:
        """L_vq of images [n, 3, height, width] in [-1, 1], their reconstructions, and the quantiser's loss."""
        reconstruction = (images - reconstructed).abs().mean()
        perceptual = self.perceptual(reconstructed, images).mean()
        faithful = reconstruction + self._config.perceptual_weight * perceptual
        fooling = weight = torch.zeros((), device=images.device)
        if adversarial:
            fooling = -self.discriminator(reconstructed).mean()
            weight = adaptive_weight(faithful, fooling, self._last_layer)
        return VqTerms(
            reconstruction=reconstruction,
            perceptual=perceptual,
            adversarial=fooling,
            codebook=codebook,
            adaptive_weight=weight,
            total=faithful + self._config.adversarial_weight * weight * fooling + codebook,
        )

    def update_discriminator(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
        """One update on pairs of images and reconstructions, whose gradients accumulate; the mean hinge loss."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for images, reconstructed in pairs:
            loss = hinge_loss(self.discriminator(images), self.discriminator(reconstructed.detach())) / len(pairs)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        self.optimizer.step()
        return sum(losses)


class PatchDiscriminator(nn.Sequential):
    """PatchGAN (Isola et al., 2017), as in taming-transformers: real or generated, judged patch by patch.

    Images [n, 3, height, width] in [-1, 1] give logits [n, 1, height / 8 - 2, width / 8 - 2]. GroupNorm replaces
    BatchNorm, whose statistics are degenerate on batches of a few similar images.
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
        for block in blocks:
            if isinstance(block, nn.Conv2d):
                nn.init.normal_(block.weight, 0.0, 0.02)


def hinge_loss(real_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """Discriminator's hinge loss, a scalar."""
    return (torch.relu(1 - real_logits).mean() + torch.relu(1 + generated_logits).mean()) / 2


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: nn.Parameter) -> Tensor:
    """Ratio of the gradients' norms at the decoder's last layer (Esser et al., 2021, Eq. 7), a constant."""
    first, second = (
        torch.autograd.grad(term, last_layer, retain_graph=True)[0] for term in (reconstruction, adversarial)
    )
    weight: Tensor = first.norm() / (second.norm() + 1e-4)
    return weight.clamp(0, MAX_ADAPTIVE_WEIGHT).detach()


def load_perceptual(kind: str, backbone: str) -> Perceptual:
    """`efficientnet`, or `lpips` on torchvision's VGG16 weights by reference; `InputError` in place of a fallback."""
    check(kind in PERCEPTUALS, "perceptual", kind, f"one of {PERCEPTUALS}")
    return Lpips(backbone) if kind == "lpips" else PerceptualDistance()
