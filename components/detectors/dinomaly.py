"""Dinomaly (Guo et al., 2025): a decoder with linear attention that reconstructs DINOv2's features, loosely.

The parts are anomalib's; its own model cannot be built without a download.
"""

from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import GaussianBlur2d
from anomalib.models.image.dinomaly import components as parts
from anomalib.models.image.dinomaly.torch_model import DecoderViTBlock, DinomalyModel
from torch import Tensor, nn

from components.detectors.batches import Images, encoded_batches, optimise
from components.detectors.encoder import DinoEncoder
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_BLOCKS = (2, 3, 4, 5, 6, 7, 8, 9)
"""Blocks of a transformer of twelve whose tokens are reconstructed."""
_GROUPS = (slice(0, 4), slice(4, 8))
_DEPTH = 8
_DROPOUT = 0.2
_KERNEL, _SIGMA = 5, 4


def build(config: "Config", image_size: int, pretrained: bool) -> "Dinomaly":
    """An untrained bottleneck and decoder on the transformer's middle blocks."""
    encoder = DinoEncoder(config.vit, config.vit_reference, image_size, _BLOCKS, norm=False, pretrained=pretrained)
    return Dinomaly(encoder, config.image_score)


def train(model: "Dinomaly", images: Images, config: "Config") -> None:
    """Maximise the cosine of encoder and decoder, the hardest points first (StableAdamW, as in the paper's code).

    Warm-up and the share of easy points take the part of the steps that they have of the paper's ten thousand.
    """
    steps = config.dinomaly_steps
    trained = [*model.bottleneck.parameters(), *model.decoder.parameters()]
    optimiser = parts.StableAdamW(trained, lr=2e-3, weight_decay=1e-4, amsgrad=True)
    warm = min(steps // 2, max(1, steps // 100))
    schedule = parts.WarmCosineScheduler(optimiser, 2e-3, 2e-4, steps, warmup_iters=warm, start_warmup_value=2e-5)
    measure = parts.CosineHardMiningLoss(p_schedule_steps=max(1, steps // 10))
    for step, layers in enumerate(encoded_batches(model.encoder, images, steps, config.seed)):
        optimise(optimiser, measure(*model.reconstruct(layers), global_step=step), clip=0.1)
        schedule.step()


class Dinomaly(nn.Module):
    """Frozen encoder, noisy bottleneck and decoder; two groups of four layers are compared (section 3 of the paper)."""

    def __init__(self, encoder: DinoEncoder, image_score: str) -> None:
        super().__init__()
        self.encoder, self.image_score = encoder, image_score
        dim, heads = encoder.body.embed_dim, encoder.body.blocks[0].attn.num_heads
        self.bottleneck = parts.DinomalyMLP(dim, 4 * dim, dim, drop=_DROPOUT, bias=False, apply_input_dropout=True)
        self.decoder = nn.ModuleList(
            DecoderViTBlock(dim, heads, mlp_ratio=4.0, qkv_bias=True, attn=parts.LinearAttention) for _ in range(_DEPTH)
        )
        for module in [*self.bottleneck.modules(), *self.decoder.modules()]:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01, a=-0.03, b=0.03)
        self.blur = GaussianBlur2d(sigma=(_SIGMA, _SIGMA), channels=1, kernel_size=(_KERNEL, _KERNEL))

    def reconstruct(self, layers: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Both groups of the encoder's layers [n, tokens, dim] and the decoder's, as maps [n, dim, grid, grid]."""
        state = self.bottleneck(torch.stack(layers).mean(dim=0))
        decoded: list[Tensor] = []
        for block in self.decoder:
            state = block(state)
            decoded.insert(0, state)
        return self._groups(layers), self._groups(decoded)

    def _groups(self, layers: list[Tensor]) -> list[Tensor]:
        fused = [torch.stack(layers[group]).mean(dim=0)[:, self.encoder.prefix :] for group in _GROUPS]
        grid = self.encoder.grid
        return [tokens.transpose(1, 2).reshape(len(tokens), -1, grid, grid) for tokens in fused]

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: one minus the cosine, averaged over the groups and smoothed."""
        size = tuple(images.shape[-2:])
        maps, _ = DinomalyModel.calculate_anomaly_maps(*self.reconstruct(self.encoder(images)), out_size=size)
        maps = self.blur(maps)
        return InferenceBatch(pred_score=highest(maps, self.image_score), anomaly_map=maps)
