"""Runs on this machine, in processes or in containers."""
