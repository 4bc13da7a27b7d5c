"""Memory QoS and disk limits on trees of files: what is written where, and that it is all undone."""

from pathlib import Path

import pytest
from tests.agent.trees import SHAPES, Node, Shape, forget_usage

from neaptide.agent.settings import Settings
from neaptide.noderules.disk import DiskSettings
from neaptide.noderules.memory_qos import MemoryQosSettings, MemoryShares

MIB = 2**20
BE = {"koordinator.sh/qosClass": "BE"}
V2 = Shape(2, systemd=False)
MEMORY = Settings(
    cpu_suppress=None,
    group_priority=None,
    memory_qos=MemoryQosSettings(ls=MemoryShares(50, 100), be=MemoryShares(throttling_percent=50)),
)
DISK = Settings(cpu_suppress=None, group_priority=None, disk=DiskSettings(read_bps=3 * MIB, write_iops=30))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES.values() if shape.version == 2], ids=str)
def test_a_service_keeps_its_memory_up_to_the_top_and_best_effort_is_slowed(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    service = node.pod("ls-1", "burstable", requests={"memory": "100Mi"})
    lent = node.pod("be-1", "burstable", labels=BE, requests={"kubernetes.io/batch-memory": "10Mi"}, limits={"kubernetes.io/batch-memory": "30Mi"})  # fmt: skip
    before = node.tree()
    agent = node.agent(MEMORY)
    node.use(agent)
    node.use(agent)
    [container] = node.containers(service)
    for group in (container, service, node.layout.tier("burstable"), node.layout.tier("")):
        assert _number(node, group, "memory.min") == 50 * MIB
        assert _number(node, group, "memory.low") == 100 * MIB
    [container] = node.containers(lent)
    assert _number(node, container, "memory.high") == 20 * MIB
    assert node.path(lent, "memory.high").read_text() == "max\n"
    assert node.path(node.layout.tier("besteffort"), "memory.low").read_text() == "0\n"
    assert agent.restore() == 0
    forget_usage(before)
    assert node.tree() == before
    agent.close()


def test_a_container_that_nobody_told_of_keeps_its_files(tmp_path: Path) -> None:
    node = Node(tmp_path, V2)
    service = node.pod("ls-1", "burstable", requests={"memory": "100Mi"})
    node.make_group(f"{service}/sandbox")
    agent = node.agent(MEMORY)
    node.use(agent)
    node.use(agent)
    assert node.path(f"{service}/sandbox", "memory.min").read_text() == "0\n"
    assert _number(node, f"{service}/c1", "memory.min") == 50 * MIB
    agent.close()


def test_version_1_has_no_memory_qos_and_all_else_goes_on(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    node.pod("ls-1", "burstable", requests={"memory": "100Mi"})
    before = node.tree()
    agent = node.agent(MEMORY)
    node.use(agent)
    node.use(agent)
    forget_usage(before)
    assert node.tree() == before
    assert "memory QoS (memory.min, low, high): no; no memory is protected" in map(str, agent.features())
    agent.close()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_best_effort_pods_share_the_limits_of_each_disk_and_services_have_none(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    tier = [node.pod("be-1"), node.pod("be-2")]
    labelled = node.pod("be-3", "burstable", labels=BE)
    service = node.pod("ls-1", "burstable")
    before = node.tree()
    agent = node.agent(DISK)
    node.use(agent)
    node.use(agent)
    if shape.version == 2:
        limits = {node.layout.tier("besteffort"): (2 * MIB, 20), labelled: (MIB, 10)}
        for group, (bps, iops) in limits.items():
            assert node.path(group, "io.max").read_text() == f"254:0 rbps={bps} wbps=max riops=max wiops={iops}\n"
        assert node.path(labelled, "io.weight").read_text() == "default 10\n"
    else:
        for group in (*tier, labelled):
            [container] = node.containers(group)
            assert node.path(container, "blkio.throttle.read_bps_device").read_text() == f"254:0 {MIB}\n"
            assert node.path(container, "blkio.throttle.write_iops_device").read_text() == "254:0 10\n"
            assert node.path(container, "blkio.throttle.write_bps_device").read_text() == ""
        assert node.path(labelled, "blkio.bfq.weight").read_text() == "10\n"
    assert {path: text for path, text in node.tree().items() if service in path and path.endswith(("io.max", "io.weight", "device"))} == {
        path: text for path, text in before.items() if service in path and path.endswith(("io.max", "io.weight", "device"))
    }  # fmt: skip
    assert agent.restore() == 0
    gone = "254:0 rbps=max wbps=max riops=max wiops=max\n" if shape.version == 2 else "254:0 0\n"
    left = {path: text.decode() for path, text in node.tree().items() if before[path] != text and "stat" not in path}
    assert set(left.values()) <= {gone}, "what takes a line away from a kernel's file stands in one of a tree"
    agent.close()


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("sys/fs/resctrl/schemata", "cache and memory bandwidth (resctrl)"),
        ("sys/bus/event_source/devices/cpu", "cycles per instruction (CPU PMU)"),
        ("proc/net/psched", "network bandwidth (tc)"),
    ],
)
def test_what_is_there_and_not_managed_is_named(tmp_path: Path, file: str, named: str) -> None:
    node = Node(tmp_path, V2)
    agent = node.agent(Settings())
    line = f"{named}, which is not managed: yes"
    assert line not in map(str, agent.features())
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert line in map(str, agent.features())
    agent.close()


def test_under_version_1_a_pods_sandbox_takes_no_part_of_the_limits(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    job = node.pod("be-1")
    sandbox, container = f"{job}/pause", *node.containers(job)
    node.make_group(sandbox)
    agent = node.agent(Settings(cpu_suppress=None, group_priority=None, disk=DiskSettings(write_bps=1000)))
    node.use(agent)
    node.use(agent)
    told = [node.path(group, "blkio.throttle.write_bps_device").read_text() for group in (sandbox, container)]
    assert told == ["", "254:0 1000\n"]
    agent.close()


def test_limits_follow_how_long_services_wait_for_disks(tmp_path: Path) -> None:
    node = Node(tmp_path, V2)
    node.pod("be-1")
    service = node.pod("ls-1", "burstable")
    tier = node.layout.tier("besteffort")
    disk = DiskSettings(write_bps=1000, pressure_percent=20, weight=None)
    agent = node.agent(Settings(cpu_suppress=None, group_priority=None, disk=disk))
    waited = 1.0
    node.waited(service, "io", waited)
    node.use(agent)
    node.use(agent)
    assert _written(node, tier) == 1000
    for wanted in (500, 250):
        waited += 0.5
        node.waited(service, "io", waited)
        node.use(agent)
        assert _written(node, tier) == wanted
    node.use(agent)
    assert _written(node, tier) == 350
    agent.close()


def test_pressure_that_is_zero_everywhere_is_not_taken_for_none(tmp_path: Path) -> None:
    node = Node(tmp_path, V2)
    node.pod("be-1")
    service = node.pod("ls-1", "burstable")
    tier = node.layout.tier("besteffort")
    disk = DiskSettings(write_bps=1000, pressure_percent=20, weight=None)
    agent = node.agent(Settings(cpu_suppress=None, group_priority=None, disk=disk))
    node.waited(service, "io", 1.0)
    node.use(agent)
    node.use(agent)
    node.waited(service, "io", 1.5)
    node.use(agent)
    assert _written(node, tier) == 500
    node.waited(service, "io", 0.0)
    node.use(agent)
    node.use(agent)
    assert _written(node, tier) == 500
    agent.close()


def test_a_device_that_is_not_there_is_told_and_the_others_are_limited(tmp_path: Path) -> None:
    node = Node(tmp_path, V2)
    node.pod("be-1")
    disk = DiskSettings(devices=("nvme9n9", "vda"), write_bps=1000)
    agent = node.agent(Settings(cpu_suppress=None, group_priority=None, disk=disk))
    node.use(agent)
    node.use(agent)
    assert _written(node, node.layout.tier("besteffort")) == 1000
    assert any("nvme9n9" in sentence for sentence in node.said)
    agent.close()


def _number(node: Node, group: str, file: str) -> int:
    return int(node.path(group, file).read_text())


def _written(node: Node, group: str) -> int:
    [line] = node.path(group, "io.max").read_text().splitlines()
    return int(line.split()[2].removeprefix("wbps="))
