"""The images on which the chosen detector errs most, with their heatmaps."""

from typing import Any

from components.artifacts import ImageSet
from components.pages import pictures
from components.reporting.sources import Sources, anomaly_maps, best_trial, scored_rows

_SHOWN = 10


def worst_errors(sources: Sources) -> dict[str, Any]:
    """The highest-scored good and the lowest-scored bad images of the best detector."""
    trial = best_trial(sources)
    rows = scored_rows(sources, trial)
    maps = anomaly_maps(sources.predictions, trial)
    low, high = float(maps.min()), float(maps.max())
    images = ImageSet(sources.reference)

    def tile(row: Any) -> dict[str, Any]:
        image, mask = images.image(row.id), images.mask(row.id)
        heat = pictures.heatmap_uri(image, maps[row.position], low, high, mask)
        title = f"{row.defect or 'good'} {row.source.rsplit('/', 1)[-1]}"
        return {"image": pictures.thumbnail_uri(image), "heat": heat, "score": row.score, "title": title}

    good = rows[rows["label"] == "good"].sort_values("score", ascending=False)
    bad = rows[rows["label"] == "bad"].sort_values("score")
    return {
        "trial": trial,
        "good": [tile(row) for row in good.head(_SHOWN).itertuples()],
        "bad": [tile(row) for row in bad.head(_SHOWN).itertuples()],
        "good_scores": good["score"].tolist(),
        "bad_scores": bad["score"].tolist(),
    }
