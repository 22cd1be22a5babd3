"""Settings of VQGAN-CLIP, the text-only baseline."""

from typing import Annotated, ClassVar

from pydantic import Field

from components.artifacts import PROMPT_KINDS
from components.generator.config import UNTRAINED, GeneratorConfig
from components.networks.config import EmbedderConfig
from components.settings import OneOf, Seed


class Config(EmbedderConfig, GeneratorConfig):
    """Settings of VQGAN-CLIP (Crowson et al., 2022), the text-only generator of the paper's Table 1.

    VQGAN-CLIP proper needs CLIP as its embedder.
    """

    section: ClassVar = "vqgan_clip"

    object: str
    """Object name, W^o."""
    prompt: Annotated[str, OneOf(PROMPT_KINDS)] = "best"
    """Which prompt is painted: `best` or `worst` of the ranking, `word` for the object's name, or `naive`."""
    weights: str = UNTRAINED
    """`base`, `none` or a reference, as in the line's loop. An untrained generator paints noise: the result says so."""
    images: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of images; the paper adds one."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4
    """Images that are optimised at a time."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Steps of Adam on the latents of each image."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Adam's step size, in standard deviations of the codebook vectors."""
    cutouts: Annotated[int, Field(ge=1, le=256)] = 8
    """Augmented cutouts of each image that the embedder sees in a step."""
    cutout_size: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Least side of a cutout, as a share of the image's."""
    init: Annotated[str, OneOf(("noise", "given"))] = "noise"
    """`noise` starts from codes drawn at random, as VQGAN-CLIP does, `given` from the latents of the given images."""
    seed: Seed = 0
    """Draws initial weights, initial codes and cutouts."""
