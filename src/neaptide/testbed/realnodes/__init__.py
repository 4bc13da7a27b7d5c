"""Nodes whose pods really run: for each a kubelet, containerd and runc in a mount namespace, with cgroups and a bridge of its own."""
