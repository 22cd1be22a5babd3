"""A production line: its YAML, checked, and the pipeline parameters that it stands for."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

from components import __version__
from components.augmentation.config import Config as AugmentationConfig
from components.dataset.config import ALL_SHOTS
from components.dataset.config import Config as DatasetConfig
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.detectors.config import GOOD_IMAGES, NO_THRESHOLD, PARTS, TRAINING_SETS, training_set_parts
from components.detectors.config import Config as DetectionConfig
from components.detectors.table import DETECTORS
from components.errors import InputError, check, unknown_key
from components.evaluation.config import Config as EvaluationConfig
from components.generator.config import UNTRAINED
from components.listing.layouts import LOCO
from components.metrics.records import KIND_METRICS
from components.networks.embedding import CONSE, OPEN_CLIP_PREFIX
from components.prompts.config import Config as PromptsConfig
from components.registration.config import Config as RegistrationConfig
from components.selection.config import Config as SelectionConfig
from components.settings import SEPARATOR, SHARED, Expected, Seed, Settings
from components.storage.addresses import absolute, address
from components.vqgan.config import Config as VqganConfig
from components.weights.fetch import manifest, pinned
from pipelines.lines.cluster import Cluster, cluster_values, parse_cluster
from pipelines.lines.cron import check_cron, spread
from pipelines.lines.stages import STAGES, Stage, with_new_keys

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "embedded": {"embedder": CONSE, "embedder_weights": ""},
    "standard": {
        "embedder": f"{OPEN_CLIP_PREFIX}ViT-B-32",
        "embedder_weights": "clip-vit-b-32-openai",
        "vqgan": {"architecture": "f16", "weights": UNTRAINED},
    },
}
"""What a profile sets; a line may override every value."""
ALL_WEIGHTS = "all"
"""In place of a profile: every entry of the weights manifest."""


def _some_of(name: str, known: Collection[str]) -> tuple[Any, ...]:
    """What a list of known values is checked by: at least one of them, each once."""
    expected = f"some of {', '.join(known)}"
    return _each_once(name, lambda value: check(value in known, name, value, expected), expected, {"enum": [*known]})


def _training_sets() -> tuple[Any, ...]:
    """What a list of training sets is checked by: each has known parts, and comes once."""
    some = "|".join(PARTS[1:])
    pattern = rf"^({PARTS[0]}|({some})(\{SEPARATOR}({some}))*)$"
    expected = f"some of {', '.join(PARTS)}, or several of these joined by {SEPARATOR}"
    return _each_once(
        "training_sets", lambda value: training_set_parts(value, "training_sets"), expected, {"pattern": pattern}
    )


def _each_once(
    name: str, check_value: Callable[[str], object], expected: str, items: dict[str, Any]
) -> tuple[Any, ...]:
    """What a list is checked by: at least one value, each once and as `check_value` and the schema of items have it."""

    def check_values(values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_value(value)
        check(len(set(values)) == len(values), name, list(values), "each at most once")
        return values

    schema: dict[str, Any] = {"items": items, "uniqueItems": True}
    return Field(strict=False, min_length=1, json_schema_extra=schema), Expected(expected), AfterValidator(check_values)


class Schedule(Settings):
    """When a cluster runs a line."""

    section = "schedule"
    cron: Annotated[str, AfterValidator(lambda text: check_cron(text) if text else text)] = ""
    """Six fields, the first for seconds, such as `0 30 2 * * MON-FRI`; empty for no schedule."""
    enabled: bool = True
    """Whether the schedule runs; a disabled one stays on the cluster."""
    jitter: Annotated[int, Field(ge=0, le=1439)] = 0
    """Minutes after the cron's time over which lines start, each at its own second, so that they do not all at once."""

    def start(self, line: str) -> str:
        """The cron by which the cluster starts a line; empty for no schedule."""
        return spread(self.cron, self.jitter, line) if self.cron and self.jitter else self.cron

    @model_validator(mode="after")
    def _can_be_spread(self) -> Self:
        self.start("")
        return self


