"""What is done to a camera's image before a detector sees it: bit depth, crop, proportions and tiles."""
