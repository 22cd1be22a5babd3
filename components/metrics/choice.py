"""Which detector and training set of a run is registered: chosen without the test defects where that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.errors import InputError
from components.metrics.records import Record, best_record, simplicity, uses_generated
from components.metrics.validation import MIN_IMAGES, Validation, difference_error

AUTO, PROXY, TEST, SIMPLEST = "auto", "proxy", "test", "simplest"
CHOOSE_BY = (AUTO, PROXY, TEST)
"""What a line may choose its detector by."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One of the detectors that the choice is made of, by the proxy."""

    trial: str
    proxy_image_auroc: float
    behind: float
    """How far it is behind the highest proxy of its detector."""
    error: float
    """Standard error of that difference, paired by the held-out good images; 0 for the highest itself."""
    validation_false_alarm_rate: float
    verdict: str
    """Why it was chosen or not."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The detector that a run registers, and how it was chosen."""

    record: Record
    rule: str
    """`proxy`, `test`, or `simplest` where nothing could be measured."""
    reason: str
    """What the rule rests on, and why it is this one, in a sentence."""
    metric: str
    """Test metric by which the choice is judged."""
    candidates: tuple[Candidate, ...] = ()
    """With the proxy, every detector of the run."""
    best_on_test: str = ""
    """Trial with the highest test metric; empty where none was measured."""
    regret: float | None = None
    """That highest test metric minus the choice's: what choosing without the test defects has cost."""

    def to_content(self) -> dict[str, Any]:
        """Content of `choice.json`."""
        return {**asdict(self), "record": self.record.to_json(), "trial": self.record.trial}


def choose(
    records: Sequence[Record],
    validations: Mapping[str, Validation | None],
    *,
    choose_by: str,
    metric: str,
    min_gain: float = 0.0,
    max_false_alarm_rate: float = 1.0,
) -> Choice:
    """Choose a record by one of `CHOOSE_BY`; the validations are those of all records, by trial.

    `auto` is the proxy where every detector has one, else the test metric, else the simplest training set of the first
    detector. The choice by the test metric is that of `best_record`.

    Raises:
        InputError: the proxy or the test metric is asked for by name, and was not measured.
    """
    known = {trial: found for trial, found in validations.items() if found is not None}
    complete = all(record.trial in known for record in records)
    measured = any(record.metric(metric) is not None for record in records)
    if choose_by == PROXY and not complete:
        expected = f"auto or test: a proxy needs {MIN_IMAGES} held-out good images, by dataset.shots or .calibration"
        raise InputError(f"registration.choose_by: got {PROXY!r}, expected {expected}")
    if choose_by == TEST or (not complete and measured):
        why = "as registration.choose_by says" if choose_by == TEST else _without_proxy(records, known)
        reason = f"by {metric} on the test split, {why}; its figure is optimistic"
        return _judged(records, best_record(records, metric, min_gain), TEST, reason, metric)
    if complete:
        return _by_proxy(records, known, metric, min_gain, max_false_alarm_rate)
    first = [record for record in records if record.detector == records[0].detector]
    simplest = min(first, key=lambda record: simplicity(record.training_set))
    reason = f"the simplest training set of the first detector: {_without_proxy(records, known)}, and {metric} was not"
    return _judged(records, simplest, SIMPLEST, f"{reason} measured", metric)


def _without_proxy(records: Sequence[Record], known: Mapping[str, Validation]) -> str:
    missing = [record.trial for record in records if record.trial not in known]
    which = "no detector" if len(missing) == len(records) else f"not {', '.join(missing)}"
    return f"since {which} could be validated: that takes {MIN_IMAGES} held-out good images with synthetic defects"


def _by_proxy(
    records: Sequence[Record],
    validations: Mapping[str, Validation],
    metric: str,
    min_gain: float,
    max_false_alarm_rate: float,
) -> Choice:
    """The detector with the highest proxy, on the simplest training set that is no worse than its best one.

    No worse is what is behind by the standard error of the paired difference or less (the one-standard-error rule,
    Breiman et al., 1984). A set with generated images must be ahead of all others by more than that, and by `min_gain`.
    Detectors with more false alarms on held-out good images than the limit are left out, unless all have more.
    """
    proxies = {record.trial: validations[record.trial].auroc for record in records}
    alarms = {record.trial: record.validation_false_alarm_rate or 0.0 for record in records}
    calm = [record for record in records if alarms[record.trial] <= max_false_alarm_rate] or list(records)
    leader = max(calm, key=lambda record: (proxies[record.trial], [-part for part in simplicity(record.training_set)]))
    behind = {record.trial: _behind(record, records, leader, validations, proxies) for record in records}

    def no_worse(record: Record) -> bool:
        difference, error = behind[record.trial]
        needed = max(error, min_gain) if uses_generated(leader.training_set) else error
        tolerance = needed if not uses_generated(record.training_set) else error
        return record.detector == leader.detector and difference <= tolerance

    chosen = min((record for record in calm if no_worse(record)), key=lambda record: simplicity(record.training_set))
    candidates = tuple(
        Candidate(
            trial=record.trial,
            proxy_image_auroc=proxies[record.trial],
            behind=behind[record.trial][0],
            error=behind[record.trial][1],
            validation_false_alarm_rate=alarms[record.trial],
            verdict=_verdict(record, chosen, record in calm, no_worse(record)),
        )
        for record in records
    )
    images = len(validations[chosen.trial].good)
    reason = f"by the proxy: synthetic defects on {images} held-out good images, and no test image"
    return _judged(records, chosen, PROXY, reason, metric, candidates)


def _behind(
    record: Record,
    records: Sequence[Record],
    leader: Record,
    validations: Mapping[str, Validation],
    proxies: Mapping[str, float],
) -> tuple[float, float]:
    """How far a record is behind the leader of its detector, and the standard error of that difference."""
    own = [other for other in records if other.detector == record.detector]
    best = leader if record.detector == leader.detector else max(own, key=lambda other: proxies[other.trial])
    difference = proxies[best.trial] - proxies[record.trial]
    same = best.trial == record.trial
    return difference, 0.0 if same else difference_error(validations[best.trial], validations[record.trial])


def _verdict(record: Record, chosen: Record, calm: bool, no_worse: bool) -> str:
    if record is chosen:
        return "chosen"
    if not calm:
        return "more false alarms than registration.max_validation_false_alarm_rate"
    if record.detector != chosen.detector:
        return f"{chosen.detector} has a higher proxy"
    if no_worse:
        return "no better than the simpler set, within the standard error"
    return "lower proxy"


def _judged(
    records: Sequence[Record],
    record: Record,
    rule: str,
    reason: str,
    metric: str,
    candidates: tuple[Candidate, ...] = (),
) -> Choice:
    """The choice, with its regret on the test split where the metric was measured."""
    measured = {other.trial: value for other in records if (value := other.metric(metric)) is not None}
    best = max(measured, key=lambda trial: measured[trial]) if measured else ""
    own = record.metric(metric)
    return Choice(
        record=record,
        rule=rule,
        reason=reason,
        metric=metric,
        candidates=candidates,
        best_on_test=best,
        regret=measured[best] - own if measured and own is not None else None,
    )
