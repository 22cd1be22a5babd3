"""PatchCore (Roth et al., 2022), as anomalib has it."""

import ctypes
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.networks.backbones import architecture_of, input_statistics, load_feature_weights

if TYPE_CHECKING:
    from anomalib.models import Patchcore

    from components.detectors.config import Config

_LEVELS = (2, 3)
_BATCH = 8
_PATCHES_PER_PIXEL = 1 / 64
_M_MMAP_THRESHOLD = -3
_LARGE_BLOCK_BYTES = 1_000_000


def build(config: "Config", image_size: int, pretrained: bool) -> "Patchcore":
    """PatchCore on the feature maps of stride 8 and 16; it takes images in [0, 1]."""
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Normalize

    mean, std = input_statistics(config.backbone)
    model = Patchcore(
        backbone=architecture_of(config.backbone),
        layers=_LEVELS,
        pre_trained=False,
        coreset_sampling_ratio=config.coreset_ratio,
        num_neighbors=config.num_neighbors,
        pre_processor=PreProcessor(transform=Normalize(list(mean), list(std))),
        **dict.fromkeys(("post_processor", "evaluator", "visualizer"), False),
    )
    if pretrained:
        extractor = model.model.feature_extractor.feature_extractor
        load_feature_weights(extractor, config.backbone, config.backbone_reference)
    return model


def train(model: "Patchcore", images: Tensor, config: "Config") -> None:
    """Fill the memory bank by anomalib's engine; the ratio falls where the coreset would be larger than its limit."""
    from anomalib.data import ImageBatch
    from anomalib.engine import Engine
    from torch.utils.data import DataLoader

    return_large_blocks()
    patches = len(images) * images.shape[-1] * images.shape[-2] * _PATCHES_PER_PIXEL
    model.coreset_sampling_ratio = min(config.coreset_ratio, config.coreset_limit / patches)
    loader: Any = DataLoader(images, _BATCH, collate_fn=lambda rows: ImageBatch(image=torch.stack(rows)))  # type: ignore[arg-type]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(default_root_dir=directory, accelerator="auto", devices=1, **quiet)
        engine.fit(model, train_dataloaders=loader)


def return_large_blocks() -> None:
    """Have glibc give freed blocks of over a megabyte back to the system.

    The coreset selection frees two temporaries of tens of megabytes in each of its steps; glibc's growing threshold
    keeps them in a heap that fragments to more than 20 GB at 17,000 patches. Other C libraries give them back.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
