"""What one node does for itself while it runs: usage read from its control groups, `noderules` asked, settings written and undone."""
