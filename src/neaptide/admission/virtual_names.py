"""What else pods that may run on virtual nodes are marked with; the names that placement reads too are the model's."""

from neaptide.model.virtual_names import INJECTION, MODE, TAINT, TYPE, VIRTUAL

__all__ = ["INJECTION", "MODE", "PREFERENCE", "TAINT", "TYPE", "UNIT", "VIRTUAL"]

UNIT = "neaptide.io/virtual-nodes-unit"
"""A label of a pod: its unit, in the mode spread."""
PREFERENCE = 100
