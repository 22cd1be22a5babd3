"""The threshold of a detector, from good images only, for a stated false-alarm rate.

The scores come from images that the scoring detector was not trained on (`validation`). One given image alone has none:
its threshold comes from its own patches, or from quarter turns of it.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, mean, stdev

import torch
from torch import nn

from components.artifacts import ImageSet
from components.compute import device
from components.detection.training_sets import Sources, load_training_set, moved
from components.detection.validation import CALIBRATION, NONE, HeldOutScores
from components.detectors.config import NO_THRESHOLD, Config, Threshold
from components.detectors.detector import fit, predict

_ROUNDING = 1e-9
_CONFIDENCE = 0.9
_MOST_OWN = 32
_QUARTER_TURNS = (90, 180, 270)


def find_threshold(model: nn.Module, validation: HeldOutScores, sources: Sources, config: Config) -> Threshold:
    """Threshold of a trained detector, by the scores of held-out good images where there are any.

    Its value is None where the config asks for none.
    """
    if config.threshold == NO_THRESHOLD:
        return Threshold(
            value=None,
            source=NO_THRESHOLD,
            images=0,
            rule=NO_THRESHOLD,
            false_alarm_rate=config.false_alarm_rate,
            expected_rate=None,
            guaranteed_rate=None,
        )
    held_out = validation.method != NONE
    source, scores = (validation.method, validation.good_scores) if held_out else scores_of_one(model, sources, config)
    value, rule = estimate(scores, config.false_alarm_rate)
    if held_out and rule == "normal":
        value = max(value, min(own_patches(model, sources), prediction_bound(scores, config.false_alarm_rate)))
    lowest, highest = rate_interval(len(scores), config.false_alarm_rate) if held_out else (0.0, 1.0)
    return Threshold(
        value=value,
        source=source,
        images=len(scores),
        rule=rule,
        expected_rate=expected_rate(scores, value) if rule == "normal" and held_out else None,
        false_alarm_rate=config.false_alarm_rate,
        guaranteed_rate=guaranteed_rate(len(scores), config.false_alarm_rate) if source == CALIBRATION else None,
        lowest_rate=lowest,
        highest_rate=highest,
    )


def own_patches(model: nn.Module, sources: Sources) -> float:
    """Mean score of given images by their own patches; minus infinity for a detector without a memory bank.

    The rule `normal` goes no lower while scores are so few that their own deviation says little: two scores lie so near
    to each other by chance that a third of the good test images were over their threshold. With more of them
    `prediction_bound` is the lower one of the two, and takes over.
    """
    from components.detectors.placement import bank_detector_of

    network = bank_detector_of(model)
    if network is None:
        return -math.inf
    reference, preprocessing = ImageSet(sources.reference), sources.preprocessing
    given = reference.tensor(reference.ids("train", "good")[:_MOST_OWN]).to(device())
    with torch.inference_mode():
        scores = [network.own_scores(preprocessing.cut(image)).max() for image in torch.split(given, 1)]
        return float(torch.stack(scores).mean())


def scores_of_one(model: nn.Module, sources: Sources, config: Config) -> tuple[str, list[float]]:
    """The source of a threshold by one given image, and its scores.

    Copies with other brightness or a few pixels' shift score far below any further good image: on four classes, nine
    of ten good test images were over them. A memory bank offers a better comparison: each patch of the image with those
    elsewhere in it. Other detectors are trained without rotations and score the image's quarter turns.
    """
    from components.detectors.placement import bank_detector_of

    if bank_detector_of(model):
        return "own-patches", [own_patches(model, sources)]
    reference, preprocessing = ImageSet(sources.reference), sources.preprocessing
    given = reference.tensor(reference.ids("train", "good")).to(device())
    parts = tuple(part for part in config.parts if part != "rotations")
    if parts != config.parts:
        images = load_training_set(sources, config, parts=parts)
        model = fit(images, config.for_given(images.given), preprocessing)
    content = preprocessing.content_box if preprocessing.padded else None
    copies = torch.cat([moved(given, turn, content) for turn in _QUARTER_TURNS])
    return "turned-copies", predict(model, copies)[0].tolist()


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


def prediction_bound(scores: Sequence[float], rate: float) -> float:
    """What one more draw of the normal distribution of n >= 2 scores is over with a probability of `rate`.

    Student's t counts in that mean and deviation are estimated: 32 deviations for two scores, 4 for five, 2.7 for 16.
    """
    from scipy.stats import t

    spread = stdev(scores) * math.sqrt(1 + 1 / len(scores))
    return mean(scores) + float(t.ppf(1 - rate, len(scores) - 1)) * spread


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


def rate_interval(count: int, rate: float) -> tuple[float, float]:
    """Lowest and highest rate of false alarms, with a confidence of 90 %, over a threshold by n exchangeable scores.

    The rate over the k-th smallest of n scores is distributed as Beta(n + 1 - k, k), whatever the scores' distribution
    (Vovk, 2012). A threshold above all of them, as the rules `normal` and `maximum` give, has the highest one's upper
    bound.
    """
    from scipy.stats import beta

    rank, tail = _conformal_rank(count, rate), (1 - _CONFIDENCE) / 2
    if rank > count:
        return 0.0, float(beta.ppf(_CONFIDENCE, 1, count))
    low, high = beta.ppf([tail, 1 - tail], count + 1 - rank, rank)
    return float(low), float(high)


def _conformal_rank(count: int, rate: float) -> int:
    return count + 1 - math.floor((count + 1) * rate + _ROUNDING)