class Line(Settings):
    """One production line."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"), Expected("letters, digits, '.', '_' and '-'")
    ]
    """MLflow experiment, registered model and recurring run."""
    object: str
    """Name of the inspected part, W^o of the paper."""
    seed: Seed = 0
    """Seed of every random draw."""
    profile: Literal["embedded", "standard"] = "embedded"
    """What stands where the line gives nothing: `embedded` needs no download, `standard` has CLIP and the VQGAN f16."""
    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f and G of the paper. By default the profile's."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`. By default the profile's."""
    detectors: Annotated[tuple[str, ...], *_some_of("detectors", DETECTORS)] = ("patchcore",)
    """Detectors that are trained."""
    training_sets: Annotated[tuple[str, ...], *_training_sets()] = TRAINING_SETS
    """Training sets that each detector is trained on; `rotations+generated` has both parts, `repeated` is a control."""
    dataset: DatasetConfig
    """Which images are given."""
    defect_synthesis: DefectSynthesisConfig = DefectSynthesisConfig()
    """Which synthetic defects the detectors are validated on."""
    prompts: PromptsConfig
    """How prompts are written and ranked."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How the given images are augmented."""
    vqgan: VqganConfig = VqganConfig()
    """The variance-aware VQGAN and its fine-tuning loop."""
    selection: SelectionConfig = SelectionConfig()
    """How a generated set is selected."""
    detection: DetectionConfig = DetectionConfig()
    """How detectors are trained."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How detectors are measured."""
    registration: RegistrationConfig = RegistrationConfig()
    """Which detector is registered, and becomes the champion."""
    schedule: Schedule = Schedule()
    """When a cluster runs the line."""
    cluster: Cluster = Cluster()
    """How the tasks run on Kubernetes."""

    @property
    def configs(self) -> dict[str, Any]:
        """Config of each stage, by the section's name."""
        return {name: getattr(self, name) for name in SECTIONS}

    def arguments(self) -> dict[str, Any]:
        """Parameters of the training pipeline."""
        parameters = {
            stage.parameter(name): getattr(getattr(self, stage.name), name)
            for stage in SECTIONS.values()
            for name in stage.fields
        }
        parameters |= {name: getattr(self, name) for name in SHARED} | {"line": self.name}
        parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
        trials = [{"detector": name, "training_set": added} for name in self.detectors for added in self.training_sets]
        settings = {**parameters, "profile": self.profile, "vigil_version": __version__}
        return {**parameters, "trials": trials, "settings": json.dumps(settings, sort_keys=True)}

    def named_weights(self) -> list[tuple[str, str]]:
        """References to the weights that a run loads, each with the key of the line that gives it."""
        configs = [config for name, config in self.configs.items() if name != "detection"]
        configs += [self.detection.replace(detector=detector) for detector in self.detectors]
        found = (
            (config.key(next((name for name, value in config if value == reference), "weights")), reference)
            for config in configs
            for reference in config.references
        )
        return list(dict.fromkeys(found))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what one section requires of another."""
        errors: list[str] = []
        if self.vqgan.architecture == "f16" and self.vqgan.untrained:
            expected = "the reference to the weights of architecture f16, as PATH#sha256=HEX"
            errors.append(f"vqgan.weights: got {self.vqgan.weights!r}, expected {expected}")
        if self.dataset.layout != LOCO:  # the only data set with logical and structural anomalies
            expected = f"another value, or dataset.layout {LOCO}"
            if self.registration.metric in KIND_METRICS:
                errors.append(f"registration.metric: got {self.registration.metric!r}, expected {expected}")
            if self.evaluation.spro_limit:
                errors.append(f"evaluation.spro_limit: got {self.evaluation.spro_limit!r}, expected {expected}")
        if self.detection.threshold == NO_THRESHOLD:
            errors.append(f"detection.threshold: got {NO_THRESHOLD!r}, expected {GOOD_IMAGES} for a line's detectors")
        for detector in self.detectors:
            try:
                self.detection.replace(detector=detector)  # each may need settings that others do not
            except InputError as error:
                errors += error.args
        if errors:
            raise InputError(*dict.fromkeys(errors))
        return self


SECTIONS: Mapping[str, Stage] = {name: STAGES[name] for name in Line.model_fields if name in STAGES}
"""Stages that have a section in a line's YAML."""


def load_line(path: Path, cluster_defaults: Path | None = None) -> Line:
    """Read and check a line's YAML; a relative `dataset.uri` starts at its folder.

    The cluster defaults are a YAML of the section `cluster` of all lines, which the line's own overrides key by key.
    Raises `InputError` where a file is missing, or keys or values are wrong; all are named.
    """
    content = _read_yaml("line", path, "name, object, dataset")
    defaults = _cluster_defaults(cluster_defaults)
    try:
        return parse_line(content, path.resolve().parent, defaults)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_object(line: Line) -> None:
    """Raise `InputError` where this machine has WordNet, and it does not know the object of a line that needs words."""
    from components.wordnet.words import check_noun

    if not line.prompts.words:
        check_noun(line.object, line.prompts.wordnet)


