"""Registers the best detector of a run in MLflow."""
