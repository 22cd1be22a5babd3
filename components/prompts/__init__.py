"""Keyword-to-prompt generator (paper section 4.1.1)."""
