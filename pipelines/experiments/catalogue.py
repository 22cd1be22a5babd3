"""Which cells each table and figure of the paper consists of, and the experiments that the paper has not."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

from components.artifacts import PROMPT_KINDS
from components.augmentation.config import AUTO
from components.dataset.config import COVERAGE
from components.detectors.scoring import IMAGE_SCORES
from components.errors import check
from components.tabulation.descriptions import OURS
from pipelines.experiments.nodes import Cell, Node
from pipelines.experiments.study import Group, Study

_PROMPT_METHODS = {"best": OURS, "worst": "worst prompt", "word": "only word", "naive": "naive prompt"}
_MEANS, _WEIGHTS = ("values", "images"), (0.1, 1.0, 10.0)
"""What n of Eq. 6 counts, and factors on L_mse."""
_PARTS: Mapping[str, Mapping[str, str]] = {
    OURS: {"covariance": "independent", "decode": "plain"},
    "generated, low rank": {"covariance": "lowrank", "decode": "plain"},
    "generated, low rank and residual": {"covariance": "lowrank", "decode": "residual"},
}
"""Ways to sample and decode the generated set, the paper's first."""
_LAYOUTS = {"fig6": "btad", "fig7": "loco"}


def cells(name: str, study: Study) -> list[Cell]:
    """The cells of an experiment; raises `InputError` for an unknown one, and for data of another layout than its."""
    check(name in EXPERIMENTS, "experiment", name, f"one of {', '.join(EXPERIMENTS)}")
    if name in _LAYOUTS:
        layout = study.line.configs["dataset"].layout
        check(layout == _LAYOUTS[name], "--layout", layout, f"{_LAYOUTS[name]!r}, which {name} is about")
    return [cell for group in study.groups() for cell in EXPERIMENTS[name](group)]


def _ours(group: Group) -> Node:
    return group.selected(group.candidates())


def _compared(group: Group) -> Iterator[Cell]:
    """The baselines and the generated set: Fig. 5, 6 and 7."""
    yield group.baselines()
    yield group.generated(_ours(group), OURS)


def table1(group: Group) -> Iterator[Cell]:
    """Kinds of added images: augmented, of other sources, from text alone, and the generated set."""
    yield group.baselines()
    yield group.cell(group.augmented, "pictures", "augmented")
    for name in group.study.extra:
        yield from _with_pictures(group, group.further(name), name)
    for kind in ("word", "naive", "best"):
        method = f"VQGAN-CLIP ({_PROMPT_METHODS[kind] if kind != 'best' else 'best prompt'})"
        yield from _with_pictures(group, group.from_text(kind), method)
    count = group.study.vqgan_clip.images
    if count != (group.config("selection").images or group.config("vqgan").images):
        candidates = group.candidates(images=max(count, group.config("vqgan").images))
        yield from _with_pictures(group, group.selected(candidates, images=count), f"{OURS}, as many as VQGAN-CLIP")
    yield from _with_pictures(group, _ours(group), OURS)


def _with_pictures(group: Group, images: Node, method: str) -> Iterator[Cell]:
    """Detectors on an image set, and the set itself, by which its images are counted too."""
    yield group.generated(images, method)
    yield group.cell(images, "pictures", method)


def table2(group: Group) -> Iterator[Cell]:
    """Image quality and gain by the prompt that selects the set."""
    candidates = group.candidates()
    yield group.quality(group.augmented, "augmented")
    for kind in PROMPT_KINDS:
        yield group.quality(group.selected(candidates, prompt=kind), _PROMPT_METHODS[kind])
        yield group.generated(group.selected(candidates, prompt=kind), _PROMPT_METHODS[kind])
    yield group.baselines()


def table3(group: Group) -> Iterator[Cell]:
    """Ablations: without text, numbers of generated images, without variance."""
    images = group.config("vqgan").images
    candidates = group.candidates(images=max(images, *group.study.copies))
    yield group.baselines()
    yield group.generated(group.selected(candidates, images=images, rule="last"), "without text")
    yield group.generated(group.selected(candidates, images=images), OURS)
    for copies in group.study.copies:
        yield group.generated(
            group.selected(candidates, images=copies), f"{copies} {'copy' if copies == 1 else 'copies'}"
        )
    plain = group.candidates(images=max(images, *group.study.copies), variance="unit")
    yield group.generated(group.selected(plain, images=images), "without variance")


