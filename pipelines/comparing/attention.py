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

    Args:
        history: the line's runs.
        gains: of the generated set in the newest group, by detector.
        metric: whose fall is a reason.
        now: UTC.
        stale_days: days without a finished run after which a line is stale.
    """
    found = [
        *_last_run(history.runs, now),
        *_refused(history),
        *_drift(history),
        *_fall(history.runs, metric),
        *_stale(history.runs, now, stale_days),
        *_no_gain(gains),
    ]
    return tuple(sorted(found, key=lambda reason: -reason.weight))


def _last_run(runs: Sequence[PastRun], now: datetime) -> Iterator[Reason]:
    if not runs:
        return
    last = runs[0]
    if last.status == RUNNING and now - last.started > _LONG_RUN:
        hours = (now - last.started) / timedelta(hours=1)
        yield Reason(weight=3, text=f"run {last.run_id} has been running for {hours:.0f} h")
    ended = next((run for run in runs if run.status != RUNNING), None)
    if ended is not None and ended.status != FINISHED:
        why = f": {ended.failure[:_MAX_FAILURE]}" if ended.failure else ""
        text = f"last run {ended.run_id} {ended.status.lower()} on {ended.started:%Y-%m-%d}{why}"
        yield Reason(weight=4, text=text)
    if not any(run.status == FINISHED for run in runs):
        yield Reason(weight=1, text="no run has finished")


def _refused(history: LineHistory) -> Iterator[Reason]:
    """A version that is as good as the champion, but no better, is what retraining a healthy line usually gives."""
    newest = next(iter(history.versions), None)
    if newest is not None and newest.gate == REFUSED:
        why = f": {newest.gate_reasons}" if newest.gate_reasons else ""
        weight = 1 if _is_as_good(newest.gate_reasons, history.runs) else 3
        yield Reason(weight=weight, text=f"gate refused version {newest.number}{why}")


def _is_as_good(reasons: str, runs: Sequence[PastRun]) -> bool:
    """Whether a version was refused for its gain alone, and is not behind the champion by more than the noise."""
    found = _NO_BETTER.fullmatch(reasons)
    if found is None:
        return False
    value, champion, metric = float(found[1]), float(found[2]), found[3]
    return champion - value <= _noise([earlier for _, earlier in _comparable(runs, metric)[1:]])


def _drift(history: LineHistory) -> Iterator[Reason]:
    """A check asks for retraining until a run has finished after it."""
    newest = next(iter(history.drift), None)
    if newest is None or not newest.retrain:
        return
    if not any(run.status == FINISHED and run.started > newest.started for run in history.runs):
        why = f": {newest.reasons}" if newest.reasons else ""
        yield Reason(weight=3, text=f"drift on {newest.started:%Y-%m-%d}{why}")


def _fall(runs: Sequence[PastRun], metric: str) -> Iterator[Reason]:
    """The last run's best figure against earlier runs with as many shots and the same profile."""
    measured = _comparable(runs, metric)
    if not measured[1:]:
        return
    (last, value), *earlier = measured
    values = [other for _, other in earlier]
    usual = statistics.median(values)
    if usual - value > max(_LEAST_FALL, _noise(values)):
        changed = _changes(last, [run for run, _ in earlier])
        compared = f"{len(values)} earlier run{'s' if len(values) > 1 else ''}"
        text = f"{metric} fell to {value:.4f} from {usual:.4f} (median of {compared}{changed})"
        yield Reason(weight=2, text=text)


def _comparable(runs: Sequence[PastRun], metric: str) -> list[tuple[PastRun, float]]:
    """The last measured run and those before it with as many shots and the same profile, and each one's best figure."""
    measured = [(run, value) for run in runs if run.status == FINISHED for value in _best_value(run, metric)]
    alike = [
        (run, value)
        for run, value in measured
        if (run.conditions.shots, run.conditions.profile)
        == (measured[0][0].conditions.shots, measured[0][0].conditions.profile)
    ]
    return alike[: 1 + _COMPARED_RUNS]


def _noise(values: Sequence[float]) -> float:
    """Two standard deviations of the figures of earlier runs; 0 where there are too few to tell."""
    return 2 * statistics.stdev(values) if len(values) >= _LEAST_FOR_SPREAD else 0.0


def _best_value(run: PastRun, metric: str) -> Iterator[float]:
    values = [value for record in run.records if (value := record.metric(metric)) is not None]
    if values:
        yield max(values)


def _changes(last: PastRun, earlier: Sequence[PastRun]) -> str:
    names = ("dataset", "version", "settings")
    changed = [
        name
        for name in names
        if any(getattr(run.conditions, name) != getattr(last.conditions, name) for run in earlier)
    ]
    return f"; {', '.join(changed)} changed" if changed else ""


def _stale(runs: Sequence[PastRun], now: datetime, stale_days: int) -> Iterator[Reason]:
    finished = next((run for run in runs if run.status == FINISHED), None)
    if finished is not None and now - finished.started > timedelta(days=stale_days):
        yield Reason(weight=2, text=f"no finished run for {(now - finished.started).days} days")


def _no_gain(gains: Mapping[str, Gain | None]) -> Iterator[Reason]:
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known or any(gain.mean > 0 for gain in known.values()):
        return
    name = max(known, key=lambda detector: known[detector].mean)
    gain = known[name]
    over = f"{gain.mean:+.4f} over {gain.baseline}, {name}, n = {len(gain.differences)}"
    yield Reason(weight=1, text=f"generated images do not help: {over}")
