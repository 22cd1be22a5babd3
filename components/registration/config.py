"""Settings of the registration stage."""

from dataclasses import dataclass

from components.errors import check
from components.registry.gate import Limits

EXPORTS = ("none", "onnx", "openvino")


@dataclass(frozen=True, kw_only=True)
class Config(Limits):
    """Which detector of a run is registered, and, by the limits, whether it becomes the line's champion."""

    min_gain: float = 0.0
    """Within a run: least gain over the best other set for a detector trained on generated images to be registered.
    It has nothing to do with the champion."""
    export: str = "none"
    """`onnx` or `openvino` exports the registered detector for a runtime without torch; `none` does not."""
    parity_tolerance: float = 0.001
    """Largest difference of a score or a map value between export and checkpoint, as a share of the threshold."""
    parity_changes: int = 0
    """Most test images that the export may decide in another way."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        super().__post_init__()
        check(self.export in EXPORTS, "gate.export", self.export, f"one of {', '.join(EXPORTS)}")
        check(0 <= self.parity_tolerance <= 1, "gate.parity_tolerance", self.parity_tolerance, "0 to 1")
        check(self.parity_changes >= 0, "gate.parity_changes", self.parity_changes, "0 or more")
        check(0 <= self.min_gain <= 1, "gate.min_gain", self.min_gain, "0 to 1")
