"""Tests of the augmentation stage."""
