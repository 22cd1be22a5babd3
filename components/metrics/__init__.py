"""Figures of detectors: measured, recorded, and compared over seeds."""