def load_cluster(cluster_defaults: Path | None) -> Cluster:
    """Task settings where no line gives any; `InputError` where the file is missing or wrong."""
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
    """Read and check all lines of a folder, its `*.yaml` and `*.yml` files, in the order of their names.

    `check_line` raises `InputError` for a line that is not wanted.

    Raises:
        InputError: no folder or no line in it, wrong files (all are named), or two lines of one name.
    """
    check(folder.is_dir(), "lines", str(folder), "a folder of lines")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    check(bool(paths), "lines", str(folder), "a folder with at least one .yaml file")
    lines, errors, same = list[Line](), list[str](), dict[str, list[str]]()
    for path in paths:
        try:
            lines += load_line_or_lines(path, cluster_defaults, check_line)
            same.setdefault(lines[-1].name, []).append(str(path))
        except InputError as error:
            errors.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    errors += [
        f"{' and '.join(found)}: name: got {name!r} more than once, expected different names"
        for name, found in same.items()
        if len(found) > 1
    ]
    if errors:
        raise InputError(*errors)
    return sorted(lines, key=lambda line: line.name)


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
    """Check the content of a line's YAML, whose relative `dataset.uri` starts at a folder.

    Raises:
        InputError: keys or values are wrong; all are named.
    """
    errors: list[str] = []
    content = _pinned(with_new_keys(content))
    values = _known("", content, Line.model_fields, errors)
    values |= _shared(values)
    for name in SECTIONS:
        if name in values or name != "dataset":
            values[name] = _section(name, values, errors)
    if isinstance(dataset := values.get("dataset"), dict):
        uri, shots = dataset.get("uri"), dataset.get("shots", 1)
        if isinstance(uri, str) and uri:
            dataset["uri"] = _address(uri, folder, errors)
        if shots != "all" and (type(shots) is not int or shots < 1):
            errors.append(f"dataset.shots: got {shots!r}, expected a positive number, or all")
            shots = 1
        dataset["shots"] = ALL_SHOTS if shots == "all" else shots
    values["schedule"] = _known("schedule.", values.get("schedule", {}), Schedule.model_fields, errors)
    values["cluster"] = cluster_values(values.get("cluster", {}), cluster_defaults)
    try:
        line = Line(**values)
    except InputError as error:
        errors += error.args
    if errors:
        raise InputError(*dict.fromkeys(errors))
    return line


def profile_weights(profile: str) -> list[str]:
    """References to the weights that a line of a profile loads when it overrides nothing; all entries for `all`."""
    check(profile in (*PROFILES, ALL_WEIGHTS), "profile", profile, f"one of {', '.join((*PROFILES, ALL_WEIGHTS))}")
    if profile == ALL_WEIGHTS:
        return list(manifest())
    values = {"object": "part", "profile": profile}
    values |= _shared(values)
    configs = [stage.config(**_section(name, values, [])) for name, stage in SECTIONS.items() if name != "dataset"]
    return list(dict.fromkeys(reference for config in configs for reference in config.references))


def _pinned(content: Mapping[str, Any]) -> dict[str, Any]:
    """A line's content, with address and digest in place of the names of weights in the user's manifest.

    Parameters of a run, and the names of its kept results, then say which file it was.
    """
    found = dict(content)
    for name, value in content.items():
        if name in SECTIONS and isinstance(value, Mapping):
            found[name] = _pinned(value)
        elif isinstance(value, str) and str(name).endswith(("weights", "perceptual_backbone")):
            found[name] = pinned(value)
    return found


def _known(prefix: str, given: Any, known: Collection[str], errors: list[str]) -> Any:
    """The known keys of a mapping; a message for each other one. What is no mapping is left to the section's check."""
    if not isinstance(given, Mapping):
        return given
    errors += [unknown_key(prefix, key, known) for key in given if key not in known]
    return {key: value for key, value in given.items() if key in known}


def _profile(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The profile that a line names; one without settings where there is no such profile."""
    return PROFILES.get(str(values.get("profile", "embedded")), {})


def _address(uri: str, folder: Path, errors: list[str]) -> str:
    """An address of a data set, a path starting at a folder."""
    try:
        return absolute(address(uri, "dataset.uri"), folder)
    except InputError as error:
        errors += error.args
        return str(folder)


def _shared(values: Mapping[str, Any]) -> dict[str, Any]:
    """Embedder and its weights; the profile's weights belong to the profile's embedder only."""
    default = _profile(values).get("embedder", CONSE)
    embedder = values.get("embedder", default)
    weights = _profile(values).get("embedder_weights", "") if embedder == default else ""
    return {"embedder": embedder, "embedder_weights": values.get("embedder_weights", weights)}


def _section(name: str, values: Mapping[str, Any], errors: list[str]) -> Any:
    """A section's values: its own, the profile's, and those that all stages share.

    A section with another architecture than the profile's takes nothing of the profile.
    """
    stage = SECTIONS[name]
    own = _known(f"{name}.", values.get(name, {}), stage.fields, errors)
    if not isinstance(own, Mapping):
        return own
    profile = _profile(values).get(name, {})
    if own.get("architecture", profile.get("architecture")) != profile.get("architecture"):
        profile = {}
    shared = {key: values[key] for key in SHARED if key in values and key in stage.config.model_fields}
    return {**shared, **profile, **own}
