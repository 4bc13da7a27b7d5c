"""Every policy, in order of precedence: of two that want the same object, the earlier one gets it."""

from neaptide.model.protocols import Policy
from neaptide.policies.burst import Burst
from neaptide.policies.consolidation import Consolidation
from neaptide.policies.elastic_offline import ElasticOffline
from neaptide.policies.interference import Interference
from neaptide.policies.interruption import Interruption
from neaptide.policies.protected import Protected
from neaptide.policies.provision import Provision
from neaptide.policies.reclaim import Reclaim
from neaptide.policies.relieve import Relieve
from neaptide.policies.repair import Repair
from neaptide.policies.spot_rescheduler import SpotRescheduler
from neaptide.policies.time_windows import TimeWindows

POLICIES: tuple[Policy, ...] = (
    Reclaim(),
    Burst(),
    Interruption(),
    Repair(),
    Provision(),
    Protected(),
    TimeWindows(),
    ElasticOffline(),
    SpotRescheduler(),
    Consolidation(),
    Relieve(),
    Interference(),
)
