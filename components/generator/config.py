"""Settings of the VQGAN and of its loss, shared by the stages that build or train one."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.errors import check
from components.settings import Expected, OneOf, Settings, Weight

STORED = "stored"
UNTRAINED = "none"
BASE = "base"
BASES: Mapping[str, str] = {"small": "vqgan-small"}
"""Name, in the weights manifest, of the base model that ships for an architecture."""
BASE_CODES = 512
"""Codebook vectors of the base models that ship."""
PERCEPTUAL_NETWORK = "efficientnet-lite0"
"""Name, in the weights manifest, of the network of the perceptual distance `efficientnet`."""

CodebookSize = Annotated[int, Field(ge=1, le=65536)]
PERCEPTUALS = ("efficientnet", "lpips")


class GeneratorConfig(Settings):
    """A VQGAN and what it starts from."""

    section: ClassVar = "vqgan"

    architecture: Annotated[str, OneOf(("small", "f16", "stored"))] = "small"
    """`small` (f8, 2.9 M parameters), `f16` (taming-transformers' ImageNet model, 72 M parameters), or `stored`: as the
    header of the weights file says (see `vigil weights convert`)."""
    weights: Annotated[str, Field(min_length=1), Expected(f"{BASE}, {UNTRAINED} or a reference")] = BASE
    """`base` for the model that ships for the architecture, `none` to start untrained, or a reference to weights."""
    codebook_size: CodebookSize = BASE_CODES
    """K, number of codebook vectors; pretrained weights must have as many."""

    @property
    def untrained(self) -> bool:
        """Whether the generator starts without pretrained weights."""
        return self.weights == UNTRAINED

    @property
    def reference(self) -> str:
        """Reference to the pretrained weights, as `components.weights` takes it; empty where it starts untrained."""
        if self.untrained:
            return ""
        return BASES[self.architecture] if self.weights == BASE else self.weights

    @property
    def origin(self) -> str:
        """What the generator starts from, for reports: an address without its digest."""
        return "untrained" if self.untrained else self.reference.partition("#")[0]

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`; that of the generator first."""
        return (*(() if self.untrained else (self.reference,)), *super().references)

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights == BASE:
            bases = f"a reference such as PATH#sha256=HEX, or {UNTRAINED}: no base ships for {self.architecture}"
            check(self.architecture in BASES, self.key("weights"), self.weights, bases)
            codes = f"{BASE_CODES}, as in the base model; {self.key('weights')}: {UNTRAINED} takes any"
            check(self.codebook_size == BASE_CODES, self.key("codebook_size"), self.codebook_size, codes)
        given = self.architecture != STORED or not self.untrained
        check(given, self.key("weights"), self.weights, "a reference; the file says the architecture")
        return self


class LossConfig(Settings):
    """L_vq of Eq. 7 (Esser et al., 2021)."""

    perceptual: Annotated[str, OneOf(PERCEPTUALS)] = "efficientnet"
    """Perceptual distance: `efficientnet` (a substitute that needs no download) or `lpips`."""
    perceptual_backbone: str = "vgg16"
    """Reference to torchvision's VGG16 weights, for `lpips`."""
    perceptual_weight: Weight = 1.0
    """Weight of the perceptual distance in L_vq."""
    adversarial_weight: Weight = 0.1
    """Weight of the adversarial term in L_vq, on top of the adaptive weight."""
    commitment: Weight = 0.25
    """Beta, weight of the commitment term of the codebook loss."""

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`; that of the perceptual distance first."""
        own = self.perceptual_backbone if self.perceptual == "lpips" else PERCEPTUAL_NETWORK
        return (own, *super().references)
