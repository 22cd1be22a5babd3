"""Text-guided knowledge integrator (paper section 4.2, Eq. 4 and 5)."""
