"""The pipelines, and the packages that they are compiled to."""
