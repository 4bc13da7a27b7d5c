"""The pod provider `containerd`: pods in real containers, on a pool of hosts apart from the cluster."""
