"""The JSON schema of a line's YAML, with which an editor completes and checks it."""

import json
from typing import Any

from pipelines.lines.line import SECTIONS, Line


def line_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a line: every section with descriptions, bounds, defaults and choices."""
    schema = Line.model_json_schema()
    properties, definitions = schema["properties"], schema.pop("$defs")
    for name, stage in SECTIONS.items():
        section = stage.config.model_json_schema()
        section["properties"] = {field: section["properties"][field] for field in stage.fields}
        section["required"] = [field for field in section.get("required", ()) if field in stage.fields]
        definitions |= section.pop("$defs", {})
        properties[name] = {**section, "description": properties[name]["description"]}
    shots = properties["dataset"]["properties"]["shots"]
    properties["dataset"]["properties"]["shots"] = {
        "anyOf": [{"const": "all"}, {"type": "integer", "minimum": 1}],
        "default": shots["default"],
        "description": "Number of good training images drawn; `all` takes all but the calibration images, and is right "
        "for a line without defects.",
    }
    cluster = definitions["Cluster"]["properties"]
    for stage in SECTIONS.values():
        if stage.former:
            properties[stage.former] = _former(stage.name, f"#/properties/{stage.name}")
    cluster["generator"] = _former("vqgan", "#/$defs/Resources")
    schema["required"] = [name for name in schema["required"] if name != "prompts"]
    removed = {"type": "boolean", "deprecated": True, "description": "Not read: the Secret is always mounted."}
    cluster["s3_secret_mount"] = removed
    used = ("Cluster", "Resources", "Schedule", "Toleration", "Volume")
    schema["$defs"] = {name: definitions[name] for name in used}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A production line of VIGIL"}
    return {**head, **_tidied(schema)}


def schema_text() -> str:
    """The schema as `pipelines/examples/line.schema.json` has it."""
    return json.dumps(line_schema(), indent=2, ensure_ascii=False) + "\n"


def _former(name: str, reference: str) -> dict[str, Any]:
    return {"$ref": reference, "deprecated": True, "description": f"Former name of `{name}`."}


def _tidied(schema: Any) -> Any:
    """The schema without the titles that pydantic makes out of names, and with descriptions of one line."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _tidied(value) for name, value in schema.items() if name != "title"}
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return found
