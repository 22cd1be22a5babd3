"""The artifacts that the report reads, and what it reads from them: predictions, curves and pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.metrics import precision_recall_curve, roc_curve

from components import artifacts
from components.artifacts import ImageSet, read_candidates, read_json, read_table
from components.metrics.records import read_records
from components.pages import pictures

Curves = dict[str, tuple[list[float], list[float]]]
"""Horizontal and vertical positions of points, by the curve's name."""

_SHOWN = 10
_SHOWN_LEFT_OUT = 50
_SHOWN_OF_FAMILY = 2
_PART = 16


@dataclass(frozen=True)
class Sources:
    """Paths of the artifacts that the report reads."""

    reference: str | Path
    prompts: str | Path
    augmented: str | Path
    candidates: str | Path
    selected: str | Path
    synthetic: str | Path
    predictions: str | Path
    best: str | Path


def best_trial(sources: Sources) -> str:
    """`DETECTOR/TRAINING_SET` of the chosen detector."""
    config = read_json(Path(sources.best) / artifacts.CONFIG)["config"]
    return f"{config['detector']}/{config['training_set']}"


def scored_rows(sources: Sources, trial: str) -> pd.DataFrame:
    """Predictions of a trial with their images' manifest rows; `position` is the row of the anomaly maps."""
    table = read_table(Path(sources.predictions) / artifacts.PREDICTIONS)
    own = table[table["detector"] + "/" + table["training_set"] == trial].reset_index(drop=True)
    own["position"] = own.index
    return own.merge(ImageSet(sources.reference).manifest, on="id")


def roc_curves(sources: Sources) -> Curves:
    """False and true positive rates, by trial with its image AUROC; none without bad test images."""
    return _curves(sources, lambda bad, scores: roc_curve(bad, scores)[:2])


def precision_recall_curves(sources: Sources) -> Curves:
    """Recall and precision, by trial with its image AUROC; none without bad test images."""
    return _curves(sources, lambda bad, scores: precision_recall_curve(bad, scores)[1::-1])


def _curves(sources: Sources, compute: Callable[[Any, Any], Any]) -> Curves:
    curves = {}
    for record in read_records(Path(sources.predictions) / artifacts.RECORDS):
        if record.image_auroc is None:
            continue
        rows = scored_rows(sources, record.trial)
        horizontal, vertical = compute(rows["label"] == "bad", rows["score"])
        curves[f"{record.trial} ({record.image_auroc:.3f})"] = (horizontal.tolist(), vertical.tolist())
    return curves


def contact_sheets(sources: Sources) -> dict[str, str]:
    """Data URIs of the given, the augmented, the selected (`best`) and the least fitting generated images (`worst`)."""
    sets = {"given": sources.reference, "augmented": sources.augmented, "best": sources.selected}
    images = {name: ImageSet(path) for name, path in sets.items()}
    first = {name: own.ids("train", "good")[: pictures.MOST_SHOWN] for name, own in images.items()}
    shown = {name: [own.image(id) for id in first[name]] for name, own in images.items()}
    trend = read_table(Path(sources.selected) / artifacts.TREND)
    worst = int(trend["iteration"].iloc[int(trend["cosine"].argmin())])
    shown["worst"] = read_candidates(sources.candidates, worst)[: pictures.MOST_SHOWN]
    return {name: pictures.contact_sheet(own) for name, own in shown.items()}


def worst_errors(sources: Sources) -> dict[str, Any]:
    """The highest-scored good and the lowest-scored bad images of the best detector, with their heatmaps."""
    trial = best_trial(sources)
    rows, images = scored_rows(sources, trial), ImageSet(sources.reference)
    found: dict[str, Any] = {"trial": trial}
    with safe_open(Path(sources.predictions) / artifacts.ANOMALY_MAPS, "numpy") as file:
        maps = file.get_slice(trial)
        low, high = _range(maps, len(rows))

        def tile(row: Any) -> dict[str, Any]:
            image, mask = images.image(row.id), images.mask(row.id)
            map = maps[row.position : row.position + 1][0].astype("float32")
            heat = pictures.heatmap_uri(image, map, low, high, mask)
            title = f"{row.defect or 'good'} {row.source.rsplit('/', 1)[-1]}"
            return {"image": pictures.thumbnail_uri(image), "heat": heat, "score": row.score, "title": title}

        for label in ("good", "bad"):
            own = rows[rows["label"] == label].sort_values("score", ascending=label == "bad")
            found[label] = [tile(row) for row in own.head(_SHOWN).itertuples()]
            found[f"{label}_scores"] = own["score"].tolist()
    return found


def _range(maps: Any, count: int) -> tuple[float, float]:
    """Lowest and highest value of a number of maps, read a few at a time; 0 and 1 where there is none."""
    parts = (maps[start : min(start + _PART, count)] for start in range(0, count, _PART))
    ranges = [(float(part.min()), float(part.max())) for part in parts]
    return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else (0.0, 1.0)


def left_out(sources: Sources) -> dict[str, Any]:
    """Files of the data set that were not read: path and reason of some, and the number of others."""
    rows = ImageSet(sources.reference).left_out
    shown = rows.head(_SHOWN_LEFT_OUT)
    return {"rows": shown.to_dict("records"), "hidden": len(rows) - len(shown)}


def synthetic_defects(sources: Sources) -> list[dict[str, Any]]:
    """Synthetic defects with the heatmaps of the chosen detector, a few of each family; empty where none were kept."""
    path = Path(sources.best) / artifacts.VALIDATION_MAPS
    if not path.is_file():
        return []
    maps = {id: values.astype("float32") for id, values in load_file(path).items()}
    if not maps:
        return []
    table = read_table(Path(sources.best) / artifacts.VALIDATION)
    rows = table[table["id"].isin(maps)].groupby("family", sort=False).head(_SHOWN_OF_FAMILY)
    low, high = min(float(own.min()) for own in maps.values()), max(float(own.max()) for own in maps.values())
    images, tiles = ImageSet(sources.synthetic), []
    for id, family, score in zip(rows["id"].astype(str), rows["family"], rows["score"], strict=True):
        image = images.image(id)
        heat = pictures.heatmap_uri(image, maps[id], low, high, images.mask(id))
        tiles.append({"image": pictures.thumbnail_uri(image), "heat": heat, "score": score, "title": family})
    return tiles
