"""Which pretrained weights a line or a profile needs: one table, by the section of a line."""

from collections.abc import Mapping
from typing import Any

from components.errors import check
from components.settings import SHARED
from components.weights.fetch import manifest
from pipelines.lines.line import PROFILES, Line
from pipelines.lines.parameters import SECTIONS

ALL = "all"
"""Every entry of the weights manifest."""

_LOADING = ("prompts", "generator", "selection", "detection")
"""Sections of a line whose stages load weights."""


def line_weights(line: Line) -> list[str]:
    """References to the weights that a line's run loads."""
    return list(dict.fromkeys(reference for _, reference in named_line_weights(line)))


def named_line_weights(line: Line) -> list[tuple[str, str]]:
    """References to the weights that a line's run loads, each with the key of the line that gives it."""
    detectors = [line.configs["detection"].replace(detector=detector) for detector in line.detectors]
    configs = {**{prefix: [line.configs[prefix]] for prefix in _LOADING}, "detection": detectors}
    found = [
        (_key(prefix, config, reference), reference)
        for prefix in _LOADING
        for config in configs[prefix]
        for reference in config.references
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
    configs = [_config(prefix, {**shared, **values.get(prefix, {})}) for prefix in _LOADING]
    return list(dict.fromkeys(reference for config in configs for reference in config.references))


def _config(prefix: str, values: Mapping[str, Any]) -> Any:
    config = SECTIONS[prefix].config
    return config(**{name: value for name, value in values.items() if name in config.model_fields})
