"""Measures whether the good images of a line still look and score as those that it was trained on."""
