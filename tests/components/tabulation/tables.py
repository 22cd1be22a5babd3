"""Tables of results with known figures."""

from typing import Any

import pandas as pd

from components.tabulation.gather import COLUMNS

AUROCS = {
    ("bolt", "none"): (0.60, 0.70),
    ("bolt", "rotations"): (0.80, 0.70),
    ("bolt", "augmented"): (0.50, 0.50),
    ("bolt", "generated"): (0.90, 0.86),
    ("nut", "none"): (0.90, 0.80),
    ("nut", "rotations"): (0.70, 0.60),
    ("nut", "augmented"): (0.70, 0.70),
    ("nut", "generated"): (0.80, 0.90),
}
"""Image AUROC of seeds 0 and 1."""


def row(**values: Any) -> dict[str, Any]:
    """A row with every column."""
    empty: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "value": None, "shots": 1, "seed": 0}
    return {**empty, **values}


def detector_table() -> pd.DataFrame:
    """The figures of `AUROCS`, for one detector and one given image."""
    rows = [
        row(class_name=name, method=method, seed=seed, detector="patchcore", measure="image_auroc", value=value)
        for (name, method), values in AUROCS.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def trend_rows() -> pd.DataFrame:
    """Cosines of three iterations, for two seeds."""
    cosines = {0: (0.1, 0.3, 0.2), 1: (0.2, 0.1, 0.0)}
    return pd.DataFrame(
        [
            row(class_name="bolt", method="generated", seed=seed, measure="cosine", item=str(index), value=value)
            for seed, values in cosines.items()
            for index, value in enumerate(values)
        ]
    )


def prompt_rows() -> pd.DataFrame:
    """Two ranked prompts, one of them dropped, and those that the paper compares them with."""
    prompts = {
        "a bolt with a head": (1.1, 0.4, 0.8, "part_meronym"),
        "a bolt with mirth": (1.3, 0.1, 0.5, "hyponym, dropped"),
        "bolt": (1.2, 0.3, 1.0, "only word"),
        "a photo of a bolt": (1.0, 0.5, 0.9, "naive prompt"),
    }
    return pd.DataFrame(
        [
            row(class_name="bolt", method="prompts", measure=measure, item=prompt, value=value, note=note)
            for prompt, (*values, note) in prompts.items()
            for measure, value in zip(("l2", "cosine", "text_cosine"), values, strict=True)
        ]
    )


def full_table() -> pd.DataFrame:
    """Rows of every kind that a page can show."""
    quality = [
        row(class_name="bolt", method="generated", seed=seed, measure=measure, value=0.5 + seed / 10)
        for seed in (0, 1)
        for measure in ("embedding_similarity", "pixel_std")
    ]
    missing = [row(class_name="bolt", method="generated", measure="fid", note="no weights are named")]
    return pd.concat([detector_table(), trend_rows(), prompt_rows(), pd.DataFrame([*quality, *missing])])
