"""Augmentation of the given normal images (paper section 4.1, input of Eq. 3)."""
