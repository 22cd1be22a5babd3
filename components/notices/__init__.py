"""What people are told of a line by a webhook."""
