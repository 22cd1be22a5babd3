"""The comparison as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from components.metrics.seeds import Gain
from components.registry.history import ModelVersion, PastRun
from pipelines.comparing.lines import Best, Group, LineComparison, Trial


def to_json(lines: Sequence[LineComparison]) -> str:
    """JSON list with an object for each line, in the given order; times are ISO 8601."""
    return json.dumps([_line(line) for line in lines], indent=2, default=_plain, allow_nan=False)


def _line(line: LineComparison) -> dict[str, Any]:
    return {
        "line": line.line,
        "metric": line.metric,
        "attention": {"score": line.score, "reasons": [dataclasses.asdict(reason) for reason in line.reasons]},
        "runs": line.counts,
        "last_run": _run(line.last) if line.last else None,
        "champion": _version(line.champion) if line.champion else None,
        "groups": [_group(group) for group in line.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "conditions": {**dataclasses.asdict(group.conditions), "settings": dict(group.conditions.settings)},
        "varying_settings": group.settings,
        "runs": group.runs,
        "seeds": group.seeds,
        "newest": group.newest,
        "trials": [_trial(trial) for trial in group.trials],
        "gains": {detector: _gain(gain) if gain else None for detector, gain in group.gains.items()},
        "best": _best(group.best) if group.best else None,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    metrics = {
        name: {**dataclasses.asdict(found), "by_seed": trial.by_seed[name]} if found else None
        for name, found in trial.metrics.items()
    }
    return {"detector": trial.detector, "training_set": trial.training_set, "metrics": metrics}


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "baseline": gain.baseline,
        "mean": gain.mean,
        "n": len(gain.differences),
        "differences": dict(gain.differences),
        "interval": gain.interval,
        "statement": gain.statement,
    }


def _best(best: Best) -> dict[str, Any]:
    return {
        "detector": best.detector,
        "training_set": best.training_set,
        "seed": best.seed,
        "value": best.value,
        "run": _run(best.run),
        "version": _version(best.version) if best.version else None,
    }


def _run(run: PastRun) -> dict[str, Any]:
    return {"run_id": run.run_id, "status": run.status, "started": run.started, "seed": run.seed, "link": run.link}


def _version(version: ModelVersion) -> dict[str, Any]:
    return dataclasses.asdict(version)


def _plain(value: object) -> str:
    assert isinstance(value, datetime), value
    return value.isoformat()
