"""Compares the runs of one line: groups of comparable runs, statistics over their seeds, the best model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from components.detectors.config import TRAINING_SETS
from components.metrics.records import EXTRA_HEADS, METRICS, PROXY_HEADS, PROXY_METRIC, Record, best_record
from components.metrics.seeds import Gain, Spread, paired_gain, spread
from components.registry.history import FINISHED, RUNNING, Conditions, LineHistory, ModelVersion, PastRun
from pipelines.comparing.attention import Reason, reasons_for

CHAMPION = "champion"
MEASURES = (*METRICS, *EXTRA_HEADS, *PROXY_HEADS, "latency_ms")

_ALWAYS = (*METRICS, "latency_ms")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One detector on one training set over the seeds of a group."""

    detector: str
    training_set: str
    metrics: Mapping[str, Spread | None]
    """By the names of `MEASURES`; None where nothing was measured."""
    by_seed: Mapping[str, Mapping[int, float]]

    @property
    def name(self) -> str:
        """`DETECTOR/TRAINING_SET`."""
        return f"{self.detector}/{self.training_set}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The record with the highest metric, on the test split and so optimistic."""

    record: Record
    value: float
    run: PastRun
    version: ModelVersion | None
    """Model version that the run registered, if it is this detector."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Finished runs that differ in nothing but the seed."""

    conditions: Conditions
    settings: Mapping[str, str]
    """Settings in which the line's groups differ."""
    runs: int
    """Measured runs; a run repeated with the same seed is counted here, and left out of the statistics."""
    seeds: tuple[int | None, ...]
    newest: datetime
    trials: tuple[Trial, ...]
    gains: Mapping[str, Gain | None]
    """Of the generated set in the chosen metric, by detector."""
    best: Best | None
    """In the chosen metric; None where nothing has it."""

    @property
    def measures(self) -> list[str]:
        """Columns of the group's table: those of `MEASURES` that every line has, and of the others those measured."""
        measured = {name for trial in self.trials for name, found in trial.metrics.items() if found}
        return [name for name in MEASURES if name in _ALWAYS or name in measured]


@dataclass(frozen=True, kw_only=True)
class LineComparison:
    """One line compared."""

    line: str
    metric: str
    """By which it is compared."""
    instead_of: str
    """Metric that was asked for, where no run has measured it for want of bad test images; empty otherwise."""
    counts: Mapping[str, int]
    """Runs by `measured`, `reused` (finished, nothing measured anew), `failed`, `running`."""
    last: PastRun | None
    groups: tuple[Group, ...]
    """Newest first."""
    champion: ModelVersion | None
    history: LineHistory
    reasons: tuple[Reason, ...]
    """Weightiest first."""

    @property
    def score(self) -> int:
        """Sum of the reasons' weights."""
        return sum(reason.weight for reason in self.reasons)


def compare_line(history: LineHistory, metric: str, now: datetime, stale_days: int) -> LineComparison:
    """Compare the runs of one line in one of the `GATE_METRICS`; it is stale `stale_days` before `now`, in UTC.

    Where no run has measured the metric, the line is compared by the proxy, if there is one.
    """
    asked, metric = metric, _measured_metric(history, metric)
    counts = dict.fromkeys(("measured", "reused", "failed", "running"), 0)
    for run in history.runs:
        unfinished = "running" if run.status == RUNNING else "failed"
        counts[("measured" if run.records else "reused") if run.status == FINISHED else unfinished] += 1
    groups = _group_runs(history, metric)
    gains = groups[0].gains if groups else {}
    return LineComparison(
        line=history.line,
        metric=metric,
        instead_of=asked if metric != asked else "",
        counts=counts,
        last=history.runs[0] if history.runs else None,
        groups=groups,
        champion=next((version for version in history.versions if CHAMPION in version.aliases), None),
        history=history,
        reasons=reasons_for(history, gains, metric, now, stale_days),
    )


def _measured_metric(history: LineHistory, metric: str) -> str:
    """The metric, or the proxy where only that was measured."""
    records = [record for run in history.runs for record in run.records]
    measured = {name for record in records for name in (metric, PROXY_METRIC) if record.metric(name) is not None}
    return PROXY_METRIC if measured == {PROXY_METRIC} else metric


def _group_runs(history: LineHistory, metric: str) -> tuple[Group, ...]:
    """Groups of the measured runs, the one with the newest run first."""
    found: dict[Conditions, list[PastRun]] = {}
    for run in history.runs:
        if run.status == FINISHED and run.records:
            found.setdefault(run.conditions, []).append(run)
    settings = {conditions: dict(conditions.settings) for conditions in found}
    names = sorted({name for values in settings.values() for name in values})
    varying = [name for name in names if len({values.get(name, "") for values in settings.values()}) > 1]
    groups = []
    for conditions, runs in found.items():
        newest_of_seed = {run.seed: run for run in reversed(runs)}
        trials = _trials([run for run in runs if newest_of_seed[run.seed] is run])
        by_detector: dict[str, dict[str, Mapping[int, float]]] = {}
        for trial in trials:
            by_detector.setdefault(trial.detector, {})[trial.training_set] = trial.by_seed[metric]
        groups.append(
            Group(
                conditions=conditions,
                settings={name: settings[conditions].get(name, "") for name in varying},
                runs=len(runs),
                seeds=tuple(sorted(newest_of_seed, key=lambda seed: -1 if seed is None else seed)),
                newest=runs[0].started,
                trials=trials,
                gains={detector: paired_gain(measured) for detector, measured in by_detector.items()},
                best=_best(runs, history, metric),
            )
        )
    return tuple(groups)


def _trials(runs: Sequence[PastRun]) -> tuple[Trial, ...]:
    """Trials by detector and training set; a run without a seed is in the statistics, but in no pair."""
    order = {name: place for place, name in enumerate(TRAINING_SETS)}
    records: dict[tuple[str, str], list[Record]] = {}
    for run in runs:
        for record in run.records:
            records.setdefault((record.detector, record.training_set), []).append(record)
    trials = []
    for detector, training_set in sorted(records, key=lambda key: (key[0], order.get(key[1], len(order)), key[1])):
        measured = records[detector, training_set]
        values = {
            name: [(record.seed, value) for record in measured if (value := record.metric(name)) is not None]
            for name in MEASURES
        }
        metrics = {name: spread([value for _, value in own]) if own else None for name, own in values.items()}
        by_seed = {name: {seed: value for seed, value in own if seed is not None} for name, own in values.items()}
        trials.append(Trial(detector=detector, training_set=training_set, metrics=metrics, by_seed=by_seed))
    return tuple(trials)


def _best(runs: Sequence[PastRun], history: LineHistory, metric: str) -> Best | None:
    measured = [(record, run) for run in runs for record in run.records if record.metric(metric) is not None]
    if not measured:
        return None
    record = best_record([record for record, _ in measured], metric, 0.0)
    run = next(run for candidate, run in measured if candidate is record)
    versions = {(version.registry, str(version.number)): version for version in history.versions}
    version = versions.get((run.registry, run.model_version)) if run.registered == record.trial else None
    return Best(record=record, value=record.metrics[metric], run=run, version=version)
