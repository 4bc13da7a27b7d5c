"""What else pods that may run on virtual nodes are marked with; the names that placement reads too are the model's."""

from neaptide.model.virtual_names import INJECTION, TAINT, TYPE, VIRTUAL

__all__ = ["INJECTION", "MODE", "PREFERENCE", "TAINT", "TYPE", "UNIT", "VIRTUAL"]

MODE = "neaptide.io/virtual-nodes"
"""An annotation of a pod: the mode that it wants, whatever the Policy says."""
UNIT = "neaptide.io/virtual-nodes-unit"
"""A label of a pod: its unit, in the mode spread."""
PREFERENCE = 100
