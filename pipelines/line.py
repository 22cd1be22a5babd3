"""A production line: its YAML, validated to a frozen dataclass, and the pipeline parameters that it stands for."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components import __version__
from components.detectors import DETECTORS, TRAINING_SETS
from components.embedding import CONSE, OPEN_CLIP_PREFIX
from components.errors import InputError, check
from components.ingestion.config import ALL_SHOTS
from components.storage import is_s3
from pipelines.parameters import SECTIONS, SHARED

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "embedded": {"embedder": CONSE, "embedder_weights": "", "generator": {}},
    "standard": {
        "embedder": f"{OPEN_CLIP_PREFIX}ViT-B-32",
        "embedder_weights": "clip-vit-b-32-openai",
        "generator": {"architecture": "f16"},
    },
}
"""What a profile sets; a line may override every value."""

_TOP_LEVEL = {
    "name": str,
    "object": str,
    "seed": int,
    "profile": str,
    "embedder": str,
    "embedder_weights": str,
    "detectors": list,
    "training_sets": list,
    "schedule": dict,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CRON_FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class Line:
    """One production line, every value checked."""

    name: str
    """MLflow experiment, registered model and recurring run."""
    object: str
    """Name of the inspected part, W^o of the paper."""
    profile: str
    """Key of `PROFILES`."""
    seed: int
    """Seed of every random draw."""
    embedder: str
    """`conse`, or `open_clip:ARCHITECTURE`."""
    embedder_weights: str
    """Reference to CLIP weights; empty for `conse`."""
    detectors: tuple[str, ...]
    """Detectors that are trained."""
    training_sets: tuple[str, ...]
    """Training sets that each detector is trained on."""
    configs: Mapping[str, Any]
    """Config of each stage, by the section's name."""
    cron: str
    """Six fields, with seconds; empty when the line has no schedule."""

    def arguments(self) -> dict[str, Any]:
        """Parameters of the training pipeline."""
        parameters = {
            f"{prefix}_{name}": getattr(self.configs[prefix], name)
            for prefix, section in SECTIONS.items()
            for name in section.fields
        }
        parameters |= {name: getattr(self, name) for name in SHARED} | {"line": self.name}
        parameters["prompts_words"] = list(parameters["prompts_words"])
        trials = [{"detector": name, "training_set": added} for name in self.detectors for added in self.training_sets]
        settings = {**parameters, "profile": self.profile, "vigil_version": __version__}
        return {**parameters, "trials": trials, "settings": json.dumps(settings, sort_keys=True)}


def load_line(path: Path) -> Line:
    """Read and check a line's YAML.

    Args:
        path: the file; a relative `dataset.uri` starts at its folder.

    Raises:
        InputError: the file is missing, or a key or a value is wrong.
    """
    if not path.is_file():
        raise InputError(f"line: no file at {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, expected keys such as name, object, dataset")
    try:
        return parse_line(content, path.resolve().parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_line(content: Mapping[str, Any], folder: Path) -> Line:
    """Check the content of a line's YAML.

    Args:
        content: the parsed YAML.
        folder: where a relative `dataset.uri` starts.

    Raises:
        InputError: a key or a value is wrong.
    """
    _check_keys("", content, (*_TOP_LEVEL, *SECTIONS))
    for name in ("name", "object", "dataset"):
        check(name in content, name, None, "a value; the key is missing")
    for name, kind in _TOP_LEVEL.items():
        if name in content:
            _check_type(name, content[name], kind)
    check(bool(_NAME.fullmatch(content["name"])), "name", content["name"], "letters, digits, '.', '_' and '-'")
    profile = content.get("profile", "embedded")
    check(profile in PROFILES, "profile", profile, f"one of {', '.join(PROFILES)}")
    shared = {
        "object": content["object"],
        "seed": content.get("seed", 0),
        "embedder": content.get("embedder", PROFILES[profile]["embedder"]),
        "embedder_weights": content.get("embedder_weights", _default_weights(content, profile)),
    }
    configs = {prefix: _config(prefix, content, shared, profile, folder) for prefix in SECTIONS}
    _check_generator_weights(configs["generator"])
    return Line(
        name=content["name"],
        profile=profile,
        detectors=_chosen("detectors", content, ["patchcore"], tuple(DETECTORS)),
        training_sets=_chosen("training_sets", content, TRAINING_SETS, TRAINING_SETS),
        configs=configs,
        cron=_cron(content.get("schedule", {})),
        **shared,
    )


def _config(prefix: str, content: Mapping[str, Any], shared: Mapping[str, Any], profile: str, folder: Path) -> Any:
    given = content.get(prefix, {})
    _check_type(prefix, given, dict)
    section = SECTIONS[prefix]
    _check_keys(f"{prefix}.", given, tuple(section.fields))
    values = {**PROFILES[profile].get(prefix, {}), **given}
    if prefix == "dataset":
        values = _dataset(values, folder)
    for name, value in values.items():
        default = section.fields[name].default
        _check_type(f"{prefix}.{name}", value, type(default) if name != "uri" else str)
    own = {name: value for name, value in shared.items() if name in section.config.__dataclass_fields__}
    return section.config(**own, **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def _dataset(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    check("uri" in values, "dataset.uri", None, "a value; the key is missing")
    _check_type("dataset.uri", values["uri"], str)
    check(bool(values["uri"]), "dataset.uri", values["uri"], "a folder or s3://BUCKET/PREFIX")
    uri = values["uri"] if is_s3(values["uri"]) else str((folder / values["uri"]).resolve())
    shots = values.get("shots", 1)
    if shots != "all":
        check(type(shots) is int and shots > 0, "dataset.shots", shots, "a positive number, or all")
    return {**values, "uri": uri, "shots": ALL_SHOTS if shots == "all" else shots}


def _default_weights(content: Mapping[str, Any], profile: str) -> str:
    """The profile's weights belong to the profile's embedder only."""
    own = content.get("embedder", PROFILES[profile]["embedder"]) == PROFILES[profile]["embedder"]
    return str(PROFILES[profile]["embedder_weights"]) if own else ""


def _check_generator_weights(config: Any) -> None:
    expected = "the reference to the weights of architecture f16, as PATH#sha256=HEX"
    check(config.architecture != "f16" or bool(config.weights), "generator.weights", config.weights, expected)


def _chosen(name: str, content: Mapping[str, Any], default: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    values = content.get(name, default)
    check(len(values) > 0, name, values, f"some of {', '.join(known)}")
    for value in values:
        check(value in known, name, value, f"some of {', '.join(known)}")
    check(len(set(values)) == len(values), name, values, "each at most once")
    return tuple(values)


def _cron(schedule: Mapping[str, Any]) -> str:
    _check_keys("schedule.", schedule, ("cron",))
    cron = schedule.get("cron", "")
    _check_type("schedule.cron", cron, str)
    check(not cron or len(cron.split()) == _CRON_FIELDS, "schedule.cron", cron, "six fields, the first for seconds")
    return str(cron)


def _check_keys(prefix: str, content: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise InputError(f"{prefix}{key}: unknown key, expected one of {', '.join(known)}{hint}")


def _check_type(name: str, value: Any, kind: type) -> None:
    kind = list if kind is tuple else kind
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{name}: got {value!r} ({type(value).__name__}), expected {kind.__name__}")
