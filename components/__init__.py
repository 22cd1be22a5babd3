"""The science of VIGIL, one folder per pipeline stage, and what the stages share."""

__version__ = "0.1.0"
