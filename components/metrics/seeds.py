"""Statistics over few seeds: spread of a metric, and the gain of a training set paired by seed."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.metrics.records import GENERATED, uses_generated

MIN_PAIRS = 3
"""Least paired differences for an interval."""
CONFIDENCE = 0.95
"""Of the intervals, two-sided."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation over seeds, with n - 1 in the denominator; None for one value."""

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Gain of the generated set over a baseline, paired by seed."""

    baseline: str
    """Training set that it is compared with: of the others, the one with the highest mean over the shared seeds."""
    differences: tuple[tuple[int, float], ...]
    """Seed and generated minus baseline, in ascending order of the seeds."""
    mean: float
    interval: tuple[float, float] | None
    """Of the mean difference by Student's t, which assumes normal differences; None with fewer than `MIN_PAIRS`."""

    @property
    def statement(self) -> str:
        """The interval and whether it shows a difference, as a sentence."""
        n = len(self.differences)
        if self.interval is None:
            return f"n = {n}: too small for an interval, {MIN_PAIRS} seeds are needed"
        low, high = self.interval
        verdict = "excludes 0" if low > 0 or high < 0 else "includes 0: no difference shown"
        return f"{CONFIDENCE:.0%} t-interval {low:+.4f} to {high:+.4f} over {n} seeds, {verdict}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one or more values."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(n=len(values), mean=statistics.fmean(values), sd=sd)


def paired_gain(measured: Mapping[str, Mapping[int, float]]) -> Gain | None:
    """Gain of the generated set over the best of the others, by a metric (higher is better) per training set and seed.

    The runs differ in the seed only. The baseline is chosen among the sets that share the most seeds with the generated
    one; None where no seed has both.
    """
    generated = measured.get(GENERATED, {})
    shared = {name: sorted(generated.keys() & own.keys()) for name, own in measured.items() if not uses_generated(name)}
    most = max(map(len, shared.values()), default=0)
    if most == 0:
        return None
    fullest = (name for name, seeds in shared.items() if len(seeds) == most)
    baseline = max(fullest, key=lambda name: statistics.fmean(measured[name][seed] for seed in shared[name]))
    differences = tuple((seed, generated[seed] - measured[baseline][seed]) for seed in shared[baseline])
    values = [difference for _, difference in differences]
    interval = t_interval(values) if len(values) >= MIN_PAIRS else None
    return Gain(baseline=baseline, differences=differences, mean=statistics.fmean(values), interval=interval)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t-interval of the mean of two or more values."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half
