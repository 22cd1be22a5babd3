"""Tests of the JSON schema of a line: fresh, complete, and as strict as the check of a line."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import pipelines
from components.errors import InputError
from pipelines.lines.line import load_line, parse_line
from pipelines.lines.schema import line_schema, schema_text
from tests.pipelines.vigil import Vigil

EXAMPLES = Path(pipelines.__file__).parent / "examples"
MINIMAL: dict[str, Any] = {"name": "bolts", "object": "bolt", "dataset": {"uri": "images"}}
VALIDATOR = jsonschema.Draft202012Validator(line_schema())


def test_file_of_the_project_is_fresh_and_printed(vigil: Vigil) -> None:
    text = (EXAMPLES / "line.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(), "write it by `vigil schema > pipelines/examples/line.schema.json`"
    done = vigil("schema")
    assert (done.code, json.loads(done.out)) == (0, json.loads(text))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(line_schema())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_example_names_the_schema_and_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=line.schema.json\n")
    VALIDATOR.validate(yaml.safe_load(text))
    load_line(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"uri": "images", "shots": "all", "layout": "btad"}},
        {"cluster": {"task": {"cpu": 2, "memory": "8Gi"}, "vqgan": {"gpu": 1, "tolerations": [{"key": "gpu"}]}}},
        {"schedule": {"cron": "0 0 2 * * *", "enabled": False}, "detectors": ["padim", "patchcore"]},
        {"generator": {"images": 3}, "gate": {"metric": "aupro"}, "cluster": {"generator": {"gpu": 1}}},
        {"vqgan": {"vq_weight": 1, "weights": "none", "codebook_size": 16}, "seed": 7},
    ],
)
def test_line_that_is_read_is_valid(changes: dict[str, Any]) -> None:
    VALIDATOR.validate({**MINIMAL, **changes})
    parse_line({**MINIMAL, **changes}, Path("/lines"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seeds": 1}, ""),
        ({"name": "two words"}, "name"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"profile": "fast"}, "profile"),
        ({"detectors": ["fastflow"]}, "detectors.0"),
        ({"detectors": []}, "detectors"),
        ({"training_sets": ["none", "none"]}, "training_sets"),
        ({"dataset": {"shots": 1}}, "dataset"),
        ({"dataset": {"uri": "x", "shots": 0}}, "dataset.shots"),
        ({"dataset": {"uri": "x", "seed": 1}}, "dataset"),
        ({"dataset": {"uri": "x", "image_size": 100}}, "dataset.image_size"),
        ({"vqgan": {"images": 0}}, "vqgan.images"),
        ({"vqgan": {"center": "middle"}}, "vqgan.center"),
        ({"generator": {"images": 0}}, "generator.images"),
        ({"schedule": {"crom": ""}}, "schedule"),
        ({"cluster": {"task": {"memory": "8 GB"}}}, "cluster.task.memory"),
        ({"cluster": {"vqgan": {"tolerations": [{"effect": "Never"}]}}}, "cluster.vqgan.tolerations.0.effect"),
        ({"cluster": {"labels": {"team": 1}}}, "cluster.labels.team"),
    ],
)
def test_line_that_is_refused_is_not_valid(changes: dict[str, Any], key: str) -> None:
    line = {**MINIMAL, **changes}
    (error,) = VALIDATOR.iter_errors(line)
    assert ".".join(map(str, error.absolute_path)) == key
    with pytest.raises(InputError):
        parse_line(line, Path("/lines"))


def described(schema: dict[str, Any], path: str = "") -> list[str]:
    """Properties of a line without a description."""
    missing = []
    for name, value in schema.get("properties", {}).items():
        missing += [f"{path}{name}"] * ("description" not in value) + described(value, f"{path}{name}.")
    return missing


def test_every_setting_is_described_and_every_section_closed() -> None:
    schema = line_schema()
    assert described(schema) == []
    sections = [value for value in schema["properties"].values() if "properties" in value]
    assert len(sections) == 9
    assert all(section["additionalProperties"] is False for section in (schema, *sections, *schema["$defs"].values()))
    assert all(schema["properties"][name]["deprecated"] for name in ("generator", "gate"))
