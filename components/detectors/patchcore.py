"""PatchCore (Roth et al., 2022), as anomalib has it."""

from typing import TYPE_CHECKING

from components.networks.backbones import architecture_of, input_statistics, load_feature_weights

if TYPE_CHECKING:
    from anomalib.models import Patchcore

_LEVELS = (2, 3)


def build_patchcore(
    backbone: str, reference: str, *, coreset_ratio: float, num_neighbors: int, pretrained: bool
) -> "Patchcore":
    """PatchCore on the feature maps of stride 8 and 16; it takes images in [0, 1].

    Args:
        backbone: key of `BACKBONES`.
        reference: weights of the backbone; empty for those of the manifest.
        coreset_ratio: share of the patches that are kept.
        num_neighbors: neighbours that reweight the image's score.
        pretrained: whether the backbone's weights are loaded.
    """
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Normalize

    mean, std = input_statistics(backbone)
    model = Patchcore(
        backbone=architecture_of(backbone),
        layers=_LEVELS,
        pre_trained=False,
        coreset_sampling_ratio=coreset_ratio,
        num_neighbors=num_neighbors,
        pre_processor=PreProcessor(transform=Normalize(list(mean), list(std))),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    if pretrained:
        load_feature_weights(model.model.feature_extractor.feature_extractor, backbone, reference)
    return model
