"""Who makes pods: simplified twins of the controller manager's controllers."""
