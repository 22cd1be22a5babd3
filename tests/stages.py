"""The stages of a run with the training sets `none` and `generated`, as they are named in logs and MLflow."""

from pipelines.lines.line import SECTIONS

_TRIALS = {"detection patchcore/none", "detection patchcore/generated"}
STAGES = {"fingerprint", *SECTIONS, "reporting", "conclusion"} - {"detection"} | _TRIALS
