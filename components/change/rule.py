"""The rule whether a line should be trained again, from what has changed in the look of its good images."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.change.config import ChangeLimits
from components.change.shift import (
    STATISTICS,
    EmbeddingShift,
    Floats,
    Looks,
    MeanShift,
    embedding_shift,
    least_p_value,
    mean_shift,
    superiority,
)

YES, NO, UNKNOWN = "yes", "no", "unknown"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A detector's scores of good images that it was not trained on."""

    reference: Floats
    """[n]."""
    new: Floats
    """[m]."""
    threshold: float | None
    """Score above which the detector calls an image anomalous; None where it has none."""


@dataclass(frozen=True, kw_only=True)
class ScoreShift:
    """How the scores of new good images differ."""

    superiority: float
    """Probability that a new image scores higher than one of the reference."""
    p_value: float
    """Of higher mean scores, by permutation."""
    threshold: float | None
    false_alarm_rate: float | None
    """Share of the new images over the threshold."""
    reference_false_alarm_rate: float | None
    """Share of the reference over it."""
    false_alarm_p_value: float | None
    """Of more false alarms than in the reference, by Fisher's exact test."""


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Whether to train again, and why."""

    retrain: str
    """`yes`, `no`, or `unknown` where there are too few images for a test."""
    reasons: tuple[str, ...]
    """One sentence each; what was seen for `yes`, what is missing for `unknown`, else that nothing was found."""
    reference_images: int
    new_images: int
    embedding: EmbeddingShift | None
    """None with fewer than two reference images or no new ones."""
    scores: ScoreShift | None
    """None without a detector."""
    statistics: dict[str, MeanShift]
    """By the names of `STATISTICS`: what has changed, for a person; no reason by itself."""


def retrain_hint(reference: Looks, new: Looks, limits: ChangeLimits, scores: Scores | None = None) -> Hint:
    """Compare new good images of a line with those of a reference, and the scores of both by a detector, if any."""
    draw = (limits.permutations, limits.seed)
    enough = len(reference) > 1 and len(new) > 0
    embedding = embedding_shift(reference.embeddings, new.embeddings, *draw) if enough else None
    statistics = {
        name: mean_shift(reference.statistics[name], new.statistics[name], *draw) for name in STATISTICS if enough
    }
    scored = _score_shift(scores, limits) if scores is not None else None
    tests = 1 if scored is None else 2 if scored.threshold is None else 3
    level = limits.alpha / tests
    reasons = [*_embedding_reasons(embedding, statistics, limits, level), *_score_reasons(scored, limits, level)]
    retrain = YES
    if not reasons:
        least = least_p_value(len(reference), len(new), limits.permutations) if enough else 1.0
        retrain = UNKNOWN if least > level else NO
        too_few = f"too few images for a test: {len(new)} new and {len(reference)} of the reference"
        reasons = [too_few if least > level else f"no change found at a false alarm rate of {limits.alpha:g}"]
    return Hint(
        retrain=retrain,
        reasons=tuple(reasons),
        reference_images=len(reference),
        new_images=len(new),
        embedding=embedding,
        scores=scored,
        statistics=statistics,
    )


def _score_shift(scores: Scores, limits: ChangeLimits) -> ScoreShift:
    from scipy.stats import fisher_exact

    alarms, rate, before = None, None, None
    if scores.threshold is not None:
        over = [values > scores.threshold for values in (scores.new, scores.reference)]
        rate, before = (float(called.mean()) for called in over)
        table = [[int(called.sum()), int((~called).sum())] for called in over]
        alarms = float(fisher_exact(table, alternative="greater").pvalue)
    shift = mean_shift(scores.reference, scores.new, limits.permutations, limits.seed, greater=True)
    return ScoreShift(
        superiority=superiority(scores.reference, scores.new),
        p_value=shift.p_value,
        threshold=scores.threshold,
        false_alarm_rate=rate,
        reference_false_alarm_rate=before,
        false_alarm_p_value=alarms,
    )


def _embedding_reasons(
    shift: EmbeddingShift | None, statistics: dict[str, MeanShift], limits: ChangeLimits, level: float
) -> Iterator[str]:
    if shift is None or shift.p_value > level or shift.distance < limits.min_shift:
        return
    looks = [
        f"{name} {found.reference:.3g} to {found.new:.3g}"
        for name, found in statistics.items()
        if found.p_value <= limits.alpha / len(STATISTICS)
    ]
    changed = f"; changed: {', '.join(looks)}" if looks else ""
    yield f"the good images look different ({shift.distance:.2f} sd, p = {shift.p_value:.4f}{changed})"


def _score_reasons(shift: ScoreShift | None, limits: ChangeLimits, level: float) -> Iterator[str]:
    if shift is None:
        return
    if shift.p_value <= level and shift.superiority >= limits.min_superiority:
        yield (
            f"good images score higher: {shift.superiority:.0%} of the pairs of a new and an earlier one"
            f" (p = {shift.p_value:.4f})"
        )
    alarms, rate, before = shift.false_alarm_p_value, shift.false_alarm_rate, shift.reference_false_alarm_rate
    if alarms is not None and rate is not None and alarms <= level and rate > limits.max_false_alarm_rate:
        p_value = f"p = {alarms:.4f}" if alarms >= 0.0001 else "p < 0.0001"
        yield f"{rate:.0%} of the good images are over the threshold, earlier {before:.0%} ({p_value})"
