"""VQGAN-CLIP stage: images painted by a prompt alone (paper Table 1)."""
