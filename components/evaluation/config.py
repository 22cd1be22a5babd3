"""Settings of the evaluation stage."""

from typing import Annotated, ClassVar

from pydantic import Field

from components.settings import Expected, Settings


class Config(Settings):
    """Settings of evaluation."""

    section: ClassVar = "evaluation"

    aupro_limit: Annotated[float, Field(gt=0, le=1)] = 0.3
    """False positive rate up to which the per-region overlap is integrated."""
    latency_images: Annotated[int, Field(ge=1, le=1000)] = 20
    """Test images timed one by one for the latency, and together for the throughput."""
    spro_limit: Annotated[float, Field(ge=0, le=1), Expected("0 for no sPRO, at most 1")] = 0.0
    """False positive rate up to which the saturated per-region overlap (sPRO) of MVTec LOCO AD is integrated; 0 leaves
    it out. 0.05 is the published limit."""
