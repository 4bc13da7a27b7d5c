"""Nodes that are bought, billed, interrupted, crash and come back."""

import pytest
from msgspec.structs import replace
from tests.simulator.worlds import START, job, offering, pods, pool, running, service, template, world

from neaptide.model.actions import FOR_LABEL
from neaptide.model.cloud import CloudError, Order, OutOfCapacityError, Shortage
from neaptide.model.objects import Taint
from neaptide.pricing.billing import PER_HOUR
from neaptide.simulator.machines import CloudSettings
from neaptide.simulator.world import World


def only_node(made: World) -> str:
    (name,) = made.machines.by_name
    return name


def test_a_bought_node_joins_after_its_provisioning_and_is_paid_for_from_the_start() -> None:
    made = world(nodes=0, cloud=CloudSettings(provision_seconds=100, provision_spread=0.0))
    name = made.machines.buy(made.machines.pools[0].offerings[0])
    made.run_until(START + 99)
    assert made.machines.sizes == [1]
    assert name not in made.cluster.snapshot.nodes.by_name
    made.run_until(START + 101)
    assert made.cluster.snapshot.nodes.ready[made.cluster.snapshot.nodes.by_name[name]]
    made.run_until(START + 1800)
    made.machines.delete(name)
    made.run_until(START + 3600)
    made.close()
    (bill,) = made.ledger.bills
    assert (bill.end - bill.start, bill.dollars) == (1800, 0.5)


def test_a_node_that_is_given_back_before_it_came_never_comes() -> None:
    made = world()
    name = made.machines.buy(made.machines.pools[0].offerings[0])
    made.run_until(START + 30)
    made.machines.delete(name)
    made.run_until(START + 600)
    assert (made.machines.by_name, made.machines.sizes) == ({}, [0])
    assert made.ledger.bills[0].dollars == pytest.approx(60 / 3600)  # a minute at least


def test_an_unknown_price_makes_the_bill_unknown_and_the_hourly_money_too() -> None:
    made = world(pool("general", offering(price=None)), nodes=1)
    made.run_until(START + 120)
    made.close()
    assert [bill.dollars for bill in made.ledger.bills] == [None]
    assert str(made.ledger.timeline().money_per_hour[-1]) == "nan"


def test_billing_follows_its_granularity() -> None:
    made = world(nodes=1, cloud=CloudSettings(billing=PER_HOUR))
    made.run_until(START + 3700)
    made.close()
    assert made.ledger.bills[0].dollars == 2.0


def test_a_spot_node_is_drained_at_its_notice_and_gone_after_it() -> None:
    spot = pool("spot", offering(capacity_type="spot", pool="spot"))
    made = world(pool(), spot, nodes=1, cloud=CloudSettings(notice_seconds=120))
    made.add_nodes(spot.offerings[0], 1)
    made.add_service(service(replicas=5, template=template(cpu="1")))
    made.run_until(START + 60)
    name = next(name for name, machine in made.machines.by_name.items() if machine.offering.capacity_type == "spot")
    assert len(running(made)) == 5
    made.machines.interrupt(name)
    made.run_until(START + 100)
    assert len(running(made)) == 4  # there is room for four
    assert {each.code for each in made.ledger.evictions} == {"SpotInterruption"}
    made.run_until(START + 60 + 120 + 60)
    assert name not in made.cluster.snapshot.nodes.by_name
    (bill,) = made.ledger.bills
    assert bill.end == START + 180


def test_without_a_drain_pods_run_until_the_end_and_offline_work_is_lost() -> None:
    spot = pool("spot", offering(capacity_type="spot", pool="spot"))
    made = world(spot, nodes=1, cloud=CloudSettings(drain_on_notice=False, notice_seconds=120))
    made.add_job(job(duration=1000.0))
    made.run_until(START + 101)
    made.machines.interrupt(only_node(made))
    made.run_until(START + 600)
    made.close()
    assert made.ledger.totals["lost_cpu_seconds"] == pytest.approx(220, abs=2)
    assert made.ledger.totals["offline_cpu_seconds"] == pytest.approx(220, abs=2)
    assert [(record.state, record.succeeded) for record in made.ledger.jobs] == [("Waiting", 0)]


