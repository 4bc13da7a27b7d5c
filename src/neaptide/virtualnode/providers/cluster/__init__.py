"""The pod provider `cluster`: another Kubernetes cluster as capacity."""
