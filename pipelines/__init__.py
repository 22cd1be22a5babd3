"""Production lines, the training pipeline, and the command line."""
