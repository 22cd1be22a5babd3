"""A production line: its YAML, validated to a frozen dataclass, and the pipeline parameters that it stands for."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components import __version__
from components.dataset.config import ALL_SHOTS, LOCO
from components.detectors.config import TRAINING_SETS
from components.detectors.table import DETECTORS
from components.errors import InputError, check, check_keys
from components.generator.config import UNTRAINED
from components.metrics.records import KIND_METRICS
from components.networks.embedding import CONSE, OPEN_CLIP_PREFIX
from components.settings import SHARED
from components.storage.s3 import is_s3
from components.weights.fetch import pinned
from pipelines.lines.cron import check_cron
from pipelines.lines.parameters import SECTIONS, Section
from pipelines.lines.task_settings import Cluster, parse_cluster

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "embedded": {"embedder": CONSE, "embedder_weights": "", "generator": {}},
    "standard": {
        "embedder": f"{OPEN_CLIP_PREFIX}ViT-B-32",
        "embedder_weights": "clip-vit-b-32-openai",
        "generator": {"architecture": "f16", "weights": UNTRAINED},
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
    "cluster": dict,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REFERENCES = (
    *("embedder_weights", "weights", "perceptual_backbone"),
    *("backbone_weights", "vit_weights", "teacher_weights"),
)
"""Fields that refer to weights."""


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
    enabled: bool = True
    """Whether the schedule runs; a disabled one stays on the cluster."""
    cluster: Cluster
    """How the tasks run on Kubernetes."""

    def arguments(self) -> dict[str, Any]:
        """Parameters of the training pipeline."""
        parameters = {
            f"{prefix}_{name}": getattr(self.configs[prefix], name)
            for prefix, section in SECTIONS.items()
            for name in section.fields
        }
        parameters |= {name: getattr(self, name) for name in SHARED} | {"line": self.name}
        parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
        trials = [{"detector": name, "training_set": added} for name in self.detectors for added in self.training_sets]
        settings = {**parameters, "profile": self.profile, "vigil_version": __version__}
        return {**parameters, "trials": trials, "settings": json.dumps(settings, sort_keys=True)}


def load_line(path: Path, cluster_defaults: Path | None = None) -> Line:
    """Read and check a line's YAML.

    Args:
        path: the file; a relative `dataset.uri` starts at its folder.
        cluster_defaults: YAML of the section `cluster` of all lines, which the line's own overrides key by key.

    Raises:
        InputError: a file is missing, or a key or a value is wrong.
    """
    content = _read_yaml("line", path, "name, object, dataset")
    defaults = _cluster_defaults(cluster_defaults)
    try:
        return parse_line(content, path.resolve().parent, defaults)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def load_cluster(cluster_defaults: Path | None) -> Cluster:
    """Task settings where no line gives any.

    Raises:
        InputError: the file is missing, or a key or a value is wrong.
    """
    return parse_cluster({}, _cluster_defaults(cluster_defaults))


def load_line_or_lines(
    path: Path, cluster_defaults: Path | None = None, check_line: Callable[[Line], None] | None = None
) -> list[Line]:
    """The line of a file, or the lines of a folder; see `load_line` and `load_lines`."""
    if path.is_dir():
        return load_lines(path, cluster_defaults, check_line)
    line = load_line(path, cluster_defaults)
    if check_line:
        check_line(line)
    return [line]


def load_lines(
    folder: Path, cluster_defaults: Path | None = None, check_line: Callable[[Line], None] | None = None
) -> list[Line]:
    """Read and check all lines of a folder, its `*.yaml` and `*.yml` files.

    Args:
        folder: the folder; those below it are not looked into.
        cluster_defaults: see `load_line`.
        check_line: raises `InputError` for a line that is not wanted.

    Returns:
        The lines in the order of their names.

    Raises:
        InputError: no folder or no line in it, wrong files (all are named), or two lines of one name.
    """
    check(folder.is_dir(), "lines", str(folder), "a folder of lines")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    check(bool(paths), "lines", str(folder), "a folder with at least one .yaml file")
    lines, errors = dict[Path, Line](), list[str]()
    for path in paths:
        try:
            lines[path] = load_line(path, cluster_defaults)
            if check_line:
                check_line(lines[path])
        except InputError as error:
            errors.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    errors += _same_names(lines)
    if errors:
        raise InputError("; ".join(errors))
    return sorted(lines.values(), key=lambda line: line.name)


def _same_names(lines: Mapping[Path, Line]) -> list[str]:
    paths: dict[str, list[str]] = {}
    for path, line in lines.items():
        paths.setdefault(line.name, []).append(str(path))
    return [
        f"{' and '.join(same)}: name: got {name!r} more than once, expected different names"
        for name, same in paths.items()
        if len(same) > 1
    ]


def _cluster_defaults(path: Path | None) -> dict[str, Any]:
    return _read_yaml("cluster defaults", path, "task, retries") if path else {}


def _read_yaml(what: str, path: Path, examples: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{what}: no file at {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, expected keys such as {examples}")
    return content


def parse_line(content: Mapping[str, Any], folder: Path, cluster_defaults: Mapping[str, Any] | None = None) -> Line:
    """Check the content of a line's YAML.

    Args:
        content: the parsed YAML.
        folder: where a relative `dataset.uri` starts.
        cluster_defaults: section `cluster` of all lines.

    Raises:
        InputError: a key or a value is wrong.
    """
    check_keys("", content, (*_TOP_LEVEL, *SECTIONS))
    content = _pinned(content)
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
    _check_kinds(configs)
    chosen = _chosen("detectors", content, ["patchcore"], tuple(DETECTORS))
    for detector in chosen:
        configs["detection"].replace(detector=detector)  # each may need settings that others do not
    return Line(
        name=content["name"],
        profile=profile,
        detectors=chosen,
        training_sets=_chosen("training_sets", content, TRAINING_SETS, TRAINING_SETS),
        configs=configs,
        **_schedule(content.get("schedule", {})),
        cluster=parse_cluster(content.get("cluster", {}), cluster_defaults),
        **shared,
    )


def _pinned(content: Mapping[str, Any]) -> dict[str, Any]:
    """A line's content, in which weights that the user's manifest names stand by address and digest.

    Parameters of a run, and the names of its kept results, then say which file it was.
    """
    found = dict(content)
    for name, value in content.items():
        if name in SECTIONS and isinstance(value, Mapping):
            found[name] = _pinned(value)
        elif name in _REFERENCES and isinstance(value, str):
            found[name] = pinned(value)
    return found


def _config(prefix: str, content: Mapping[str, Any], shared: Mapping[str, Any], profile: str, folder: Path) -> Any:
    given = content.get(prefix, {})
    _check_type(prefix, given, dict)
    section = SECTIONS[prefix]
    check_keys(f"{prefix}.", given, tuple(section.fields))
    values = {**_profile_values(prefix, given, profile), **given}
    if prefix == "dataset":
        values = _dataset(values, folder)
    return section_config(prefix, section, values, shared)


def section_config(prefix: str, section: Section, values: Mapping[str, Any], shared: Mapping[str, Any]) -> Any:
    """Config of a section.

    Args:
        prefix: the section's name, for messages.
        section: its fields.
        values: those of known fields, as YAML has them.
        shared: values of fields that several sections have; a section takes those that are its own.

    Raises:
        InputError: a value is wrong.
    """
    for name, value in values.items():
        default = section.fields[name].default
        _check_type(f"{prefix}.{name}", value, type(default) if name != "uri" else str)
    own = {name: value for name, value in shared.items() if name in section.config.model_fields}
    return section.config(**own, **{name: _as(section.fields[name].default, value) for name, value in values.items()})


def _profile_values(prefix: str, given: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    """What the profile sets in a section; one with another architecture than the profile's takes nothing of it."""
    values: Mapping[str, Any] = PROFILES[profile].get(prefix, {})
    own = values.get("architecture")
    return values if given.get("architecture", own) == own else {}