def test_interruptions_come_at_their_rate_and_only_to_spot_nodes() -> None:
    spot = pool("spot", offering(capacity_type="spot", pool="spot"))
    made = world(pool(), spot, nodes=50, cloud=CloudSettings(spot_interruptions_per_hour=0.1))
    made.add_nodes(spot.offerings[0], 400)
    made.run_until(START + 3600)
    left = 400 - made.machines.sizes[1]
    assert 20 < left < 60
    assert made.machines.sizes[0] == 50


def test_a_crashed_node_turns_not_ready_then_its_pods_are_replaced() -> None:
    made = world(nodes=2)
    made.add_service(service(replicas=4))
    made.run_until(START + 60)
    snapshot = made.cluster.snapshot
    victim = snapshot.nodes.names[int(snapshot.pods.node[snapshot.pods.indices()[0]])]
    made.machines.crash(victim)
    row = snapshot.nodes.by_name[victim]
    made.run_until(START + 90)
    assert snapshot.nodes.ready[row]  # nobody has noticed
    assert len(running(made)) == 4
    made.run_until(START + 110)
    assert not snapshot.nodes.ready[row]
    assert running(made) == []
    assert {taint.key for taint in snapshot.node_taints(row)} == {"node.kubernetes.io/unreachable"}
    made.run_until(START + 60 + 340 + 10)
    assert len(running(made)) == 4
    assert {each.code for each in made.ledger.evictions} == {"NodeLost"}
    assert len(pods(made)) == 8  # its kubelet cannot say that the old ones are gone


def test_a_crashed_node_that_comes_back_starts_its_pods_anew() -> None:
    made = world(nodes=1)
    made.add_service(service())
    made.add_job(job(duration=300.0))
    made.run_until(START + 101)
    before = pods(made)
    made.machines.crash(only_node(made), recover_after=200)
    made.run_until(START + 320)
    assert (pods(made), running(made)) == (before, before)
    made.run_until(START + 900)
    made.close()
    assert made.ledger.evictions == []
    assert made.ledger.totals["lost_cpu_seconds"] == pytest.approx(100, abs=2)
    (record,) = made.ledger.jobs
    assert record.finished == pytest.approx(START + 302 + 300, abs=3)


def test_a_node_that_hangs_is_replaced_by_the_autoscaler() -> None:
    made = world(nodes=1, buying=True)
    made.add_service(service())
    made.run_until(START + 60)
    hung = only_node(made)
    made.machines.crash(hung)
    made.run_until(START + 1800)
    assert hung not in made.machines.by_name
    assert len(running(made)) == 1
    assert len(pods(made)) == 1


def ordered(made: World, name: str = "wanted") -> Order:
    return Order(name=name, offering=made.machines.pools[0].offerings[0], taints=(Taint("starting", "", "NoSchedule"),))


def test_an_order_is_on_its_way_until_its_node_joins_with_its_name_and_taints() -> None:
    made = world(cloud=CloudSettings(provision_seconds=100, provision_spread=0.0))
    made.machines.create(ordered(made))
    assert [(each.order.name, each.since) for each in made.observe().coming] == [("wanted", START)]
    made.run_until(START + 101)
    snapshot = made.observe()
    assert not snapshot.coming
    (node,) = snapshot.nodes.indices().tolist()
    assert snapshot.node_labels(node)[FOR_LABEL] == "wanted"
    assert [each.key for each in snapshot.node_taints(node)] == ["starting"]


def test_what_has_run_out_is_refused_and_not_offered_for_three_minutes() -> None:
    made = world()
    made.machines.shortages.append(Shortage(capacity_type="on-demand"))
    with pytest.raises(OutOfCapacityError, match="there is no on-demand"):
        made.machines.create(ordered(made))
    assert not made.observe().offerings
    made.run_until(START + 181)
    assert made.observe().offerings


def test_an_order_to_a_pool_that_there_is_none_of_is_refused_for_good() -> None:
    made = world()
    with pytest.raises(CloudError, match="there is no pool 'none'"):
        made.machines.create(replace(ordered(made), node_pool="none"))


def test_a_notice_is_heard_until_the_node_is_gone_and_its_kind_is_avoided() -> None:
    spot = pool("spot", offering(capacity_type="spot", pool="spot"))
    made = world(spot, nodes=1, cloud=CloudSettings(drain_on_notice=False))
    name = only_node(made)
    made.machines.interrupt(name)
    snapshot = made.observe()
    assert [(each.node, each.notice, each.ends) for each in snapshot.interruptions] == [
        (name, "Interruption", START + 120)
    ]
    assert not snapshot.offerings
    made.run_until(START + 300)
    assert not made.observe().interruptions
