"""Measurements: ratios of times taken in one run, on an idle machine."""
