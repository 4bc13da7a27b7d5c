"""What a run looks like: one HTML file that needs nothing else, and pictures."""
