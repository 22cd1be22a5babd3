"""The self-contained HTML report of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components import artifacts
from components.artifacts import ImageSet, read_json, read_table
from components.change.config import MAX_IMAGES, ChangeLimits
from components.change.good_images import drawn
from components.change.rule import Hint, retrain_hint
from components.change.shift import looks_of
from components.metrics import records as metrics
from components.metrics.variety import Variety, flat_variety
from components.networks.backbones import BACKBONES
from components.pages.html import figure_html, page_template, plotly_script
from components.reporting import figures
from components.reporting.sources import (
    Sources,
    best_trial,
    contact_sheets,
    left_out,
    roc_curves,
    synthetic_defects,
    worst_errors,
)
from components.reporting.variety import image_sets
from components.settings import in_metric_name

_SHOWN_PROMPTS = 12
_POLICY_AUROC = "policy_auroc_"
_HELD_OUT = ("calibration", "cross-validation", "leave-one-out")
"""Sources of a threshold that are good images which the scoring detector did not see."""


def write_report(sources: Sources, html: str | Path, line: str, settings: str) -> dict[str, float]:
    """Write the report, with every parameter of the run, which `settings` has as JSON.

    Returns the gain of the generated set in image AUROC per detector, and the variety of the image sets.
    """
    sets = image_sets(sources)
    records = metrics.read_records(Path(sources.predictions) / artifacts.RECORDS)
    errors, curves = worst_errors(sources), roc_curves(sources)
    content = {
        "line": line,
        "settings": json.loads(settings),
        "comparison": comparison(records, best_trial(sources)),
        "choice": read_json(Path(sources.best) / artifacts.CHOICE),
        "validation": _validation(sources),
        "decision": read_json(Path(sources.best) / artifacts.DECISION),
        "prompts": _prompts(Path(sources.prompts)),
        "generation": _generation(sources, sets),
        "threshold": _threshold(sources),
        "retraining": given_against_held_out(sources),
        "errors": errors,
        "left_out": left_out(sources),
        "scores": figure_html(figures.score_figure(errors["good_scores"], errors["bad_scores"])) if curves else "",
        "roc": figure_html(figures.roc_figure(curves)) if curves else "",
        "script": plotly_script(),
        "provenance": _provenance(sources),
    }
    Path(html).write_text(page_template("components.reporting", "report.html.j2").render(**content), encoding="utf-8")
    main = {name: found for name, found in sets.items() if not name.startswith("iteration")}
    return metrics.gain_metrics(records) | flat_variety(main)


def comparison(records: Sequence[metrics.Record], best: str) -> dict[str, Any]:
    """Rows of the comparison table, and per detector the gain of the generated set over the best other one.

    Without bad test images there are no columns of test metrics.
    """
    rows = [{**record.to_json(), "best": record.trial == best} for record in records]
    extra = metrics.extra_metrics(records)
    tested = any(record.image_auroc is not None for record in records)
    heads = [*metrics.METRIC_HEADS.items(), *((name, metrics.EXTRA_HEADS[name]) for name in extra)] if tested else []
    return {
        "metrics": heads,
        "tested": tested,
        "validated": any(record.proxy_image_auroc is not None for record in records),
        "by_kind": bool(extra),
        "saturated": any(name in metrics.SPRO_METRICS for name in extra),
        "rows": rows,
        "gains": metrics.gains_by_detector(records),
        "generated": metrics.GENERATED,
        "seed": records[0].seed,
    }


def _prompts(path: Path) -> dict[str, Any]:
    table = read_table(path / artifacts.PROMPTS)
    shown = table.head(_SHOWN_PROMPTS)
    return {
        "rows": shown.to_dict("records"),
        "worst": table.iloc[int(table["cosine"].argmin())].to_dict(),
        "hidden": len(table) - len(shown),
        "references": read_table(path / artifacts.REFERENCE_PROMPTS).to_dict("records"),
        "senses": read_table(path / artifacts.SENSES).to_dict("records"),
        "summary": read_json(path / artifacts.SUMMARY),
    }


def _generation(sources: Sources, sets: Mapping[str, Variety]) -> dict[str, Any]:
    trend = read_table(Path(sources.selected) / artifacts.TREND)
    iterations, directory = trend["iteration"], Path(sources.candidates)
    policy = read_json(Path(sources.augmented) / artifacts.SUMMARY)
    return {
        **contact_sheets(sources),
        "best_iteration": int(iterations.iloc[int(trend["cosine"].argmax())]),
        "worst_iteration": int(iterations.iloc[int(trend["cosine"].argmin())]),
        "losses": figure_html(figures.loss_figure(read_table(directory / artifacts.STEPS))),
        "trend": figure_html(figures.trend_figure(trend)),
        "iterations": read_table(directory / artifacts.ITERATIONS).to_dict("records"),
        "summary": read_json(directory / artifacts.SUMMARY),
        "selection": read_json(Path(sources.selected) / artifacts.SUMMARY),
        "policy": policy,
        "policies": policy_rows(policy),
        "variety": [found.to_content() for found in sets.values()],
    }


def policy_rows(summary: Mapping[str, Any]) -> list[tuple[str, float, bool]]:
    """Augmentation policies that were compared, highest AUROC first: name, AUROC, and whether it was chosen."""
    chosen = f"{_POLICY_AUROC}{in_metric_name(str(summary.get('policy')))}"
    found = [(key, float(summary[key])) for key in summary if key.startswith(_POLICY_AUROC)]
    found.sort(key=lambda row: -row[1])
    return [(key.removeprefix(_POLICY_AUROC), auroc, key == chosen) for key, auroc in found]


def _threshold(sources: Sources) -> dict[str, Any]:
    """What the best detector's threshold rests on, and the recall of each defect type per training set."""
    table = read_table(Path(sources.predictions) / artifacts.RECALL)
    table["trial"] = table["detector"] + "/" + table["training_set"]
    defects = [
        {"name": name, "images": int(rows["images"].iloc[0]), "recall": rows["recall"].tolist()}
        for name, rows in table.groupby("defect")
    ]
    config = read_json(Path(sources.best) / artifacts.CONFIG)
    threshold = {"lowest_rate": None, "highest_rate": None, **config["threshold"]}
    threshold |= {"held_out": threshold["source"] in _HELD_OUT, "bank": config.get("bank")}
    threshold["note"] = config.get("validation", {}).get("note", "")
    return {**threshold, "trials": list(dict.fromkeys(table["trial"])), "defects": defects}


