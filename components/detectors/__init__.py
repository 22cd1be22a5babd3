"""Detectors: the table, one file a paper, and the trained detector as an artifact."""
