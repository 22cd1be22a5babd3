"""Gathers the figures of an experiment's cells in one table, and draws the paper's table or figure of them."""
