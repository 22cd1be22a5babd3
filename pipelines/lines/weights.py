"""Which pretrained weights a line or a profile needs: one table, by the section of a line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.detectors.table import VIT_DETECTORS
from components.errors import check
from components.networks.embedding import CONSE, CONSE_WEIGHTS
from components.weights.fetch import manifest
from pipelines.lines.line import PROFILES, Line
from pipelines.lines.parameters import SECTIONS, SHARED

ALL = "all"
"""Every entry of the weights manifest."""

_PERCEPTUAL = "efficientnet-lite0"


def _embedder(config: Any) -> Iterable[str]:
    return CONSE_WEIGHTS if config.embedder == CONSE else [config.embedder_weights]


def _generator(config: Any) -> Iterable[str]:
    perceptual = config.perceptual_backbone if config.perceptual == "lpips" else _PERCEPTUAL
    return [perceptual] if config.untrained else [perceptual, config.reference]


def _detector(config: Any) -> Iterable[str]:
    vit = config.vit_reference if config.detector in VIT_DETECTORS else config.vit_weights
    return [config.backbone_reference, *(reference for reference in (vit, config.teacher_weights) if reference)]


def _text_guided(config: Any) -> Iterable[str]:
    return [*_embedder(config), *([] if config.generator.untrained else [config.generator.reference])]


def _quality(config: Any) -> Iterable[str]:
    named = [reference for reference in (config.inception, config.lpips_backbone) if reference]
    return [*_embedder(config), _PERCEPTUAL, *named]


WEIGHTS: Mapping[str, Callable[[Any], Iterable[str]]] = {
    "prompts": _embedder,
    "generator": _generator,
    "selection": _embedder,
    "detection": _detector,
}
"""References to the weights that the stages of a section load, by the section's config."""

_OF_EXPERIMENTS: Mapping[str, Callable[[Any], Iterable[str]]] = {"text_guided": _text_guided, "quality": _quality}


def stage_weights(stage: str, config: Any) -> list[str]:
    """References to the weights that a stage loads with a config; none for one that loads none."""
    needs = {**WEIGHTS, **_OF_EXPERIMENTS}.get(stage)
    return list(needs(config)) if needs else []


def line_weights(line: Line) -> list[str]:
    """References to the weights that a line's run loads."""
    return list(dict.fromkeys(reference for _, reference in named_line_weights(line)))


def named_line_weights(line: Line) -> list[tuple[str, str]]:
    """References to the weights that a line's run loads, each with the key of the line that gives it."""
    detectors = [replace(line.configs["detection"], detector=detector) for detector in line.detectors]
    configs = {**{prefix: [line.configs[prefix]] for prefix in WEIGHTS}, "detection": detectors}
    found = [
        (_key(prefix, config, reference), reference)
        for prefix, needs in WEIGHTS.items()
        for config in configs[prefix]
        for reference in needs(config)
    ]
    return list(dict.fromkeys(found))


def _key(prefix: str, config: Any, reference: str) -> str:
    """Key of a line that gives a reference; of the section's weights where the section stands for it by another."""
    given = (name for name, value in vars(config).items() if value == reference)
    name = next(given, "weights")
    return name if name in SHARED else f"{prefix}.{name}"


def profile_weights(profile: str) -> list[str]:
    """References to the weights that a line of a profile loads when it overrides nothing; all entries for `all`.

    Raises:
        InputError: there is no such profile.
    """
    check(profile in (*PROFILES, ALL), "profile", profile, f"one of {', '.join((*PROFILES, ALL))}")
    if profile == ALL:
        return list(manifest())
    values = PROFILES[profile]
    shared = {"object": "part", **{name: values[name] for name in SHARED if name in values}}
    configs = {prefix: [_config(prefix, {**shared, **values.get(prefix, {})})] for prefix in WEIGHTS}
    return _references(configs)


def _config(prefix: str, values: Mapping[str, Any]) -> Any:
    config = SECTIONS[prefix].config
    return config(**{name: value for name, value in values.items() if name in config.__dataclass_fields__})


def _references(configs: Mapping[str, Sequence[Any]]) -> list[str]:
    """References of all configs of each section, each once."""
    found = (name for prefix, needs in WEIGHTS.items() for config in configs[prefix] for name in needs(config))
    return list(dict.fromkeys(found))
