"""Reads compiled packages."""

from pathlib import Path
from typing import Any

import yaml


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a package, by libyaml: PyYAML's own parser takes over a second for each."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
