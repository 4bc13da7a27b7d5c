"""Usage as agents tell it in NodeMetric objects, Koordinator's or ours, and from elsewhere for nodes without an agent."""

import asyncio
from math import isnan
from typing import Any

import msgspec
import pytest
from tests.builders import node

from neaptide.kube.usage.agents import Agents, readings_of
from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.node_infos import info_of
from neaptide.kube.usage.readings import Reading, Readings, apply
from neaptide.model.metrics import MAX_AGE
from neaptide.model.node_info import Percentiles
from neaptide.model.node_metric import NodeMetric
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot

NOW = 1_800_000_000.0
STAMP = "2027-01-15T08:00:00Z"


class Elsewhere:
    """A source that knows two nodes, or fails."""

    name = "kubelet"

    def __init__(self, *, works: bool = True) -> None:
        self.works, self.asked = works, 0

    async def read(self) -> Readings:
        self.asked += 1
        if not self.works:
            raise OSError("nobody answers")
        return Readings(
            {"n": Reading(1.0, 1.0, NOW), "m": Reading(2.0, 2.0, NOW)}, {"default/other": Reading(3.0, 3.0, NOW)}
        )


def metric(name: str = "n", *, stamp: str = STAMP, **usage: str) -> NodeMetric:
    """As koordlet writes it, with fields that nobody here reads."""
    amounts = {"resources": usage or {"cpu": "1500m", "memory": "2Gi"}}
    status = {
        "updateTime": stamp,
        "nodeMetric": {"nodeUsage": amounts, "systemUsage": amounts, "aggregatedNodeUsages": [{"duration": "5m0s"}]},
        "podsMetric": [
            {"namespace": "default", "name": "web", "podUsage": amounts, "priority": "koord-prod", "qos": "LS"}
        ],
        "prodReclaimableMetric": {"resource": {}},
    }
    return msgspec.json.decode(msgspec.json.encode({"metadata": {"name": name}, "status": status}), type=NodeMetric)


def read(metrics: dict[str, NodeMetric], rest: Elsewhere, *nodes: str, now: float = NOW) -> tuple[Readings, str]:
    agents = Agents(lambda: metrics, lambda: nodes, Meter([rest]), lambda: now)
    return asyncio.run(agents.read()), agents.name


def test_what_agents_say_is_taken_and_nobody_else_is_asked_where_they_speak_for_all_nodes() -> None:
    rest = Elsewhere()
    found, name = read({"n": metric()}, rest, "n")
    assert found.nodes == {"n": Reading(1500.0, 2.0 * 2**30, NOW)}
    assert found.pods == {"default/web": Reading(1500.0, 2.0 * 2**30, NOW)}
    assert (name, rest.asked) == ("NodeMetric", 0)


def test_nodes_without_an_agent_are_asked_for_elsewhere_and_the_agents_word_prevails() -> None:
    found, name = read({"n": metric()}, Elsewhere(), "n", "m")
    assert found.nodes == {"n": Reading(1500.0, 2.0 * 2**30, NOW), "m": Reading(2.0, 2.0, NOW)}
    assert found.pods.keys() == {"default/web", "default/other"}
    assert name == "NodeMetric, kubelet"


def test_an_agent_that_has_been_silent_for_too_long_is_not_believed() -> None:
    found, name = read({"n": metric()}, Elsewhere(), "n", now=NOW + MAX_AGE + 1)
    assert found.nodes["n"] == Reading(1.0, 1.0, NOW)
    assert name == "kubelet"


def test_where_nobody_answers_the_reason_says_what_was_asked() -> None:
    with pytest.raises(OSError, match=r"no agent has written a NodeMetric.*kubelet: nobody answers"):
        read({}, Elsewhere(works=False), "n")
    found, _ = read({"n": metric()}, Elsewhere(works=False), "n", "m")
    assert found.nodes.keys() == {"n"}
    assert found.problems == ("kubelet: nobody answers",)


def test_a_metric_that_cannot_be_counted_leaves_out_its_node_and_says_the_field() -> None:
    found, _ = read({"bad": metric("bad", cpu="plenty"), "n": metric()}, Elsewhere(), "n")
    assert found.nodes.keys() == {"n"}
    assert "NodeMetric bad: status.nodeMetric.nodeUsage.resources.cpu: 'plenty'" in found.problems[0]


@pytest.mark.parametrize(("usage", "field"), [({"memory": "-1"}, "memory"), ({"cpu": "x"}, "cpu")])
def test_amounts_that_make_no_sense_are_refused_by_name(usage: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError, match=field):
        readings_of(metric(**usage))


REAL_TIME = {"neaptide.io/load-5m": "1900m", "neaptide.io/pressure-io": "250m", "neaptide.io/disk": "1"}


def test_what_an_agent_says_beside_cpu_and_memory_goes_into_the_snapshot_until_it_is_silent() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("n"))
    found, _ = read({"n": metric(cpu="1", **REAL_TIME)}, Elsewhere(), "n")
    apply(snapshot, found, NOW)
    (info,) = snapshot.others["NodeInfo"].values()
    assert (info.metadata.name, info.time) == ("n", NOW)
    assert (info.load, info.pressure, info.network, info.disk) == ({"5m": 1.9}, {"io": 0.25}, None, 1.0)
    later, _ = read({"n": metric(cpu="1", **REAL_TIME)}, Elsewhere(), "n", now=NOW + MAX_AGE + 1)
    apply(snapshot, later, NOW + MAX_AGE + 1)
    assert not snapshot.others["NodeInfo"]


def test_koordinators_percentiles_are_known_by_their_window() -> None:
    status = {
        "updateTime": STAMP,
        "nodeMetric": {
            "aggregatedNodeUsages": [
                {"duration": "10m0s", "usage": {"p95": {"resources": {"cpu": "2", "memory": "1Ki"}}}},
                {"duration": "300s", "usage": {"p95": {"resources": {"cpu": "1"}}}},
            ]
        },
    }
    info = info_of(msgspec.convert({"metadata": {"name": "n"}, "status": status}, NodeMetric))
    assert info is not None
    assert info.percentiles == {
        "10m": Percentiles({"p95": 2000.0}, {"p95": 1024.0}),
        "5m": Percentiles({"p95": 1000.0}, {}),
    }


def test_real_time_data_that_make_no_sense_are_refused_by_name() -> None:
    with pytest.raises(FieldError, match=r"neaptide\.io/load-1m"):
        info_of(metric(**{"neaptide.io/load-1m": "-1"}))
    assert info_of(metric()) is None


def test_what_a_metric_does_not_say_is_unknown() -> None:
    node, pods = readings_of(metric(cpu="1"))
    assert (node.cpu, isnan(node.memory)) == (1000.0, True)
    assert isnan(pods["default/web"].memory)
    bare, none = readings_of(NodeMetric())
    assert isnan(bare.cpu)
    assert isnan(bare.time)
    assert none == {}
