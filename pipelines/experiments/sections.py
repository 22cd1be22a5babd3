"""Settings that experiments have beside those of a line: of what they measure, and of what they compare with."""

from collections.abc import Mapping
from typing import Any

from components.errors import check_keys
from components.quality.config import Config as QualityConfig
from components.vqgan_clip.config import Config as TextGuidedConfig
from pipelines.lines.line import Line, section_config
from pipelines.lines.parameters import Section

SECTIONS: Mapping[str, Section] = {
    "quality": Section(config=QualityConfig),
    "text_guided": Section(config=TextGuidedConfig, wired=("prompt", "architecture", "weights", "codebook_size")),
}
"""Sections of `--set` that no line has; the experiments themselves set what is wired."""

_PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "embedded": {},
    "standard": {"quality": {"inception": "inception", "lpips_backbone": "vgg16"}},
}
"""What a profile sets in them; `--set` overrides every value."""


def section_configs(given: Mapping[str, Mapping[str, Any]], line: Line) -> dict[str, Any]:
    """Config of each of the `SECTIONS`, by its name.

    Args:
        given: values of each section, as YAML has them.
        line: gives the profile and the embedder.

    Raises:
        InputError: a key is unknown, or a value is wrong.
    """
    shared = {"object": line.object, "embedder": line.embedder, "embedder_weights": line.embedder_weights}
    configs = {}
    for name, section in SECTIONS.items():
        own = given.get(name, {})
        check_keys(f"{name}.", own, tuple(section.fields))
        values = {**_PROFILES[line.profile].get(name, {}), **own}
        configs[name] = section_config(name, section, values, shared)
    return configs
