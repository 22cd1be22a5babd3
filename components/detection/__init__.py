"""Trains anomaly detectors on the given and the additional images."""
