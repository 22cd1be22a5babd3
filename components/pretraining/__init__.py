"""Pretraining stage: a base model out of the good images of many lines."""
