"""Compares a line's runs, and lines with each other: statistics, what needs attention, table and page."""
