"""Production lines: YAML, pipeline parameters, schedules and task settings."""
