"""Numbers of today's code, kept in files, that a change of its structure must not change."""
