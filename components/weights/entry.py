"""What is known of a weights file before it is fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One weights file: where it is and what it must hold."""

    name: str
    """Name in the manifest, or the address itself."""
    uri: str
    """`package://`, `https://`, `hf://`, `s3://` or a local path."""
    sha256: str
    """Hex digest of the file."""
    licence: str
    """SPDX identifier, or `unknown` for a file that the user named."""
    figures: Mapping[str, str | int | float] = field(default_factory=dict)
    """What was measured when the file was made, by name; empty where nothing is recorded."""
