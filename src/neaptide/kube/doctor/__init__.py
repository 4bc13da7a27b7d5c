"""What a cluster has, lacks and risks, in plain words with the fix."""