def fig2(group: Group) -> Iterator[Cell]:
    """Gain, similarity and variance by iteration."""
    yield group.baselines()
    candidates = group.candidates()
    for iteration in range(group.config("vqgan").iterations):
        chosen = group.selected(candidates, rule="fixed", iteration=iteration)
        yield group.generated(chosen, f"iteration {iteration}")
        yield group.quality(chosen, f"iteration {iteration}")
    yield group.quality(group.augmented, "augmented")


def fig8(group: Group) -> Iterator[Cell]:
    """Prompts, and the sets that the best and the worst one select."""
    yield group.cell(group.prompts, "prompts", "prompts")
    candidates = group.candidates()
    for kind in ("best", "worst"):
        yield group.cell(group.selected(candidates, prompt=kind), "pictures", _PROMPT_METHODS[kind])
        yield group.generated(group.selected(candidates, prompt=kind), _PROMPT_METHODS[kind])
    yield group.baselines()


def fig9(group: Group) -> Iterator[Cell]:
    """Similarity of the sets to the prompt over the iterations."""
    yield group.cell(_ours(group), "trend", OURS)
    yield from _compared(group)


def fig10(group: Group) -> Iterator[Cell]:
    """Sampling with the estimated variance, and with a variance of 1."""
    yield group.baselines()
    for method, variance in {OURS: "estimated", "without variance": "unit"}.items():
        selected = group.selected(group.candidates(variance=variance))
        yield group.generated(selected, method)
        yield group.quality(selected, method)
        yield group.cell(selected, "pictures", method)


def eq6(group: Group) -> Iterator[Cell]:
    """L_mse of Eq. 6 by both readings of its n, from none of it to ten times the paper's factor."""
    yield group.baselines()
    own = group.config("vqgan")
    yield group.quality(group.augmented, "augmented")
    for mean, weight in ((_MEANS[0], 0.0), *itertools.product(_MEANS, _WEIGHTS)):
        selected = group.selected(group.candidates(mse_mean=mean, mse_weight=weight))
        ours = (mean, weight) == (own.mse_mean, own.mse_weight)
        method = OURS if ours else f"{weight:g} x L_mse over {mean}" if weight else "without L_mse"
        yield group.generated(selected, method)
        yield group.quality(selected, method)


def control(group: Group) -> Iterator[Cell]:
    """What needs no generator: the baselines, up to all good images."""
    yield group.baselines()
    yield group.full()


def gain(group: Group) -> Iterator[Cell]:
    """What each part adds, by both image scores and both ways to take the given images, up to all good images."""
    for choose, score in itertools.product(("random", COVERAGE), IMAGE_SCORES):
        own = dataclasses.replace(group, choose=choose, image_score=score)
        yield own.baselines()
        for method, changes in _PARTS.items():
            yield own.generated(own.selected(own.candidates(**changes)), method)
        auto = dataclasses.replace(own, policy=AUTO)
        yield auto.generated(auto.augmented, "augmented, auto")
        yield auto.generated(auto.selected(auto.candidates(**changes)), f"{method}, auto")
        yield own.full()


def proxy(group: Group) -> Iterator[Cell]:
    """The choice by synthetic defects on held-out good images, beside what the test split says of all candidates."""
    measured = group.validated(_ours(group), OURS)
    yield measured
    yield dataclasses.replace(measured, kind="choice")


EXPERIMENTS: Mapping[str, Callable[[Group], Iterator[Cell]]] = {
    **{build.__name__: build for build in (table1, table2, table3, fig2)},
    **dict.fromkeys(("fig5", "fig6", "fig7"), _compared),
    **{build.__name__: build for build in (fig8, fig9, fig10, proxy, eq6, control, gain)},
}
"""Builds the cells of one class, number of shots and seed, by the experiment's name."""
