"""The champion's rule: whether a newly registered detector replaces the one in production.

It compares two detectors that were measured on the same test split. Which detector of a run is registered at all is
another rule, `components.metrics.choice.choose`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from components.metrics.records import GATE_METRICS, PROXY_METRIC, Record
from components.settings import Expected, OneOf, Settings, Share

PROMOTED, FIRST, REFUSED, UNREGISTERED = "promoted", "first", "refused", "unregistered"
"""`first` is promoted without a champion; `unregistered` holds the limits that need none, but MLflow is off."""

_DIGITS = 9
"""Decimals that differences are rounded to: 0.95 - 0.90 holds a limit of 0.05."""


class GateRefusedError(RuntimeError):
    """A version does not hold the line's limits; the message names those that fail."""


NoLimit = Annotated[float, Field(ge=0), Expected("0 for no limit, or more")]


class GateLimits(Settings):
    """What a challenger must hold to become the champion."""

    section: ClassVar = "registration"

    metric: Annotated[str, OneOf(GATE_METRICS)] = "image_auroc"
    """Metric by which detectors are compared."""
    min_metric: Share = 0.0
    """Least metric of a champion, the first one too; a metric that cannot be measured holds no limit above 0."""
    min_champion_gain: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Least gain over the champion on the same test split; without bad test images, the gain in `proxy_image_auroc`,
    that of each detector on its own held-out images. At 0 a tie keeps the champion; a negative value lets a newer
    detector win although it is worse by up to that much."""
    max_defect_drop: Share = 0.1
    """Most that a single defect type may fall behind the champion, in image AUROC of all good test images against the
    bad ones of that type."""
    max_latency_ms: NoLimit = 0.0
    """Most milliseconds to score an image on one core, by the runtime that the model is served by; 0 for no limit."""
    max_model_mb: NoLimit = 0.0
    """Most megabytes (10^6 bytes) of the detector's weights; 0 for no limit."""
    min_proxy_image_auroc: Share = 0.0
    """Least AUROC of held-out good images against synthetic defects, a proxy; 0 for no limit."""
    max_validation_false_alarm_rate: Share = 1.0
    """Largest share of the held-out good images over the threshold; 1 for no limit. Detectors with more are not chosen
    either, unless all have more."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A detector on one test split."""

    digest: str
    """Digest of the test split and of the measuring code; figures of one digest can be compared."""
    record: Record
    """With the times of the runtime that serves the detector."""
    defect_auroc: dict[str, float]
    """Image AUROC of all good test images against the bad ones of a defect type, by type."""
    model_mb: float
    """Megabytes (10^6 bytes) of the weights."""
    parity: bool | None = None
    """Whether the exported model scores as the detector does; None where no export was made."""

    def to_json(self) -> str:
        """Text of a tag."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Measurement":
        """The measurement of a JSON object."""
        return cls(**{**content, "record": Record.from_json(content["record"])})


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One line of a decision."""

    name: str
    """Field of `GateLimits`, with the defect type in brackets where it is checked by type; or `export_parity`, or
    `champion_measured`."""
    limit: str
    champion: float | None
    """None where there is no champion or nothing to compare."""
    challenger: float | None
    held: bool

    @property
    def reason(self) -> str:
        """The criterion in words, such as `min_champion_gain: 0.9, champion 0.95, wanted a gain above 0`."""
        champion = "" if self.champion is None else f", champion {_shown(self.champion)}"
        return f"{self.name}: {_shown(self.challenger)}{champion}, wanted {self.limit}"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a challenger, and why."""

    gate: str
    line: str
    challenger: str
    """Version of the challenger; empty where MLflow is off."""
    champion: str
    """Version that was the champion; empty without one."""
    challenger_trial: str
    champion_trial: str
    """`DETECTOR/TRAINING_SET`; empty without a champion, or where it could not be measured."""
    digest: str
    """Test split and code that both were measured with."""
    champion_measured_again: bool
    """Because the champion was registered with another test split or code."""
    criteria: tuple[Criterion, ...]

    @property
    def reasons(self) -> str:
        """One line: the limits that do not hold; or that all hold, and against which champion."""
        failed = "; ".join(criterion.reason for criterion in self.criteria if not criterion.held)
        return failed or f"all {len(self.criteria)} criteria hold, {self.opponent}"

    @property
    def opponent(self) -> str:
        """Who the challenger was compared with."""
        if self.champion and not self.champion_trial:
            return f"champion version {self.champion}, which could not be measured"
        if self.champion:
            again = ", measured again on this test split" if self.champion_measured_again else ""
            return f"champion version {self.champion} ({self.champion_trial}){again}"
        return "no champion is known: MLflow is off or does not answer" if not self.challenger else "no champion yet"

    def to_content(self) -> dict[str, Any]:
        """Content of `decision.json`."""
        return {**asdict(self), "reasons": self.reasons, "opponent": self.opponent}

    def to_markdown(self) -> str:
        """The decision as a page."""
        version = f"version {self.challenger}" if self.challenger else "not registered"
        rows = [
            f"| {c.name} | {c.limit} | {_shown(c.champion)} | {_shown(c.challenger)} | {'yes' if c.held else 'NO'} |\n"
            for c in self.criteria
        ]
        return (
            f"# {self.line}: {self.gate}\n\n"
            f"Challenger: {version} ({self.challenger_trial}). Compared with: {self.opponent}.\n"
            f"Test split and code: `{self.digest}`.\n\n"
            f"| criterion | limit | champion | challenger | held |\n|---|---|---|---|---|\n{''.join(rows)}"
        )


def decide(
    limits: GateLimits,
    line: str,
    challenger: tuple[str, Measurement],
    champion: tuple[str, Measurement | str] | None,
    *,
    champion_measured_again: bool = False,
) -> Decision:
    """Apply the limits to a version (empty where MLflow is off) and its measurement.

    The champion is None without one; a text in place of its measurement is why it could not be measured, which refuses
    the challenger. Raises `ValueError` where the two were measured on different test splits.
    """
    version, measured = challenger
    champion_version, known = champion or ("", None)
    opponent = None if isinstance(known, str) else known
    if opponent is not None and opponent.digest != measured.digest:
        raise ValueError(f"champion: got digest {opponent.digest}, expected the challenger's, {measured.digest}")
    criteria = _criteria(limits, measured, opponent)
    if isinstance(known, str):
        limit = f"the champion's figures on the same test split: {known}"
        unmeasured = Criterion(name="champion_measured", limit=limit, champion=None, challenger=None, held=False)
        criteria = (*criteria, unmeasured)
    passed = UNREGISTERED if not version else FIRST if opponent is None else PROMOTED
    return Decision(
        gate=passed if all(criterion.held for criterion in criteria) else REFUSED,
        line=line,
        challenger=version,
        champion=champion_version,
        challenger_trial=measured.record.trial,
        champion_trial="" if opponent is None else opponent.record.trial,
        digest=measured.digest,
        champion_measured_again=champion_measured_again,
        criteria=criteria,
    )


def _criteria(limits: GateLimits, own: Measurement, champion: Measurement | None) -> tuple[Criterion, ...]:
    """The limits of the challenger itself, and those of its difference to the champion, which hold without one."""
    old_time = mb = parity = None
    if champion is not None:
        old_time, mb, parity = champion.record.latency_ms, champion.model_mb, champion.parity
    time = own.record.latency_ms
    most_ms, most_mb = limits.max_latency_ms, limits.max_model_mb
    limit_ms, limit_mb = (f"at most {_shown(most)}" if most else "no limit" for most in (most_ms, most_mb))
    rows = [
        _least_metric(limits, own.record, champion),
        ("max_latency_ms", limit_ms, old_time, time, not most_ms or (time is not None and time <= most_ms)),
        ("max_model_mb", limit_mb, mb, own.model_mb, not most_mb or own.model_mb <= most_mb),
        ("export_parity", "passed where an export was made", parity, own.parity, own.parity is not False),
        _least_gain(limits, own.record, champion),
        *_without_test(limits, own.record, champion),
    ]
    for defect, auroc in own.defect_auroc.items():
        old = None if champion is None else champion.defect_auroc[defect]
        held = old is None or round(old - auroc, _DIGITS) <= limits.max_defect_drop
        limit = f"image AUROC at most {_shown(limits.max_defect_drop)} below the champion's"
        rows.append((f"max_defect_drop[{defect}]", limit, old, auroc, held))
    return tuple(
        Criterion(name=name, limit=limit, champion=_number(old), challenger=_number(new), held=held)
        for name, limit, old, new, held in rows
    )


_Row = tuple[str, str, float | None, float | None, bool]
"""Name, limit, the champion's and the challenger's figure, and whether the limit is held."""


def _least_metric(limits: GateLimits, own: Record, champion: Measurement | None) -> _Row:
    before = None if champion is None else champion.record.metric(limits.metric)
    metric, limit = own.metric(limits.metric), f"{limits.metric} of at least {_shown(limits.min_metric)}"
    if metric is None:
        limit += ", which is not measured without bad test images: registration.min_proxy_image_auroc is read instead"
    return "min_metric", limit, before, metric, not limits.min_metric if metric is None else metric >= limits.min_metric


def _least_gain(limits: GateLimits, own: Record, champion: Measurement | None) -> _Row:
    """The gain over the champion in the metric, or in the proxy where the metric is not measured."""
    name, least = limits.metric, limits.min_champion_gain
    proxy = own.metric(name) is None
    name = PROXY_METRIC if proxy else name
    metric, before = own.metric(name), None if champion is None else champion.record.metric(name)
    gain = None if metric is None or before is None else round(metric - before, _DIGITS)
    gained = gain is not None and gain >= least and (gain > 0 or least < 0)
    limit = f"a gain in {name} {'of at least' if least else 'above'} {_shown(least)}"
    if proxy:
        limit += f", each on its own held-out images, since {limits.metric} is not measured"
    return "min_champion_gain", limit, before, metric, champion is None or gained


def _without_test(limits: GateLimits, own: Record, champion: Measurement | None) -> Iterator[_Row]:
    """What is measured without the test split, where it was measured or a limit is set."""
    least, most = limits.min_proxy_image_auroc, limits.max_validation_false_alarm_rate
    proxy, alarms = own.proxy_image_auroc, own.validation_false_alarm_rate
    old_proxy = old_alarms = None
    if champion is not None:
        old_proxy, old_alarms = champion.record.proxy_image_auroc, champion.record.validation_false_alarm_rate
    if least or proxy is not None:
        limit = f"at least {_shown(least)}" if least else "no limit"
        held = not least or (proxy is not None and proxy >= least)
        yield "min_proxy_image_auroc", limit, old_proxy, proxy, held
    if most < 1 or alarms is not None:
        limit = f"at most {_shown(most)}" if most < 1 else "no limit"
        held = most == 1 or (alarms is not None and alarms <= most)
        yield "max_validation_false_alarm_rate", limit, old_alarms, alarms, held


def _number(value: float | None) -> float | None:
    """A parity's True and False are 1 and 0."""
    return None if value is None else float(value)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
