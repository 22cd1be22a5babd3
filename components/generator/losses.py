"""The loss of the fine-tuning loop (paper section 4.2, Eq. 6 and 7) and VQGAN's own (Esser et al., 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAX_ADAPTIVE_WEIGHT = 1e4


@dataclass(frozen=True, kw_only=True)
class VqTerms:
    """Terms of L_vq, each a scalar before weighting, and their weighted sum."""

    reconstruction: Tensor
    """Mean absolute difference of the reconstruction to the image."""
    perceptual: Tensor
    """Perceptual distance of the reconstruction to the image."""
    adversarial: Tensor
    """Negative mean logit of the reconstruction; 0 before the adversarial term starts."""
    codebook: Tensor
    """Codebook and commitment terms."""
    adaptive_weight: Tensor
    """Weight that balances the adversarial term's gradient with the reconstruction's."""
    total: Tensor
    """L_vq."""

    def scalars(self) -> dict[str, float]:
        """The terms as Python numbers."""
        return {name: float(value.detach()) for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class LoopLoss:
    """The loss of one step of the loop."""

    mse: Tensor
    """L_mse of Eq. 6: mean squared difference of the generated images to the given one."""
    vq: VqTerms
    """Terms of L_vq."""
    total: Tensor
    """L of Eq. 7, which is minimised."""

    def scalars(self) -> dict[str, float]:
        """The terms as Python numbers, `total` that of Eq. 7."""
        return {"mse": float(self.mse.detach()), **self.vq.scalars(), "total": float(self.total.detach())}


def mse_loss(given: Tensor, generated: Tensor) -> Tensor:
    """Eq. 6: (1/n) sum over m of ||I^o - I_m^+||^2, with n the number of values.

    Args:
        given: I^o [1, 3, height, width].
        generated: I_1^+ ... I_M^+ [M, 3, height, width], in the same range.
    """
    return (given - generated).square().mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: nn.Parameter) -> Tensor:
    """Ratio of the gradients' norms at the decoder's last layer (Esser et al., 2021, Eq. 7), a constant."""
    first = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0]
    second = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0]
    weight: Tensor = first.norm() / (second.norm() + 1e-4)
    return weight.clamp(0, MAX_ADAPTIVE_WEIGHT).detach()
