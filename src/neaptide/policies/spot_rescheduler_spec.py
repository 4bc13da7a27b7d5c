"""Settings of the policy `spot-rescheduler`, and what it remembers. A spec in hand is one that can be used."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from neaptide.model.objects import LabelSelector
from neaptide.model.problems import FieldError

NAME = "spot-rescheduler"
CLASSIC_LABELS = {"on demand": "kubernetes.io/role=worker", "spot": "kubernetes.io/role=spot-worker"}
"""What the k8s-spot-rescheduler takes where it is told nothing."""
_FORM = "'<label_name>' or '<label_name>=<label_value>'"

_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
_Pools = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]
_Count = Annotated[int, Meta(ge=1, le=10**6, description="an integer from 1 to 1000000")]
_Money = Annotated[float, Meta(ge=0, le=10**6, description="US dollars per hour from 0 to 1000000")]
_Label = Annotated[str, Meta(max_length=400)]


class SpotReschedulerSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Moves pods from on-demand nodes to spot nodes. The first seven are the flags of the k8s-spot-rescheduler.

    Attributes:
        on_demand_node_label, spot_node_label: `key` or `key=value`; in the profile classic kubernetes.io/role=worker and
            kubernetes.io/role=spot-worker by default, else what capacity type the nodes' labels state.
        housekeeping_interval_seconds: at least so long from one pass to the next; 0: a pass in every cycle.
        node_drain_delay_seconds: classic: a pause after a drain, however it ended; default: before a node whose drain failed is tried again.
        pod_eviction_timeout_seconds: for how long evictions are tried again before a drain is given up; None: 120 (classic), 3600.
        max_graceful_termination_seconds: the grace period of each eviction; None: 120 (classic), each pod's own.
        delete_non_replicated_pods: evict pods, too, that no controller would start again.
        profile: `classic` decides as the k8s-spot-rescheduler does; what follows is for `default` only.
        goal: Release empties whole nodes so that they can go; Relieve takes off what fits elsewhere.
        on_demand_nodes, spot_nodes: selectors in place of the labels.
        prefer_spot: a soft taint on on-demand nodes, so that new pods prefer spot ones.
        nodes_per_pass: how many nodes are being drained at once.
        evictions_per_pass: how many pods leave at once.
        minimum_gain_per_eviction: US dollars per hour that leaving a node must save for each pod that moves.
        minimum_stay_seconds: a pod that started less than this ago is not moved.
        return_after_seconds: after an interruption, its workloads stay away from spot and its capacity pool is avoided so long.
        hold_seconds: a drained node is kept empty so long, for whoever owns it to take it away.
        interruption_rates: by instance type, the share of spot nodes that is interrupted in a month, where nodes do not state it.
        max_pool_share: of a workload's pods, so many at most come to one capacity pool (instance type and zone).
        minimum_on_demand_share: of every workload's pods, so many stay on on-demand nodes.
        never: pods that must not be moved to spot nodes.
        single_replicas: `Wait` leaves a service with one ready pod where it is, `Surge` starts a twin ahead, `Move` moves it all the same.
        pause_priority: pods of this priority or below make room, and wait for none.
        pending_patience_seconds: pods that found no place for longer no longer keep nodes from being drained.
    """

    on_demand_node_label: _Label = ""
    spot_node_label: _Label = ""
    housekeeping_interval_seconds: _Seconds = 0.0
    node_drain_delay_seconds: _Seconds = 600.0
    pod_eviction_timeout_seconds: _Seconds | None = None
    max_graceful_termination_seconds: _Seconds | None = None
    delete_non_replicated_pods: bool = False
    profile: Literal["default", "classic"] = "default"
    goal: Literal["Release", "Relieve"] = "Release"
    on_demand_nodes: LabelSelector | None = None
    spot_nodes: LabelSelector | None = None
    prefer_spot: bool = True
    nodes_per_pass: _Count = 3
    evictions_per_pass: _Count = 30
    minimum_gain_per_eviction: _Money = 0.001
    minimum_stay_seconds: _Seconds = 900.0
    return_after_seconds: _Seconds = 1800.0
    hold_seconds: _Seconds = 900.0
    interruption_rates: dict[str, _Share] = {}
    max_pool_share: _Pools = 0.5
    minimum_on_demand_share: _Share = 0.0
    never: LabelSelector | None = None
    single_replicas: Literal["Wait", "Surge", "Move"] = "Wait"
    pause_priority: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = -10
    pending_patience_seconds: _Seconds = 600.0

    def __post_init__(self) -> None:
        """Raises FieldError for a label that is not of the form that is accepted."""
        for name, label in (("onDemandNodeLabel", self.on_demand_node_label), ("spotNodeLabel", self.spot_node_label)):
            if label.count("=") > 1:
                raise FieldError(name, label, _FORM)

    @property
    def timeout(self) -> float:
        """For how long a drain's evictions are tried again, in seconds."""
        if self.pod_eviction_timeout_seconds is not None:
            return self.pod_eviction_timeout_seconds
        return 120.0 if self.profile == "classic" else 3600.0

    @property
    def grace(self) -> float | None:
        """The grace period of evictions, in seconds; None for each pod's own."""
        if self.max_graceful_termination_seconds is not None:
            return self.max_graceful_termination_seconds
        return 120.0 if self.profile == "classic" else None


class SpotReschedulerMemory(Struct):
    """What is remembered; times are seconds since the epoch.

    Attributes:
        passed: when the latest pass was.
        resume: classic: nothing is drained before.
        failed: by node, when its drain failed.
        emptied: by node, since when it has been drained.
        fell_back: by workload, when spot nodes under its pods were interrupted.
        avoided: by capacity pool, when a node of it was interrupted.
        surged: by workload, when a twin of its only pod was started.
    """

    passed: float | None = None
    resume: float = 0.0
    failed: dict[str, float] = field(default_factory=dict)
    emptied: dict[str, float] = field(default_factory=dict)
    fell_back: dict[str, float] = field(default_factory=dict)
    avoided: dict[str, float] = field(default_factory=dict)
    surged: dict[str, float] = field(default_factory=dict)


def label_problem(kind: str, label: str) -> str | None:
    """The k8s-spot-rescheduler's sentence on a label (`kind` is `on demand` or `spot`) that is not of its form; None for one that is."""
    if label.count("=") <= 1:
        return None
    return f"the {kind} node label is not correctly formatted: expected {_FORM}, but got {label}"
