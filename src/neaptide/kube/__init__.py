"""A world that is a real cluster: what is known of it, and what is done to it."""
