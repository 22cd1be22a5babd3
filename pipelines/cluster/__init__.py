"""Kubeflow Pipelines: submission, recurring runs, and runs that are followed."""
