"""Settings of the embedder, which several stages share."""

from typing import Self

from pydantic import model_validator

from components.networks.embedding import CONSE, CONSE_WEIGHTS, check_embedder
from components.settings import Settings


class EmbedderConfig(Settings):
    """The joint embedding of images and texts, f and G of the paper."""

    embedder: str = CONSE
    """Joint embedding of images and texts, f and G of the paper: `conse`, or `open_clip:ARCHITECTURE`."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""

    @property
    def embeds(self) -> bool:
        """Whether the stage loads the embedder."""
        return True

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`; those of the embedder first."""
        own = CONSE_WEIGHTS if self.embedder == CONSE else (self.embedder_weights,)
        return (*(own if self.embeds else ()), *super().references)

    @model_validator(mode="after")
    def _check_embedder(self) -> Self:
        if self.embeds:
            check_embedder(self.embedder, self.embedder_weights)
        return self
