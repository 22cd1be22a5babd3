"""What surrounds every stage: its image, console lines, summary and provenance."""
