"""Settings of the registration stage."""

from typing import Annotated

from pydantic import Field

from components.metrics.choice import AUTO, CHOOSE_BY
from components.registry.gate import GateLimits
from components.settings import OneOf, Share


class Config(GateLimits):
    """Which detector of a run is registered, and, by the limits, whether it becomes the line's champion."""

    choose_by: Annotated[str, OneOf(CHOOSE_BY)] = AUTO
    """What the detector and training set that are registered are chosen by. `proxy`: synthetic defects on held-out good
    images, so that the test split measures the choice honestly; `test`: the metric on the test split, which makes its
    figure optimistic; `auto`: the proxy where two good images or more are held out, else the test split where it
    measures the metric, else the simplest training set."""
    min_gain: Share = 0.0
    """Within a run: least gain over the best other set for a detector trained on generated images to be registered.
    It does not concern the champion."""
    allow_unregistered: bool = False
    """Whether a run may finish without registering its detector where MLflow refuses the login or the access (401,
    403). An MLflow that does not answer at all fails no run."""
    export: Annotated[str, OneOf(("none", "onnx", "openvino"))] = "none"
    """`onnx` or `openvino` exports the registered detector for a runtime without torch; `none` does not."""
    parity_tolerance: Share = 0.001
    """Largest difference of a score or a map value between export and checkpoint, as a share of the threshold."""
    parity_changes: Annotated[int, Field(ge=0)] = 0
    """Most test images that the export may decide in another way."""
