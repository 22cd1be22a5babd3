"""What a user asks of an experiment, as texts of the command line, and the study that it stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from components.errors import InputError, check, unknown_key
from components.storage.addresses import absolute, address
from pipelines.experiments.study import Study
from pipelines.lines.line import Line, parse_line
from pipelines.lines.stages import STAGES, Stage, with_new_keys

SECTIONS: Mapping[str, Stage] = {name: STAGES[name] for name in ("quality", "vqgan_clip")}
"""Sections of `--set` that no line has: of what experiments measure, and of what they compare with."""
NEEDS_THRESHOLDS = ("proxy",)
"""Experiments whose tables show false alarms, or the scores of held-out images."""
_PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "embedded": {},
    "standard": {"quality": {"inception": "inception", "lpips_backbone": "vgg16"}},
}
"""What a profile sets in them; `--set` overrides every value."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of `vigil experiment` that say what is run; several values of one are separated by commas."""

    name: str
    """Key of `pipelines.experiments.catalogue.EXPERIMENTS`."""
    data: str
    """Folder, or `s3://BUCKET/PREFIX`, below which the classes are."""
    classes: Sequence[str]
    """Paths of classes below it."""
    shots: str = "1"
    """Numbers of given images, or `all`."""
    seeds: str = "0,1,2,3,4"
    detectors: str = "patchcore"
    copies: str = "1,10,20,30,50,100"
    """Numbers of generated images that Table 3 compares."""
    profile: str = "embedded"
    layout: str = "mvtec"
    objects: Sequence[str] = ()
    """`CLASS=NAME` where the object's name is not the class's."""
    extra: Sequence[str] = ()
    """`NAME=ROOT`: further images of each class for Table 1."""
    thresholds: bool = False
    """Whether detectors get thresholds, which cost the training of every fold; those of `NEEDS_THRESHOLDS` always."""
    settings: Sequence[str] = ()
    """`SECTION.FIELD=VALUE`, as in a line's YAML; `quality` and `vqgan_clip` are sections of experiments alone."""

    @property
    def line(self) -> Line:
        """Settings of all stages; raises `InputError` where one is unknown or wrong."""
        content: dict[str, Any] = {
            "name": self.name,
            "object": "part",
            "profile": self.profile,
            "detectors": _split(self.detectors),
            "dataset": {"uri": self.data, "layout": self.layout},
        }
        for section, values in self._given.items():
            if section not in SECTIONS:
                own = content.setdefault(section, {})
                check(isinstance(own, dict), "--set", section, "a section of a line, quality or vqgan_clip")
                own.update(values)
        return parse_line(content, Path.cwd())

    def study(self, *, for_cluster: bool) -> Study:
        """The study; raises `InputError` where an option is wrong, or a class is missing.

        The tasks of a cluster take the digests of the data themselves; addresses stand for them then.
        """
        from components.listing.opened import count_images, dataset_digest

        line, paths = self.line, [path.strip("/") for path in _split(",".join(self.classes))]
        folders = {path: path.rpartition("/")[2] for path in paths}
        check(bool(folders), "--classes", self.classes, "at least one folder below --data")
        named = dict(_pair("--object", text) for text in self.objects)
        for name in named:
            check(name in folders.values(), "--object", name, f"one of {', '.join(folders.values())}")
        extra = [_pair("--extra", text) for text in self.extra]
        return Study(
            line=line,
            **_section_configs(self._given, line),
            root=line.configs["dataset"].uri,
            classes={path: named.get(folder, folder.replace("_", " ")) for path, folder in folders.items()},
            shots=[0 if text == "all" else _number("--shots", text) for text in _split(self.shots)],
            seeds=[_number("--seeds", text, least=0) for text in _split(self.seeds)],
            copies=[_number("--copies", text) for text in _split(self.copies)],
            extra={name: absolute(address(root, "--extra"), Path.cwd()) for name, root in extra},
            thresholds=self.thresholds or self.name in NEEDS_THRESHOLDS,
            digest=(lambda uri, _layout: uri) if for_cluster else cache(dataset_digest),
            count=(lambda *_: None) if for_cluster else cache(count_images),
        )

    def summary(self) -> dict[str, str]:
        """The options by name, for the page."""
        values = {"classes": ", ".join(_split(",".join(self.classes))), "given images": self.shots}
        values |= {name: getattr(self, name) for name in ("seeds", "detectors", "profile", "layout")}
        values["settings"] = ", ".join(self.settings) or "defaults"
        return values | ({"copies": self.copies} if self.name == "table3" else {})

    @cached_property
    def _given(self) -> dict[str, dict[str, Any]]:
        """Values that were set, by section and field."""
        found: dict[str, dict[str, Any]] = {}
        for text in self.settings:
            path, value = _pair("--set", text)
            section, separator, field = path.partition(".")
            check(bool(separator and field), "--set", text, "SECTION.FIELD=VALUE")
            try:
                found.setdefault(section, {})[field] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise InputError(f"--set: got {text!r}, expected a value in YAML") from error
        renamed: dict[str, dict[str, Any]] = with_new_keys(found, "--set ")
        return renamed


def _section_configs(given: Mapping[str, Mapping[str, Any]], line: Line) -> dict[str, Any]:
    """Config of each of the `SECTIONS`: given values over those of the line's profile, and what all stages share."""
    configs, errors = dict[str, Any](), list[str]()
    for name, stage in SECTIONS.items():
        own = given.get(name, {})
        errors += [unknown_key(f"{name}.", key, stage.fields) for key in own if key not in stage.fields]
        values = {**_PROFILES[line.profile].get(name, {}), **own}
        values |= {key: getattr(line, key) for key in ("object", "embedder", "embedder_weights")}
        try:
            configs[name] = stage.config(**{key: values[key] for key in stage.config.model_fields if key in values})
        except InputError as error:
            errors += error.args
    if errors:
        raise InputError(*errors)
    return configs


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    check(bool(name and separator and value), option, text, "NAME=VALUE")
    return name, value


def _number(option: str, text: str, least: int = 1) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{option}: got {text!r}, expected whole numbers from {least} on, separated by commas")
    return int(text)
