"""Draws synthetic defects on good images, by which a detector can be validated without real ones."""
