"""Settings of the policy `provision`: the pools that it may buy for. A spec in hand is one that can be used: what cannot raises when it is made."""

from typing import Annotated

from msgspec import Meta, Struct

from neaptide.model.objects import Requirement, Taint
from neaptide.model.problems import FieldError
from neaptide.model.quantity import QuantityError, for_resource
from neaptide.model.selectors import NODE_OPERATORS, TAINT_EFFECTS

NODES = "nodes"
"""In `limits`: how many nodes a pool may have."""

_Seconds = Annotated[float, Meta(ge=0, le=10**6, description="seconds from 0 to 1000000")]
_Percentage = Annotated[float, Meta(ge=0, le=50, description="a number from 0 to 50")]
_Weight = Annotated[int, Meta(ge=1, le=100, description="an integer from 1 to 100")]
_Several = Annotated[int, Meta(ge=1, le=50, description="an integer from 1 to 50")]


class PoolRequirement(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What the nodes of a pool must be, by their labels, as in a Karpenter NodePool.

    Attributes:
        key: a label.
        operator: In, NotIn, Exists, DoesNotExist, Gt or Lt.
        values: for In and NotIn any number, for Gt and Lt one integer.
        min_values: nodes are bought only while so many different values of the label can be had.
    """

    key: str
    operator: str = "In"
    values: tuple[str, ...] = ()
    min_values: _Several = 1

    def requirement(self) -> Requirement:
        """The same as a node selector has it."""
        return Requirement(self.key, self.operator, self.values)


class NodePool(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A kind of nodes that may be bought.

    Attributes:
        name: becomes the node's label `karpenter.sh/nodepool`.
        weight: pools of a higher weight are tried first.
        requirements: what its nodes must be; everything on sale by default.
        labels, taints: what its nodes get.
        startup_taints: what its nodes begin with, and somebody else takes off.
        limits: how much all its nodes together may have, such as `cpu: 1000`, `memory: 4Ti`, `nodes: 50`.
    """

    name: str = "default"
    weight: _Weight = 1
    requirements: Annotated[tuple[PoolRequirement, ...], Meta(max_length=100)] = ()
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    startup_taints: tuple[Taint, ...] = ()
    limits: dict[str, str] = {}

    def amounts(self) -> dict[str, int]:
        """The limits in milli-CPU, bytes and counts. Raises FieldError."""
        found = {}
        for resource, text in self.limits.items():
            try:
                found[resource] = for_resource(resource, text)
            except QuantityError as error:
                raise FieldError(
                    f"pools[{self.name}].limits[{resource}]", text, "a quantity, such as 100 or 4Gi"
                ) from error
        return found


class ProvisionSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When nodes are bought for pods that wait, and which.

    Attributes:
        pools: what may be bought.
        batch_idle_seconds: pods are waited for until none has come for so long,
        batch_max_seconds: but no longer than this.
        start_seconds: a node that was ordered counts as there for so long; then it is given up, and its pods get another.
        reserve_percent: of a node's room, what is left free when it is planned: a scheduler packs otherwise than the plan does.
        node_cost_per_hour: what a node costs besides its price, in US dollars per hour: of two mixes that cost the same, the one of
            fewer nodes is bought.
        nominate: whether pods are told which node is meant for them (`status.nominatedNodeName`), so that the scheduler packs as planned.
        nodes_per_cycle: how many nodes may be bought in one cycle.
    """

    pools: Annotated[tuple[NodePool, ...], Meta(min_length=1, max_length=100)] = (NodePool(),)
    batch_idle_seconds: _Seconds = 1.0
    batch_max_seconds: _Seconds = 10.0
    start_seconds: _Seconds = 900.0
    reserve_percent: _Percentage = 2.0
    node_cost_per_hour: Annotated[float, Meta(ge=0, le=1000, description="US dollars per hour from 0 to 1000")] = 0.002
    nominate: bool = True
    nodes_per_cycle: Annotated[int, Meta(ge=1, le=10_000, description="an integer from 1 to 10000")] = 1000

    def __post_init__(self) -> None:
        """Raises FieldError for pools that cannot be."""
        names = [pool.name for pool in self.pools]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise FieldError("pools[].name", twice, "one pool of a name")
        for pool in self.pools:
            pool.amounts()
            for each in pool.requirements:
                if each.operator not in NODE_OPERATORS:
                    where = f"pools[{pool.name}].requirements[{each.key}].operator"
                    raise FieldError(where, each.operator, "one of " + ", ".join(NODE_OPERATORS))
            for taint in (*pool.taints, *pool.startup_taints):
                if taint.effect not in TAINT_EFFECTS:
                    raise FieldError(
                        f"pools[{pool.name}].taints[{taint.key}].effect", taint.effect, ", ".join(TAINT_EFFECTS)
                    )
