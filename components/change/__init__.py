"""What has changed in the look of good images, and whether it calls for training again."""
