"""What one node does for itself: readings in, settings and evictions out, each with its reason. Pure, standard library only."""
