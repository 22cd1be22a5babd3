"""L_vq of Eq. 7, the full VQGAN loss (Esser et al., 2021), with its perceptual network and its discriminator."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from components.compute import placed
from components.errors import check
from components.generator.config import PERCEPTUALS
from components.generator.discriminator import PatchDiscriminator, hinge_loss
from components.generator.losses import VqTerms, adaptive_weight
from components.networks.perceptual import Lpips, Perceptual, PerceptualDistance

ADAM_BETAS = (0.5, 0.9)
"""As in taming-transformers."""


class LossConfig(Protocol):
    """Settings of the loss, out of a stage's config."""

    @property
    def learning_rate(self) -> float:
        """Adam's step size of the discriminator."""

    @property
    def perceptual(self) -> str:
        """`efficientnet` or `lpips`."""

    @property
    def perceptual_backbone(self) -> str:
        """Reference to the weights of LPIPS's backbone."""

    @property
    def perceptual_weight(self) -> float:
        """Weight of the perceptual distance."""

    @property
    def adversarial_weight(self) -> float:
        """Weight of the adversarial term, on top of the adaptive weight."""


class VqLoss:
    """The loss and the discriminator that it trains."""

    def __init__(self, last_layer: nn.Parameter, config: LossConfig) -> None:
        """Load the perceptual network and build the discriminator.

        Args:
            last_layer: weight of the decoder's last layer, where the adaptive weight compares gradients.
            config: weights of the terms.
        """
        self._last_layer = last_layer
        self._config = config
        self.perceptual = placed(load_perceptual(config.perceptual, config.perceptual_backbone))
        self.discriminator = placed(PatchDiscriminator())
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), config.learning_rate, ADAM_BETAS)

    def __call__(self, images: Tensor, reconstructed: Tensor, codebook: Tensor, *, adversarial: bool) -> VqTerms:
        """L_vq of images [n, 3, height, width] in [-1, 1] and their reconstructions.

        Args:
            images: what the reconstructions are compared with.
            reconstructed: decoded from the quantised latents of the images.
            codebook: the quantiser's loss.
            adversarial: whether the adversarial term takes part.
        """
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
        """One update of the discriminator; its mean hinge loss.

        Args:
            pairs: images and their reconstructions, one pair of batches for each accumulated gradient.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for images, reconstructed in pairs:
            loss = hinge_loss(self.discriminator(images), self.discriminator(reconstructed.detach())) / len(pairs)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        self.optimizer.step()
        return sum(losses)


def load_perceptual(kind: str, backbone: str) -> Perceptual:
    """The perceptual distance of a name; there is no fallback from one to another.

    Args:
        kind: `efficientnet` or `lpips`.
        backbone: reference to torchvision's VGG16 weights, for `lpips`.

    Raises:
        InputError: the name is unknown, or the weights are missing or do not fit.
    """
    check(kind in PERCEPTUALS, "perceptual", kind, f"one of {PERCEPTUALS}")
    return Lpips(backbone) if kind == "lpips" else PerceptualDistance()
