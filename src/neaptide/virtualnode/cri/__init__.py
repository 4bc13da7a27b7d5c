"""CRI, by which a kubelet speaks to containerd: the messages, made from Kubernetes' own proto, and a client."""
