"""Lines for the tests of a cluster."""

from pathlib import Path
from typing import Any

import yaml


def write_line(folder: Path, name: str, **changes: Any) -> Path:
    """Write a line that asks for a schedule; a value None leaves a key out."""
    content = {
        "name": name,
        "object": "bolt",
        "dataset": {"uri": f"s3://lines/{name}"},
        "schedule": {"cron": "0 0 2 * * *"},
        **changes,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path
