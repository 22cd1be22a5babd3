"""Compares the runs of one line: groups of comparable runs, statistics over their seeds, the best model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from components.detectors.config import TRAINING_SETS
from components.metrics.records import EXTRA_HEADS, METRICS, Record, best_record
from components.metrics.seeds import Gain, Spread, paired_gain, spread
from components.registry.history import FINISHED, RUNNING, Conditions, LineHistory, ModelVersion, PastRun
from pipelines.comparing.attention import Reason, reasons_for

CHAMPION = "champion"
MEASURES = (*METRICS, *EXTRA_HEADS, "latency_ms")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One detector on one training set over the seeds of a group."""

    detector: str
    training_set: str
    metrics: Mapping[str, Spread | None]
    """By the names of `MEASURES`; None where nothing was measured."""
    by_seed: Mapping[str, Mapping[int, float]]
    """Values by metric and seed."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The record with the highest metric, on the test split and so optimistic."""

    detector: str
    training_set: str
    seed: int | None
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
        return [name for name in MEASURES if name not in EXTRA_HEADS or name in measured]


@dataclass(frozen=True, kw_only=True)
class LineComparison:
    """One line compared."""

    line: str
    metric: str
    counts: Mapping[str, int]
    """Runs by `measured`, `reused` (finished, nothing measured anew), `failed`, `running`."""
    last: PastRun | None
    groups: tuple[Group, ...]
    """Newest first."""
    champion: ModelVersion | None
    history: LineHistory
    reasons: tuple[Reason, ...]
    """Why the line needs attention, weightiest first."""

    @property
    def score(self) -> int:
        """Sum of the reasons' weights."""
        return sum(reason.weight for reason in self.reasons)


def compare_line(history: LineHistory, metric: str, now: datetime, stale_days: int) -> LineComparison:
    """Compare the runs of one line.

    Args:
        history: its runs.
        metric: one of `GATE_METRICS`, by which gains and the best model are told.
        now: UTC, against which a line is stale.
        stale_days: days without a finished run after which it is.
    """
    groups = group_runs(history, metric)
    gains = groups[0].gains if groups else {}
    return LineComparison(
        line=history.line,
        metric=metric,
        counts=_counts(history.runs),
        last=history.runs[0] if history.runs else None,
        groups=groups,
        champion=next((version for version in history.versions if CHAMPION in version.aliases), None),
        history=history,
        reasons=reasons_for(history, gains, metric, now, stale_days),
    )


def group_runs(history: LineHistory, metric: str) -> tuple[Group, ...]:
    """Groups of the measured runs, the one with the newest run first."""
    found: dict[Conditions, list[PastRun]] = {}
    for run in history.runs:
        if run.status == FINISHED and run.records:
            found.setdefault(run.conditions, []).append(run)
    varying = _varying_settings(list(found))
    return tuple(
        _group(conditions, runs, {name: dict(conditions.settings).get(name, "") for name in varying}, history, metric)
        for conditions, runs in found.items()
    )


def _group(
    conditions: Conditions, runs: Sequence[PastRun], settings: Mapping[str, str], history: LineHistory, metric: str
) -> Group:
    newest_of_seed: dict[int | None, PastRun] = {}
    for run in runs:
        newest_of_seed.setdefault(run.seed, run)
    trials = _trials(list(newest_of_seed.values()))
    return Group(
        conditions=conditions,
        settings=settings,
        runs=len(runs),
        seeds=tuple(sorted(newest_of_seed, key=lambda seed: -1 if seed is None else seed)),
        newest=runs[0].started,
        trials=trials,
        gains={name: _gain(trials, name, metric) for name in dict.fromkeys(trial.detector for trial in trials)},
        best=_best(runs, history, metric),
    )


def _trials(runs: Sequence[PastRun]) -> tuple[Trial, ...]:
    """Trials by detector and training set; a run without a seed is in the statistics, but in no pair."""
    records: dict[tuple[str, str], list[Record]] = {}
    for run in runs:
        for record in run.records:
            records.setdefault((record.detector, record.training_set), []).append(record)
    return tuple(
        Trial(
            detector=detector,
            training_set=added,
            metrics={name: _spread(own, name) for name in MEASURES},
            by_seed={
                name: {
                    record.seed: value
                    for record in own
                    if record.seed is not None and (value := record.metric(name)) is not None
                }
                for name in MEASURES
            },
        )
        for (detector, added), own in sorted(records.items(), key=lambda item: _place(*item[0]))
    )


def _place(detector: str, training_set: str) -> tuple[str, int, str]:
    known = training_set in TRAINING_SETS
    return detector, TRAINING_SETS.index(training_set) if known else len(TRAINING_SETS), training_set


def _spread(records: Sequence[Record], name: str) -> Spread | None:
    values = [value for record in records if (value := record.metric(name)) is not None]
    return spread(values) if values else None


def _gain(trials: Sequence[Trial], detector: str, metric: str) -> Gain | None:
    return paired_gain({trial.training_set: trial.by_seed[metric] for trial in trials if trial.detector == detector})


def _best(runs: Sequence[PastRun], history: LineHistory, metric: str) -> Best | None:
    measured = [(record, run) for run in runs for record in run.records if record.metric(metric) is not None]
    if not measured:
        return None
    record = best_record([record for record, _ in measured], metric, 0.0)
    run = next(run for candidate, run in measured if candidate is record)
    versions = {(version.registry, str(version.number)): version for version in history.versions}
    return Best(
        detector=record.detector,
        training_set=record.training_set,
        seed=record.seed,
        value=record.metrics[metric],
        run=run,
        version=versions.get((run.registry, run.model_version)) if run.registered == record.trial else None,
    )


def _varying_settings(conditions: Sequence[Conditions]) -> list[str]:
    values: dict[str, set[str]] = {}
    known = [dict(one.settings) for one in conditions]
    for name in {name for settings in known for name in settings}:
        values[name] = {settings.get(name, "") for settings in known}
    return sorted(name for name, seen in values.items() if len(seen) > 1)


def _counts(runs: Sequence[PastRun]) -> dict[str, int]:
    kinds = Counter(_kind(run) for run in runs)
    return {kind: kinds[kind] for kind in ("measured", "reused", "failed", "running")}


def _kind(run: PastRun) -> str:
    if run.status == FINISHED:
        return "measured" if run.records else "reused"
    return "running" if run.status == RUNNING else "failed"
