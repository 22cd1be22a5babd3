"""Tests of the stage that draws synthetic defects."""