def _as(default: Any, value: Any) -> Any:
    """A YAML value as the field has it: a list as a tuple, and 1 as 1.0 where both are meant."""
    if isinstance(value, list):
        return tuple(value)
    return float(value) if type(default) is float else value


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
    check(config.architecture != "f16" or not config.untrained, "generator.weights", config.weights, expected)


def _check_kinds(configs: Mapping[str, Any]) -> None:
    """Only MVTec LOCO AD has what the metrics of logical and structural anomalies are measured on."""
    if configs["dataset"].layout != LOCO:
        expected = f"another value, or dataset.layout {LOCO}"
        metric, limit = configs["gate"].metric, configs["evaluation"].spro_limit
        check(metric not in KIND_METRICS, "gate.metric", metric, expected)
        check(limit == 0, "evaluation.spro_limit", limit, expected)


def _chosen(name: str, content: Mapping[str, Any], default: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    values = content.get(name, default)
    check(len(values) > 0, name, values, f"some of {', '.join(known)}")
    for value in values:
        check(value in known, name, value, f"some of {', '.join(known)}")
    check(len(set(values)) == len(values), name, values, "each at most once")
    return tuple(values)


def _schedule(schedule: Mapping[str, Any]) -> dict[str, Any]:
    check_keys("schedule.", schedule, ("cron", "enabled"))
    cron, enabled = schedule.get("cron", ""), schedule.get("enabled", True)
    _check_type("schedule.cron", cron, str)
    _check_type("schedule.enabled", enabled, bool)
    if cron:
        check_cron(cron)
    return {"cron": " ".join(cron.split()), "enabled": enabled}


def _check_type(name: str, value: Any, kind: type) -> None:
    kind = list if kind is tuple else kind
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{name}: got {value!r} ({type(value).__name__}), expected {kind.__name__}")
