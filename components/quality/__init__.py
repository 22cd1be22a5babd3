"""Image quality: how near a set comes to the given images, and how much its images differ (paper Table 2, Fig. 2)."""
