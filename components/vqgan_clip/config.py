"""Settings of the text-only baseline."""

from dataclasses import dataclass

from components.errors import check, check_seed
from components.generator.config import BASE_CODES, UNTRAINED, Config
from components.networks.embedding import CONSE, check_embedder
from components.reference_prompts import PROMPT_KINDS

INITS = ("noise", "given")


@dataclass(frozen=True, kw_only=True)
class TextGuidedConfig:
    """Settings of VQGAN-CLIP (Crowson et al., 2022), the text-only generator of the paper's Table 1."""

    object: str
    """Object name, W^o."""
    prompt: str = "best"
    """Which prompt is painted: `best` or `worst` of the ranking, `word` for the object's name, or `naive`."""
    architecture: str = "small"
    """`small`, `f16` or `stored`, as in the line's loop."""
    weights: str = UNTRAINED
    """`base`, `none` or a reference, as in the line's loop. An untrained generator paints noise: the result says so."""
    codebook_size: int = BASE_CODES
    """K, number of codebook vectors; pretrained weights must have as many."""
    images: int = 1
    """Number of images; the paper adds one."""
    batch_size: int = 4
    """Images that are optimised at a time."""
    steps: int = 200
    """Steps of Adam on the latents of each image."""
    learning_rate: float = 0.1
    """Adam's step size, in standard deviations of the codebook vectors."""
    cutouts: int = 8
    """Augmented cutouts of each image that the embedder sees in a step."""
    cutout_size: float = 0.5
    """Least side of a cutout, as a share of the image's."""
    init: str = "noise"
    """`noise` starts from codes drawn at random, as VQGAN-CLIP does, `given` from the latents of the given images."""
    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f and G of the paper. VQGAN-CLIP proper needs CLIP."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""
    seed: int = 0
    """Draws initial weights, initial codes and cutouts."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        for name, known in (("prompt", PROMPT_KINDS), ("init", INITS)):
            value = getattr(self, name)
            check(value in known, f"text_guided.{name}", value, f"one of {', '.join(known)}")
        for name, most in {"images": 1000, "batch_size": 256, "steps": 100_000, "cutouts": 256}.items():
            value = getattr(self, name)
            check(1 <= value <= most, f"text_guided.{name}", value, f"1 to {most}")
        check(0 < self.learning_rate <= 10, "text_guided.learning_rate", self.learning_rate, "above 0, and 10 at most")
        check(0 < self.cutout_size <= 1, "text_guided.cutout_size", self.cutout_size, "above 0, and 1 at most")
        check_embedder(self.embedder, self.embedder_weights)
        check_seed(self.seed)
        _ = self.generator

    @property
    def generator(self) -> Config:
        """Architecture and weights as the loop's settings.

        Raises:
            InputError: they do not fit.
        """
        return Config(architecture=self.architecture, weights=self.weights, codebook_size=self.codebook_size)
