"""Settings of the selection stage."""

from dataclasses import dataclass

from components.embedding import CONSE, check_embedder


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the text-guided knowledge integrator (paper section 4.2)."""

    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f and G of the paper."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""

    def __post_init__(self) -> None:
        """Check that the two fields name an embedder.

        Raises:
            InputError: they do not.
        """
        check_embedder(self.embedder, self.embedder_weights)