def _validation(sources: Sources) -> dict[str, Any]:
    """The proxy of each family of synthetic defects per training set, and some of them with their heatmaps.

    `recall` is that of the chosen detector.
    """
    table = read_table(Path(sources.predictions) / artifacts.PROXY)
    table["trial"] = table["detector"] + "/" + table["training_set"]
    best = best_trial(sources)
    families = []
    for name, rows in table.groupby("family", sort=False):
        recall = rows.loc[rows["trial"] == best, "recall"].tolist()
        images = int(rows["images"].iloc[0])
        families.append({"name": name, "images": images, "auroc": rows["auroc"].tolist(), "recall": recall})
    tiles = synthetic_defects(sources)
    return {"trials": list(dict.fromkeys(table["trial"])), "families": families, "tiles": tiles, "best": best}


def given_against_held_out(sources: Sources) -> Hint:
    """Whether the given images look like the good images held out from training.

    A run can measure no other drift by itself: where they differ, the line should be trained on other images. Without
    held-out images it is unknown. Of more than 300 images, as many are drawn.
    """
    images = ImageSet(sources.reference)
    backbone = read_json(Path(sources.best) / artifacts.CONFIG)["backbone"]["name"]
    backbone = backbone if backbone in BACKBONES else next(iter(BACKBONES))
    held_out = [id for split in ("calibration", "test") for id in images.ids(split, "good")]
    if not held_out:
        number = len(images.ids("train", "good"))
        empty: dict[str, Any] = {"embedding": None, "scores": None, "statistics": {}}
        reasons = ("no good image is held out from training",)
        return Hint(retrain="unknown", reasons=reasons, reference_images=0, new_images=number, **empty)
    given, others = (
        looks_of(images.tensor(drawn(ids, MAX_IMAGES, seed=0)), backbone)
        for ids in (images.ids("train", "good"), held_out)
    )
    return retrain_hint(others, given, ChangeLimits())


def _provenance(sources: Sources) -> dict[str, Any]:
    summaries = {name: read_json(Path(path) / artifacts.SUMMARY) for name, path in asdict(sources).items()}
    values = {key: value for summary in summaries.values() for key, value in summary.items()}
    best, config = summaries["best"], read_json(Path(sources.best) / artifacts.CONFIG)
    return {
        "digests": {key: value for key, value in values.items() if key.endswith("_digest") and isinstance(value, str)},
        "versions": {"vigil": best["vigil"], **best["versions"]},
        "stages": summaries,
        "best": best,
        "backbone": config["backbone"],
        "substitutes": config.get("substitutes", {}),
        "reference": summaries["reference"],
    }
