"""The VQGAN: network, losses, checkpoints, and the base model that ships."""
