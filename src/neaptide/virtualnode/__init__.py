"""A node that is not a machine: the virtual kubelet and its pod providers."""
