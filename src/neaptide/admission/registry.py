"""Every rule, in the order in which a pod passes them."""

from neaptide.admission.colocation import Colocation
from neaptide.admission.pod_defaults import PodDefaults
from neaptide.admission.pools import Pools
from neaptide.admission.protocols import Rule
from neaptide.admission.virtual_nodes import VirtualNodes

RULES: tuple[Rule, ...] = (Colocation(), PodDefaults(), VirtualNodes(), Pools())
