"""Runs in MLflow: what a stage logs, written live or from a spool after an outage."""
