"""The scheduler on a real cluster: its watches feed the scheduling cycle, and what that decides is written back."""
