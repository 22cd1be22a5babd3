"""The rule whether a line should be trained again, from what has changed in the look of its good images."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.change import shift
from components.change.config import ChangeLimits
from components.change.shift import STATISTICS, EmbeddingShift, Floats, Looks, MeanShift


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A detector's scores of good images that it was not trained on, [n] and [m], and its threshold, if any."""

    reference: Floats
    new: Floats
    threshold: float | None


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
    statistics: dict[str, MeanShift]
    """By the names of `STATISTICS`: what has changed, for a person; no reason by itself."""


def retrain_hint(reference: Looks, new: Looks, limits: ChangeLimits, scores: Scores | None = None) -> Hint:
    """Compare new good images of a line with those of a reference, and the scores of both by a detector, if any."""
    draw = (limits.permutations, limits.seed)
    enough = len(reference) > 1 and len(new) > 0
    embedding = shift.embedding_shift(reference.embeddings, new.embeddings, *draw) if enough else None
    looks = ((name, reference.statistics[name], new.statistics[name]) for name in STATISTICS if enough)
    statistics = {name: shift.mean_shift(old, late, *draw) for name, old, late in looks}
    scored = _score_shift(scores, limits) if scores is not None else None
    tests = 1 if scored is None else 2 if scored.threshold is None else 3
    level = limits.alpha / tests
    retrain, reasons = "yes", [*_reasons(embedding, statistics, scored, limits, level)]
    if not reasons:
        least = shift.least_p_value(len(reference), len(new), limits.permutations) if enough else 1.0
        retrain, reasons = "no", [f"no change found at a false alarm rate of {limits.alpha:g}"]
        if least > level:
            few = f"too few images for a test: {len(new)} new and {len(reference)} of the reference"
            retrain, reasons = "unknown", [few]
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
    higher = shift.mean_shift(scores.reference, scores.new, limits.permutations, limits.seed, greater=True)
    return ScoreShift(
        superiority=shift.superiority(scores.reference, scores.new),
        p_value=higher.p_value,
        threshold=scores.threshold,
        false_alarm_rate=rate,
        reference_false_alarm_rate=before,
        false_alarm_p_value=alarms,
    )


def _reasons(
    looks: EmbeddingShift | None,
    statistics: dict[str, MeanShift],
    scores: ScoreShift | None,
    limits: ChangeLimits,
    level: float,
) -> Iterator[str]:
    if looks is not None and looks.p_value <= level and looks.distance >= limits.min_shift:
        found = {name: mean for name, mean in statistics.items() if mean.p_value <= limits.alpha / len(STATISTICS)}
        names = ", ".join(f"{name} {mean.reference:.3g} to {mean.new:.3g}" for name, mean in found.items())
        changed = f"; changed: {names}" if names else ""
        yield f"the good images look different ({looks.distance:.2f} sd, p = {looks.p_value:.4f}{changed})"
    if scores is None:
        return
    if scores.p_value <= level and scores.superiority >= limits.min_superiority:
        pairs = f"{scores.superiority:.0%} of the pairs of a new and an earlier one"
        yield f"good images score higher: {pairs} (p = {scores.p_value:.4f})"
    alarms, rate, before = scores.false_alarm_p_value, scores.false_alarm_rate, scores.reference_false_alarm_rate
    if alarms is not None and rate is not None and alarms <= level and rate > limits.max_false_alarm_rate:
        p_value = f"p = {alarms:.4f}" if alarms >= 0.0001 else "p < 0.0001"
        yield f"{rate:.0%} of the good images are over the threshold, earlier {before:.0%} ({p_value})"
