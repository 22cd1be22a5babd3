"""Scores the test images with every detector and measures the results."""
