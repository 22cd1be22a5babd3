"""Pictures of a report: contact sheets of its image sets, and the images on which the chosen detector errs most."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import ANOMALY_MAPS, TREND, ImageSet, read_candidates, read_table
from components.pages import pictures
from components.reporting.sources import Sources, best_trial, scored_rows

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 10


def contact_sheets(sources: Sources) -> dict[str, str]:
    """Data URIs of the given, the augmented, the selected (`best`) and the least fitting generated images (`worst`)."""
    sets = {"given": sources.reference, "augmented": sources.augmented, "best": sources.selected}
    shown = {}
    for name, path in sets.items():
        images = ImageSet(path)
        shown[name] = [images.image(id) for id in images.ids("train", "good")]
    shown["worst"] = read_candidates(sources.candidates, worst_iteration(sources))
    return {name: pictures.contact_sheet(images) for name, images in shown.items()}


def worst_iteration(sources: Sources) -> int:
    """Iteration whose set is farthest from the best prompt."""
    trend = read_table(Path(sources.selected) / TREND)
    return int(trend["iteration"].iloc[int(trend["cosine"].argmin())])


def worst_errors(sources: Sources) -> dict[str, Any]:
    """The highest-scored good and the lowest-scored bad images of the best detector, with their heatmaps."""
    from safetensors.numpy import load_file

    trial = best_trial(sources)
    rows = scored_rows(sources, trial)
    maps: np.ndarray[Any, np.dtype[np.float32]]
    maps = load_file(Path(sources.predictions) / ANOMALY_MAPS)[trial].astype("float32")
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
