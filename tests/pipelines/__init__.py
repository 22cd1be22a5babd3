"""Tests of the lines, the pipeline and the command line."""
