"""Serving a line's detector on a cluster by KServe."""
