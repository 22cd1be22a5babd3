"""Held-out scores as the detection stage writes them."""

from collections.abc import Sequence
from pathlib import Path

from components.artifacts import VALIDATION, write_table


def write_validation(detector: Path, good: Sequence[float], synthetic: Sequence[Sequence[float]]) -> Path:
    """Scores of good images, and of the defects of the families `blot` and `scratch` in turn that each of them has."""
    rows = []
    for index, score in enumerate(good):
        names = {"id": f"good-{index}", "source": f"good-{index}", "kind": "good", "family": "", "fold": index}
        rows.append({**names, "score": score})
    for index, own in enumerate(synthetic):
        for number, score in enumerate(own):
            family = ("blot", "scratch")[number % 2]
            names = {"id": f"{family}-{index}-{number}", "source": f"good-{index}", "kind": "synthetic"}
            rows.append({**names, "family": family, "fold": index, "score": score})
    detector.mkdir(parents=True, exist_ok=True)
    write_table(detector / VALIDATION, rows)
    return detector
