"""The names by which virtual nodes, and the pods that may run on them, are known: ACK's and virtual-kubelet's."""

INJECTION = "virtual-node-affinity-injection"
"""A label of namespaces and of pods: `enabled` opts in; on a pod, `disabled` opts out."""
MODE, VIRTUAL_ONLY = "neaptide.io/virtual-nodes", "virtual-only"
"""An annotation of a pod: the mode that it wants, whatever a Policy says; and the one mode that leaves it no real node."""
TAINT = "virtual-kubelet.io/provider"
TYPE, VIRTUAL = "type", "virtual-kubelet"
"""The label that every virtual node has, and its value."""
