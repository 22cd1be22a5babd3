"""What is wrong or unusual about a line, its data and its weights, known in seconds, before anything is trained."""
