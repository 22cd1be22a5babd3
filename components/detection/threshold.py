"""The threshold of a detector, from good images only, for a stated false-alarm rate.

The scores come from images that the scoring detector was not trained on: calibration images where there are any, else
the given images, each scored by a detector trained without it, else augmented copies of the one given image.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, mean, stdev

from torch import Tensor, nn

from components.artifacts import ImageSet
from components.detection.training_sets import Sources, load_training_set
from components.detectors.config import Config, Threshold
from components.detectors.detector import fit, predict

_ROUNDING = 1e-9


def find_threshold(model: nn.Module, sources: Sources, config: Config) -> Threshold:
    """Threshold of a trained detector, by the image sets that it was trained on and the calibration images."""
    source, scores = held_out_scores(model, sources, config)
    value, rule = estimate(scores, config.false_alarm_rate)
    return Threshold(
        value=value,
        source=source,
        images=len(scores),
        rule=rule,
        expected_rate=expected_rate(scores, value) if rule == "normal" else None,
        false_alarm_rate=config.false_alarm_rate,
        guaranteed_rate=guaranteed_rate(len(scores), config.false_alarm_rate) if source == "calibration" else None,
    )


def held_out_scores(model: nn.Module, sources: Sources, config: Config) -> tuple[str, Sequence[float]]:
    """The source of the threshold, and the scores of its good images."""
    reference, copies = ImageSet(sources.reference), ImageSet(sources.augmented)
    held_out, given, copied = reference.ids("calibration", "good"), reference.ids("train"), copies.ids("train")
    if held_out:
        return "calibration", _scores(model, reference.tensor(held_out))
    if len(given) > 1:
        source = "leave-one-out" if len(given) <= config.threshold_folds else "cross-validation"
        return source, _cross_validate(reference, given, sources, config)
    if config.training_set == "augmented":
        return "augmented-copies", _cross_validate(copies, copied, sources, config)
    return "augmented-copies", _scores(model, copies.tensor(copied))


def estimate(scores: Sequence[float], rate: float) -> tuple[float, str]:
    """Threshold by the scores of n good images, and the rule that gave it.

    `conformal`: the ceil((n + 1) (1 - rate))-th smallest score, above which a new exchangeable score falls with
    probability at most `rate` (split conformal prediction; Vovk et al., 2005). It needs n >= 1 / rate - 1 images.
    `normal`: with fewer, mean + z(1 - rate) s sqrt(1 + 1/n), or the highest score where that is higher. Student's t
    in z's place would hold the rate for normal scores, but lies 30 standard deviations up for two images;
    `expected_rate` is the rate that this rule does hold.
    `maximum`: the one score there is.
    """
    ordered = sorted(scores)
    count = len(ordered)
    rank = _conformal_rank(count, rate)
    if rank <= count:
        return ordered[rank - 1], "conformal"
    if count == 1:
        return ordered[0], "maximum"
    margin = NormalDist().inv_cdf(1 - rate) * stdev(ordered) * math.sqrt(1 + 1 / count)
    return max(ordered[-1], mean(ordered) + margin), "normal"


def expected_rate(scores: Sequence[float], value: float) -> float:
    """Probability that one more draw of the normal distribution of n >= 2 scores is over a threshold.

    By Student's t with n - 1 degrees of freedom, which counts in that mean and deviation are estimated
    (Hahn and Meeker, Statistical Intervals, 1991, section 4.7).
    """
    from scipy.stats import t

    spread = stdev(scores) * math.sqrt(1 + 1 / len(scores))
    return float(t.sf((value - mean(scores)) / spread, len(scores) - 1)) if spread else 0.0


def guaranteed_rate(count: int, rate: float) -> float:
    """Probability, at most, that a good image exchangeable with `count` calibration images is over their threshold.

    It is `rate` or less where `estimate` has enough images, else that of a new maximum, 1 / (count + 1).
    """
    return (count + 1 - min(_conformal_rank(count, rate), count)) / (count + 1)


def _conformal_rank(count: int, rate: float) -> int:
    return count + 1 - math.floor((count + 1) * rate + _ROUNDING)


def _cross_validate(images: ImageSet, ids: Sequence[str], sources: Sources, config: Config) -> list[float]:
    """Score of each image by a detector trained without its fold; the folds take the images in turn."""
    folds = [ids[start :: config.threshold_folds] for start in range(min(config.threshold_folds, len(ids)))]
    scores: list[float] = []
    for fold in folds:
        model = fit(load_training_set(sources, config, without=fold), config)
        scores += _scores(model, images.tensor(fold))
    return scores


def _scores(model: nn.Module, images: Tensor) -> list[float]:
    return [float(score) for score in predict(model, images)[0]]
