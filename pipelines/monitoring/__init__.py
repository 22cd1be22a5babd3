"""Watching over lines: metrics for Prometheus, and notices about runs that nobody has heard of."""
