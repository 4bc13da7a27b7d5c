"""A real Kubernetes control plane on this machine, without containers or root, with as many nodes played by kwok as wanted."""
