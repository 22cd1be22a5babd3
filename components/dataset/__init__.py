"""Reads a class folder in a known layout, draws the shots, and writes the reference image set."""
