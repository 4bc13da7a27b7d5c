"""What pods and nodes were measured to use, from whichever source a cluster has."""
