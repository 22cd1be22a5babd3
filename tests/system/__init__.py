"""Tests of the whole system against the servers that a plant would run."""
