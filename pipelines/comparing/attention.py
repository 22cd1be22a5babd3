"""What needs a person's attention in a line: weighed reasons, so that many lines can be sorted by them."""

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from components.metrics.seeds import Gain
from components.registry.history import FINISHED, RUNNING, LineHistory, PastRun

REFUSED = "refused"
_NO_BETTER = re.compile(r"min_champion_gain: ([\d.]+), champion ([\d.]+), wanted a gain in (\w+) [^;]*")
_LONG_RUN = timedelta(hours=24)
_LEAST_FALL = 0.02
_MAX_FAILURE = 200
_COMPARED_RUNS = 5
_LEAST_FOR_SPREAD = 3


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing to look at."""

    weight: int
    """1 (worth knowing) to 5 (no model comes out of the line)."""
    text: str


def reasons_for(
    history: LineHistory, gains: Mapping[str, Gain | None], metric: str, now: datetime, stale_days: int
) -> tuple[Reason, ...]:
    """Reasons, weightiest first.

    `gains` are those of the generated set in the newest group, by detector; a fall of `metric` is a reason.
    """
    found = [*_run_reasons(history.runs, now, stale_days), *_model_reasons(history)]
    found += _metric_reasons(history.runs, gains, metric)
    return tuple(sorted(found, key=lambda reason: -reason.weight))


def _run_reasons(runs: Sequence[PastRun], now: datetime, stale_days: int) -> Iterator[Reason]:
    """The newest run hangs or failed, none has finished, or none has for long."""
    if not runs:
        return
    last = runs[0]
    if last.status == RUNNING and now - last.started > _LONG_RUN:
        hours = (now - last.started) / timedelta(hours=1)
        yield Reason(weight=3, text=f"run {last.run_id} has been running for {hours:.0f} h")
    ended = next((run for run in runs if run.status != RUNNING), None)
    if ended is not None and ended.status != FINISHED:
        why = f": {ended.failure[:_MAX_FAILURE]}" if ended.failure else ""
        yield Reason(weight=4, text=f"last run {ended.run_id} {ended.status.lower()} on {ended.started:%Y-%m-%d}{why}")
    finished = next((run for run in runs if run.status == FINISHED), None)
    if finished is None:
        yield Reason(weight=1, text="no run has finished")
    elif now - finished.started > timedelta(days=stale_days):
        yield Reason(weight=2, text=f"no finished run for {(now - finished.started).days} days")


def _model_reasons(history: LineHistory) -> Iterator[Reason]:
    """The gate refused the newest version, or a drift check asks for retraining and no run has finished since.

    A version that is as good as the champion, but no better, is what retraining a healthy line usually gives: refused
    for its gain alone, and not behind the champion by more than the noise.
    """
    version = next(iter(history.versions), None)
    if version is not None and version.gate == REFUSED:
        why = f": {version.gate_reasons}" if version.gate_reasons else ""
        weight = 3
        if no_better := _NO_BETTER.fullmatch(version.gate_reasons):
            value, champion, metric = float(no_better[1]), float(no_better[2]), no_better[3]
            earlier = [figure for _, figure in _comparable(history.runs, metric)[1:]]
            weight = 1 if champion - value <= _noise(earlier) else 3
        yield Reason(weight=weight, text=f"gate refused version {version.number}{why}")
    check = next(iter(history.drift), None)
    if check is not None and check.retrain:
        why = f": {check.reasons}" if check.reasons else ""
        if not any(run.status == FINISHED and run.started > check.started for run in history.runs):
            yield Reason(weight=3, text=f"drift on {check.started:%Y-%m-%d}{why}")


def _metric_reasons(runs: Sequence[PastRun], gains: Mapping[str, Gain | None], metric: str) -> Iterator[Reason]:
    """The last run's best figure is below the earlier ones' median, or the generated images help no detector."""
    comparable = _comparable(runs, metric)
    if comparable[1:]:
        (last, value), *earlier = comparable
        values = [other for _, other in earlier]
        usual = statistics.median(values)
        names = ("dataset", "version", "settings")
        before = [run.conditions for run, _ in earlier]
        changed = [name for name in names if {getattr(one, name) for one in before} - {getattr(last.conditions, name)}]
        if usual - value > max(_LEAST_FALL, _noise(values)):
            compared = f"median of {len(values)} earlier run{'s' if len(values) > 1 else ''}"
            because = f"; {', '.join(changed)} changed" if changed else ""
            yield Reason(weight=2, text=f"{metric} fell to {value:.4f} from {usual:.4f} ({compared}{because})")
    known = [(gain.mean, name, gain) for name, gain in gains.items() if gain is not None]
    if known and all(mean <= 0 for mean, _, _ in known):
        mean, name, gain = max(known, key=lambda one: one[0])
        over = f"{mean:+.4f} over {gain.baseline}, {name}, n = {len(gain.differences)}"
        yield Reason(weight=1, text=f"generated images do not help: {over}")


def _comparable(runs: Sequence[PastRun], metric: str) -> list[tuple[PastRun, float]]:
    """The last measured run and those before it with as many shots and the same profile, and each one's best figure."""
    alike: list[tuple[PastRun, float]] = []
    for run in runs:
        values = [value for record in run.records if (value := record.metric(metric)) is not None]
        first = alike[0][0].conditions if alike else run.conditions
        same = (run.conditions.shots, run.conditions.profile) == (first.shots, first.profile)
        if run.status == FINISHED and values and same:
            alike.append((run, max(values)))
    return alike[: 1 + _COMPARED_RUNS]


def _noise(values: Sequence[float]) -> float:
    """Two standard deviations of the figures of earlier runs; 0 where there are too few for an estimate."""
    return 2 * statistics.stdev(values) if len(values) >= _LEAST_FOR_SPREAD else 0.0
