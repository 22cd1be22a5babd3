"""The chart's README and version: every value is described with its default, and nothing else is."""

import json
import re
from typing import Any

import pytest
import yaml

from components import __version__
from tests.charts.helm import CHART

pytestmark = pytest.mark.chart

_ROW = re.compile(r"^\| `(?P<value>[^`]+)` \| (?P<default>.+?) \| (?P<meaning>.+) \|$", re.MULTILINE)
_OPEN = ("lines", "network", "clusterDefaults", "podSecurityContext", "containerSecurityContext", "serving.models")
"""Values that are described as a whole."""


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        whole = name in _OPEN or key in ("resources", "podLabels")
        leaves |= _leaves(value, f"{name}.") if isinstance(value, dict) and value and not whole else {name: value}
    return leaves


def _values() -> dict[str, Any]:
    return _leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def _documented() -> dict[str, str]:
    rows = _ROW.findall((CHART / "README.md").read_text(encoding="utf-8"))
    assert len({row[0] for row in rows}) == len(rows)
    return {name: default for name, default, _ in rows}


def test_every_value_is_documented_and_every_documented_value_exists() -> None:
    assert set(_documented()) == set(_values())


@pytest.mark.parametrize("name", sorted(_values()))
def test_documented_default_is_the_default(name: str) -> None:
    default = _documented()[name]
    if default != "see values.yaml":
        assert yaml.safe_load(default.strip("`")) == _values()[name]


def test_schema_describes_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for name in _values():
        properties = schema
        for key in name.split("."):
            assert properties["additionalProperties"] is False
            properties = properties["properties"][key]


def test_version_is_that_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
