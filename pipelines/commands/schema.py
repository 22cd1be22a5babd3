"""`vigil schema`: the JSON schema of a line."""

import sys


def schema() -> None:
    """Print the JSON schema of a line, with which an editor completes and checks its YAML."""
    from pipelines.lines.schema import schema_text

    sys.stdout.write(schema_text())
