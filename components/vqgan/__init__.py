"""Variance-aware image generator and its fine-tuning loop (paper sections 4.1.2 and 4.2)."""
