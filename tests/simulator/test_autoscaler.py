"""Nodes bought for pods that wait, and given back when empty."""

from tests.simulator.worlds import GIB, START, job, offering, pool, running, service, template, world

from neaptide.model import objects as o
from neaptide.simulator.autoscaler import SCALE_UP_DELAY, AutoscalerSettings
from neaptide.simulator.machines import CloudSettings
from neaptide.simulator.templates import Scale

QUICK = CloudSettings(provision_seconds=60, provision_spread=0.0)


def test_nodes_are_bought_for_pods_that_wait_and_no_more_than_needed() -> None:
    made = world(buying=True, cloud=QUICK)
    made.add_service(service(replicas=10))
    made.run_until(START + 200)
    assert len(running(made)) == 10
    assert made.machines.sizes == [3]


def test_the_offering_that_is_cheapest_for_what_it_places_is_bought() -> None:
    offerings = (offering("small", cpu=2000, price=0.5), offering("large", cpu=16_000, memory=64 * GIB, price=2.0))
    made = world(pool("general", *offerings), buying=True, cloud=QUICK)
    made.add_service(service(replicas=14))
    made.run_until(START + 200)
    assert [machine.offering.instance_type for machine in made.machines.by_name.values()] == ["large"]
    few = world(pool("general", *offerings), buying=True, cloud=QUICK)
    few.add_service(service(replicas=2))
    few.run_until(START + 200)
    assert [machine.offering.instance_type for machine in few.machines.by_name.values()] == ["small"]


def test_an_unknown_price_is_bought_only_where_nothing_else_helps() -> None:
    offerings = (offering("secret", price=None), offering("known", price=9.0))
    made = world(pool("general", *offerings), buying=True, cloud=QUICK)
    made.add_service(service())
    made.run_until(START + 200)
    assert [machine.offering.instance_type for machine in made.machines.by_name.values()] == ["known"]
    only = world(pool("general", offerings[0]), buying=True, cloud=QUICK)
    only.add_service(service())
    only.run_until(START + 200)
    assert len(running(only)) == 1


def test_taints_and_selectors_decide_which_pool_is_bought() -> None:
    taint = o.Taint(key="team", value="a", effect="NoSchedule")
    made = world(pool("plain"), pool("own", taints=(taint,)), buying=True, cloud=QUICK)
    spec = {
        "tolerations": (o.Toleration(key="team", operator="Exists"),),
        "node_selector": {"karpenter.sh/nodepool": "own"},
    }
    made.add_service(service("picky", template=template(spec=spec)))
    made.run_until(START + 200)
    assert made.machines.sizes == [0, 1]


def test_a_pool_never_grows_beyond_its_maximum_and_never_shrinks_below_its_minimum() -> None:
    made = world(pool(minimum=1, maximum=2), nodes=1, buying=True, cloud=QUICK)
    made.add_service(service(replicas=40, scale=(Scale(600, 0),)))
    made.run_until(START + 500)
    assert (made.machines.sizes, len(running(made))) == ([2], 8)
    made.run_until(START + 3600)
    assert made.machines.sizes == [1]


def test_nothing_is_bought_for_a_pod_before_the_delay_that_it_names_is_over() -> None:
    made = world(buying=True, cloud=QUICK)
    made.add_service(service(template=template(annotations={SCALE_UP_DELAY: "1h"})))
    made.run_until(START + 3590)
    assert made.machines.sizes == [0]
    made.run_until(START + 3800)
    assert len(running(made)) == 1


def test_what_no_offering_holds_buys_nothing() -> None:
    made = world(buying=True, cloud=QUICK)
    made.add_service(service(template=template(cpu="64")))
    made.run_until(START + 3600)
    assert made.ledger.timeline().nodes.max() == 0


def test_more_than_one_pass_may_buy_is_bought_by_the_next() -> None:
    made = world(buying=True, cloud=QUICK, autoscaler=AutoscalerSettings(nodes_per_pass=1))
    made.add_service(service(replicas=60))
    made.run_until(START + 300)
    assert made.machines.sizes == [15]
    assert len(running(made)) == 60


def test_nodes_that_are_coming_are_not_bought_twice() -> None:
    made = world(buying=True, cloud=CloudSettings(provision_seconds=600, provision_spread=0.0))
    made.add_service(service(replicas=4))
    made.run_until(START + 590)
    assert made.machines.sizes == [1]


def test_the_pods_of_daemon_sets_are_reckoned_with_and_do_not_keep_a_node() -> None:
    made = world(buying=True, cloud=QUICK)
    made.add_service(service("agent", kind="DaemonSet", template=template(cpu="500m")))
    made.add_job(job(parallelism=6, completions=6, duration=300.0))
    made.run_until(START + 200)
    assert made.machines.sizes == [2]  # three jobs fit beside the agent
    assert len(running(made, "agent")) == 2
    made.run_until(START + 2400)
    assert made.machines.sizes == [0]
    assert made.ledger.evictions == []
