"""GPU sharing: which node a pod that asks for GPUs goes to, and which of its devices it gets."""
