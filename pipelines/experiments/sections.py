"""Settings that experiments have beside those of a line: of what they measure, and of what they compare with."""

from collections.abc import Mapping
from typing import Any

from components.errors import InputError, unknown_key
from pipelines.lines.line import Line
from pipelines.lines.stages import STAGES, Stage

SECTIONS: Mapping[str, Stage] = {name: STAGES[name] for name in ("quality", "vqgan_clip")}
"""Sections of `--set` that no line has."""

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
        InputError: keys are unknown, or values are wrong; all are named.
    """
    shared = {"object": line.object, "embedder": line.embedder, "embedder_weights": line.embedder_weights}
    configs: dict[str, Any] = {}
    errors: list[str] = []
    for name, stage in SECTIONS.items():
        own = given.get(name, {})
        errors += [unknown_key(f"{name}.", key, stage.fields) for key in own if key not in stage.fields]
        values = {**_PROFILES[line.profile].get(name, {}), **own}
        values |= {key: value for key, value in shared.items() if key in stage.config.model_fields}
        try:
            configs[name] = stage.config(**{key: values[key] for key in stage.config.model_fields if key in values})
        except InputError as error:
            errors += error.args
    if errors:
        raise InputError(*errors)
    return configs
