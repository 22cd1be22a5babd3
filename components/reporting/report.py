"""The self-contained HTML report of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import (
    ANOMALY_MAPS,
    CONFIG,
    ITERATIONS,
    PREDICTIONS,
    PROMPTS,
    RECORDS,
    SENSES,
    STEPS,
    SUMMARY,
    TREND,
    ImageSet,
    read_candidates,
    read_json,
    read_table,
)
from components.comparison import GENERATED, METRICS, gain, trial_name
from components.reporting import figures, pictures

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_PLOT_CONFIG = {"displayModeBar": False, "responsive": True}
_SHEETS = ("given", "augmented", "best", "worst")
_SHOWN_PROMPTS = 12
_SHOWN_ERRORS = 10
_METRIC_HEADS = ("image AUROC", "pixel AUROC", "AUPRO", "image AP", "image F1-max")


@dataclass(frozen=True)
class Sources:
    """Paths of the artifacts that the report reads."""

    reference: str | Path
    prompts: str | Path
    augmented: str | Path
    candidates: str | Path
    selected: str | Path
    predictions: str | Path
    best: str | Path


def write_report(
    sources: Sources, html: str | Path, line: str, settings: str
) -> tuple[dict[str, float], dict[str, str]]:
    """Write the report.

    Args:
        sources: artifacts of the run.
        html: file to write.
        line: name of the production line.
        settings: every parameter of the run, as JSON.

    Returns:
        Gain of the generated set in image AUROC per detector, and the contact sheets as data URIs by name.
    """
    records = read_json(Path(sources.predictions) / RECORDS)
    content = {
        "line": line,
        "settings": json.loads(settings),
        "comparison": comparison(records, _best_trial(sources)),
        "prompts": _prompts(sources.prompts),
        "generation": _generation(sources),
        "errors": _errors(sources),
        "roc": _html(figures.roc_figure(_curves(sources)), first=True),
        "provenance": _provenance(sources),
    }
    Path(html).write_text(_template().render(**content), encoding="utf-8")
    gains = {f"{row['detector']}.gain": row["gain"] for row in content["comparison"]["gains"]}
    return gains, {name: content["generation"][name] for name in _SHEETS}


def comparison(records: Sequence[dict[str, Any]], best: str) -> dict[str, Any]:
    """Rows of the comparison table, and per detector the gain of the generated set over the best other one."""
    rows = [{**record, "best": trial_name(record) == best} for record in records]
    detectors = dict.fromkeys(record["detector"] for record in records)
    gains = [{"detector": name, "gain": gain(records, name, "image_auroc")} for name in detectors]
    return {
        "metrics": list(zip(METRICS, _METRIC_HEADS, strict=True)),
        "rows": rows,
        "gains": [row for row in gains if row["gain"] is not None],
        "generated": GENERATED,
        "seed": records[0]["seed"],
    }


def _best_trial(sources: Sources) -> str:
    return trial_name(read_json(Path(sources.best) / CONFIG)["config"])


def _prompts(path: str | Path) -> dict[str, Any]:
    table = read_table(Path(path) / PROMPTS)
    shown = table.head(_SHOWN_PROMPTS)
    return {
        "rows": shown.to_dict("records"),
        "worst": table.iloc[int(table["cosine"].argmin())].to_dict(),
        "hidden": len(table) - len(shown),
        "senses": read_table(Path(path) / SENSES).to_dict("records"),
        "summary": read_json(Path(path) / SUMMARY),
    }


def _generation(sources: Sources) -> dict[str, Any]:
    given, augmented, selected = (ImageSet(path) for path in (sources.reference, sources.augmented, sources.selected))
    trend = read_table(Path(sources.selected) / TREND)
    worst = int(trend["iteration"].iloc[int(trend["cosine"].argmin())])
    directory = Path(sources.candidates)
    return {
        "given": pictures.contact_sheet(_train_images(given)),
        "augmented": pictures.contact_sheet(_train_images(augmented)),
        "best": pictures.contact_sheet(_train_images(selected)),
        "worst": pictures.contact_sheet(read_candidates(directory, worst)),
        "best_iteration": int(trend["iteration"].iloc[int(trend["cosine"].argmax())]),
        "worst_iteration": worst,
        "losses": _html(figures.loss_figure(read_table(directory / STEPS))),
        "trend": _html(figures.trend_figure(trend)),
        "iterations": read_table(directory / ITERATIONS).to_dict("records"),
        "summary": read_json(directory / SUMMARY),
    }


def _train_images(images: ImageSet) -> "list[np.ndarray[Any, np.dtype[np.uint8]]]":
    return [images.image(id) for id in images.ids("train", "good")]


def _errors(sources: Sources) -> dict[str, Any]:
    """The highest-scored good and the lowest-scored bad images of the best detector."""
    trial = _best_trial(sources)
    rows = _scored_rows(sources, trial)
    maps = _anomaly_maps(sources.predictions, trial)
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
        "good": [tile(row) for row in good.head(_SHOWN_ERRORS).itertuples()],
        "bad": [tile(row) for row in bad.head(_SHOWN_ERRORS).itertuples()],
        "scores": _html(figures.score_figure(good["score"].tolist(), bad["score"].tolist())),
    }


def _scored_rows(sources: Sources, trial: str) -> "pd.DataFrame":
    """Predictions of a trial with their images' manifest rows; `position` is the row of the anomaly maps."""
    table = read_table(Path(sources.predictions) / PREDICTIONS)
    own = table[table["detector"] + "/" + table["training_set"] == trial].reset_index(drop=True)
    own["position"] = own.index
    return own.merge(ImageSet(sources.reference).manifest, on="id")


def _anomaly_maps(predictions: str | Path, trial: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    from safetensors.numpy import load_file

    maps: np.ndarray[Any, np.dtype[np.float32]] = load_file(Path(predictions) / ANOMALY_MAPS)[trial].astype("float32")
    return maps


def _curves(sources: Sources) -> Mapping[str, figures.Curve]:
    from sklearn.metrics import roc_curve

    curves = {}
    for record in read_json(Path(sources.predictions) / RECORDS):
        rows = _scored_rows(sources, trial_name(record))
        false_positive, true_positive, _ = roc_curve(rows["label"] == "bad", rows["score"])
        name = f"{trial_name(record)} ({record['image_auroc']:.3f})"
        curves[name] = (false_positive.tolist(), true_positive.tolist())
    return curves


def _provenance(sources: Sources) -> dict[str, Any]:
    names = ("reference", "prompts", "augmented", "candidates", "selected", "predictions", "best")
    summaries = {name: read_json(Path(getattr(sources, name)) / SUMMARY) for name in names}
    digests = {
        key: value
        for summary in summaries.values()
        for key, value in summary.items()
        if key.endswith("_digest") and isinstance(value, str)
    }
    return {
        "digests": digests,
        "versions": {"vigil": summaries["best"]["vigil"], **summaries["best"]["versions"]},
        "stages": [
            {"name": name, "seconds": summary["seconds"], "memory": summary["peak_memory_mb"]}
            for name, summary in summaries.items()
        ],
        "model_version": summaries["best"]["model_version"],
        "backbone": read_json(Path(sources.best) / CONFIG)["backbone"],
        "reference": summaries["reference"],
    }


def _html(figure: Any, first: bool = False) -> str:
    """A figure's HTML; the first of a page brings plotly's script."""
    return str(figure.to_html(full_html=False, include_plotlyjs=first, config=_PLOT_CONFIG))


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("components.reporting", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2")
