"""How the container images are built, and an engine to build them with."""
