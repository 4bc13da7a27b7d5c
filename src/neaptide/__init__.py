"""Neaptide runs online services and offline jobs on the same Kubernetes nodes, safely, on as little capacity as possible."""

__version__ = "0.1.0"
