"""Which skips NO_SKIP=1 allows: none but of what a sandbox forbids and no package can mend."""

MACHINE_CANNOT = "this machine cannot"
"""How the reason of such a skip begins; it is listed like any other."""
