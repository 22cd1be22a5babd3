"""The stages of a run with the training sets `none` and `generated`, as they are named in logs and MLflow."""

STAGES = {
    "fingerprint",
    "dataset",
    "prompts",
    "augmentation",
    "vqgan",
    "selection",
    "detection patchcore/none",
    "detection patchcore/generated",
    "evaluation",
    "registration",
    "reporting",
    "conclusion",
}
