"""Settings of the policy `burst`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.model.problems import FieldError
from neaptide.pricing.tariff import Tariff
from neaptide.pricing.tariff_files import shipped

NAME = "burst"

_Seconds = Annotated[float, Meta(ge=0, le=10**7, description="seconds from 0 to 10000000")]
_Money = Annotated[float, Meta(ge=0, le=10**6, description="US dollars from 0 to 1000000")]
_Count = Annotated[int, Meta(ge=0, le=10**6, description="an integer from 0 to 1000000")]


class BurstBudget(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What namespaces may spend on virtual nodes, each of them for itself.

    Attributes:
        namespaces: names; none means every namespace that no budget before names.
        per_day, per_month: US dollars, by UTC; None for no limit.
        concurrent: pods on virtual nodes at once; None for no limit.
        when_spent: Queue lets pods wait for real nodes; Stop also evicts those that run and would be started again.
    """

    namespaces: tuple[str, ...] = ()
    per_day: _Money | None = None
    per_month: _Money | None = None
    concurrent: _Count | None = None
    when_spent: Literal["Queue", "Stop"] = "Queue"


class BurstSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When a pod that waits goes to a virtual node, and when it comes home.

    Attributes:
        tariff: sizes and prices of virtual nodes: eci or fargate.
        price_per_vcpu_hour, price_per_gib_hour: in place of the tariff's, in US dollars.
        spot: whether virtual capacity is bought on the spot market.
        waiting_cost_per_hour: what an hour's wait of a pod is worth, in US dollars: above it a real node is waited for.
        virtual_start_seconds: from the decision to the container.
        node_start_seconds: from a purchase to a node that takes pods; None where nobody buys nodes.
        node_idle_seconds: so long a node that was bought stays empty before it is given back.
        default_run_seconds: of a pod whose owner's run times are not known.
        grace_seconds: so long a pod waits at least, in which the scheduler may place it.
        deadline_seconds: a pod that would not have ended by then, counted from its creation, bursts whatever it costs; None for never.
        services: whether pods that run until they are stopped burst, too. The label neaptide.io/burst asks for it pod by pod.
        budgets: of namespaces; the first that is about one counts.
        come_home: whether pods are moved to real nodes.
        home_stable_seconds: so long a real node must have had room for a pod before it comes home.
        per_cycle: decisions of each kind in one cycle.
    """

    tariff: Literal["eci", "fargate"] = "eci"
    price_per_vcpu_hour: _Money | None = None
    price_per_gib_hour: _Money | None = None
    spot: bool = False
    waiting_cost_per_hour: _Money = 1.0
    virtual_start_seconds: _Seconds = 30.0
    node_start_seconds: _Seconds | None = 150.0
    node_idle_seconds: _Seconds = 600.0
    default_run_seconds: _Seconds = 3600.0
    grace_seconds: _Seconds = 5.0
    deadline_seconds: _Seconds | None = None
    services: bool = False
    budgets: tuple[BurstBudget, ...] = ()
    come_home: bool = True
    home_stable_seconds: _Seconds = 300.0
    per_cycle: _Count = 100

    def __post_init__(self) -> None:
        """Raises FieldError where only one of the two prices is given."""
        if (self.price_per_vcpu_hour is None) != (self.price_per_gib_hour is None):
            given = self.price_per_vcpu_hour if self.price_per_gib_hour is None else self.price_per_gib_hour
            raise FieldError("pricePerVcpuHour", given, "both prices, of a vCPU-hour and of a GiB-hour, or neither")

    def prices(self) -> Tariff:
        """The tariff, with the prices that were given in place of its own."""
        found = shipped(self.tariff)
        if self.price_per_vcpu_hour is None or self.price_per_gib_hour is None:
            return found
        return found.with_prices(self.price_per_vcpu_hour, self.price_per_gib_hour)

    def budget_of(self, namespace: str) -> BurstBudget:
        """The budget that counts for a namespace; one without limits where there is none."""
        return next((each for each in self.budgets if not each.namespaces or namespace in each.namespaces), _UNLIMITED)


_UNLIMITED = BurstBudget()
