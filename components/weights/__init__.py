"""Pretrained weights: the manifest, references, downloads by digest, and mirrors."""
