"""The agent on nodes of plain files: what it writes, what it leaves alone, and that all is as before when it ends."""

from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import SHAPES, Node, Shape, changed, forget_usage

from neaptide.agent.files import Files
from neaptide.agent.settings import Settings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.noderules.memory_evict import MemoryEvictSettings

QUOTA = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50), group_priority=None)
CPU_SET = Settings(SuppressSettings(policy="cpuset", threshold_percent=75), group_priority=None)
IDLE = Settings(cpu_suppress=None)
ALL = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50))
BE = {"koordinator.sh/qosClass": "BE"}
LS = {"koordinator.sh/qosClass": "LS"}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


@every_shape
def test_best_effort_gets_less_as_a_service_uses_more_and_more_again_later(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    node.pod("ls-1", "burstable")
    tier = node.layout.tier("besteffort")
    agent = node.agent(QUOTA)
    node.use(agent)
    node.use(agent, **{"be-1": 1000, "ls-1": 0})
    assert node.quota(tier) == 200_000
    node.use(agent, **{"be-1": 1000, "ls-1": 1500})
    assert node.quota(tier) == 50_000
    quotas = []
    for _ in range(8):
        node.use(agent, **{"be-1": 500, "ls-1": 0})
        quotas.append(node.quota(tier))
    assert quotas == [50_000] * 4 + [90_000, 130_000, 170_000, 200_000]
    agent.close()


@every_shape
def test_every_byte_is_as_before_when_the_agent_ends(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    node.pod("be-2", "burstable", labels=BE)
    node.pod("ls-1", "burstable")
    agent = node.agent(ALL)
    node.use(agent)
    before = node.tree()
    node.use(agent, **{"be-1": 1000, "ls-1": 900})
    assert changed(node, before) != set()
    forget_usage(before)
    assert agent.restore() == 0
    assert node.tree() == before
    agent.close()


@both_versions
def test_a_service_keeps_its_files(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    service = node.pod("ls-1", "burstable")
    guaranteed = node.pod("lsr-1", "")
    agent = node.agent(ALL)
    node.use(agent)
    before = node.tree()
    node.use(agent, **{"be-1": 1000})
    assert not [path for path in changed(node, before) if service in path or guaranteed in path]
    agent.close()


@both_versions
def test_pods_that_are_not_where_best_effort_pods_are_get_their_share_of_the_limit(
    tmp_path: Path, shape: Shape
) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    elsewhere = node.pod("be-2", "burstable", labels=BE)
    agent = node.agent(QUOTA)
    node.use(agent)
    node.use(agent)
    assert node.quota(node.layout.tier("besteffort")) == 100_000
    assert node.quota(elsewhere) == 100_000
    agent.close()


@both_versions
def test_a_service_without_requests_is_not_limited_with_those_beside_it(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    offline, service = node.pod("be-1"), node.pod("ls-1", labels=LS)
    agent = node.agent(QUOTA)
    node.use(agent)
    node.use(agent)
    assert node.quota(node.layout.tier("besteffort")) == -1
    assert node.quota(offline) == 200_000
    assert node.quota(service) == -1
    agent.close()


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": BE, "priority": 9500},
        {"labels": BE | {"koordinator.sh/priority-class": "koord-prod"}},
        {"labels": LS},
        {"priority": 2_000_001_000},
    ],
    ids=["best effort and prod by priority", "best effort and prod by label", "a service by label", "the system's own"],
)
def test_a_pod_that_contradicts_itself_is_taken_for_a_service(tmp_path: Path, meta: dict[str, Any]) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("one", **meta)
    agent = node.agent(ALL)
    node.use(agent)
    before = node.tree()
    node.use(agent)
    assert changed(node, before) == set()
    agent.close()


def test_version_1_lowers_what_is_below_first_and_raises_it_last(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    group = node.pod("be-1")
    container = f"{group}/c1"
    node.path(group, "cpu.cfs_quota_us").write_text("150000\n")
    node.path(container, "cpu.cfs_quota_us").write_text("150000\n")
    agent = node.agent(QUOTA)
    written = _order(agent)
    node.use(agent)
    node.use(agent, node=1000)
    tier = node.layout.tier("besteffort")
    quotas = [str(node.path(each, "cpu.cfs_quota_us")) for each in (container, group, tier)]
    period = str(node.path(tier, "cpu.cfs_period_us"))
    assert written == [*quotas[:2], period, quotas[2]]
    assert [node.quota(each) for each in (container, group, tier)] == [100_000] * 3
    written.clear()
    agent.restore()
    assert written == [*quotas[::-1], period]
    agent.close()


def test_version_1_moves_a_cpu_set_through_one_that_holds_both(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    node.pod("be-1")
    agent = node.agent(CPU_SET)
    node.use(agent)
    node.use(agent)
    tier = node.layout.tier("besteffort")
    sets = [node.path(group, "cpuset.cpus") for group in (tier, f"{tier}/podbe-1", f"{tier}/podbe-1/c1")]
    assert [each.read_text() for each in sets] == ["0-2\n"] * 3
    for each in (node.layout.tier(""), node.layout.tier("burstable"), *()):
        node.path(each, "cpuset.effective_cpus").write_text("2-3\n")
    told: list[tuple[str, str]] = []
    files = agent._files
    write = files.write
    files.write = lambda path, text: (told.append((path, text.strip())), write(path, text))[1]  # type: ignore[method-assign, func-returns-value]
    node.use(agent)
    paths = [str(each) for each in sets]
    assert told == [(path, "0-3") for path in paths] + [(path, "2-3") for path in reversed(paths)]
    agent.close()


@both_versions
def test_pods_are_made_idle_and_their_tier_never(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    offline, service = node.pod("be-1"), node.pod("ls-1", "burstable")
    agent = node.agent(IDLE)
    node.use(agent)
    node.use(agent)
    idle = {
        group: node.path(group, "cpu.idle").read_text() for group in (offline, service, node.layout.tier("besteffort"))
    }
    assert list(idle.values()) == ["1\n", "0\n", "0\n"]
    agent.close()


@both_versions
def test_weights_are_lowered_where_the_kernel_has_no_idle_groups(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    group = node.pod("be-1", "burstable", labels=BE)
    for path in node.mount.rglob("cpu.idle"):
        path.unlink()
    weight = node.path(group, "cpu.shares" if shape.version == 1 else "cpu.weight")
    weight.write_text("400\n")
    agent = node.agent(IDLE)
    node.use(agent)
    node.use(agent)
    assert weight.read_text() == ("2\n" if shape.version == 1 else "1\n")
    agent.restore()
    assert weight.read_text() == "400\n"
    agent.close()


def test_the_weight_that_the_kernel_forgets_with_an_idle_group_is_given_back(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    group = node.pod("be-1", "burstable", labels=BE)
    shares = node.path(group, "cpu.shares")
    shares.write_text("102\n")
    agent = node.agent(IDLE)
    node.use(agent)
    node.use(agent)
    shares.write_text("3\n")  # the kernel's
    node.use(agent)
    assert shares.read_text() == "3\n"
    agent.restore()
    assert (node.path(group, "cpu.idle").read_text(), shares.read_text()) == ("0\n", "102\n")
    agent.close()


@both_versions
def test_nothing_is_written_twice(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    agent = node.agent(ALL)
    written = _order(agent)
    for _ in range(5):
        node.use(agent, **{"be-1": 1000})
    assert len(written) == len(set(written)) > 0
    agent.close()


@both_versions
def test_a_dry_run_writes_nothing_and_says_what_it_would(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    agent = node.agent(ALL, dry_run=True)
    node.use(agent)
    before = node.tree()
    for _ in range(3):
        node.use(agent)
    assert node.tree() == before
    assert not node.place.state.exists()
    assert len([line for line in node.said if line.startswith("would write")]) == (3 if shape.version == 1 else 2)
    agent.close()


@both_versions
def test_what_somebody_else_writes_meanwhile_is_the_original_from_then_on(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    name = "cpu.cfs_quota_us" if shape.version == 1 else "cpu.max"
    path = node.path(node.layout.tier("besteffort"), name)
    agent = node.agent(QUOTA)
    node.use(agent)
    node.use(agent)
    others = "300000\n" if shape.version == 1 else "300000 100000\n"
    path.write_text(others)
    node.use(agent)
    assert path.read_text() != others
    agent.restore()
    assert path.read_text() == others
    agent.close()


@both_versions
def test_what_is_in_place_is_read_again_at_the_next_review_only_and_put_right_then(
    tmp_path: Path, shape: Shape
) -> None:
    node = Node(tmp_path, shape)
    group = node.pod("be-1")
    agent = node.agent(IDLE, review_every=5.0)
    for _ in range(3):
        node.use(agent)
    idle = node.path(group, "cpu.idle")
    read, looked = agent._files.read, list[str]()
    agent._files.read = lambda path: (looked.append(path), read(path))[1]  # type: ignore[method-assign, func-returns-value]
    idle.write_text("0\n")
    node.use(agent)
    assert str(idle) not in looked
    for _ in range(5):
        node.use(agent)
    assert idle.read_text() == "1\n"
    assert agent.restore() == 0
    assert idle.read_text() == "0\n"
    agent.close()


@both_versions
def test_pods_that_change_are_looked_at_at_once(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    agent = node.agent(IDLE, review_every=3600.0)
    node.use(agent)
    node.use(agent)
    came = node.pod("be-2", "burstable", labels=BE)
    node.use(agent)
    assert node.path(came, "cpu.idle").read_text() == "1\n"
    agent.close()


@both_versions
def test_a_pod_that_is_gone_leaves_no_trace(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    group = node.pod("be-1")
    agent = node.agent(IDLE)
    node.use(agent)
    node.use(agent)
    assert agent._originals.entries
    for path in node.mount.rglob("*"):
        if path.is_file() and group in str(path):
            path.unlink()
    agent._files.close()
    node.use(agent)
    assert not agent._originals.entries
    assert agent.restore() == 0
    agent.close()


def test_a_pod_that_goes_between_reading_and_writing_stops_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be-1")
    gone = node.pod("be-2", "burstable", labels=BE)
    agent = node.agent(ALL)
    node.use(agent)
    write = agent._files.write

    def too_late(path: str, text: str) -> None:
        if gone in path:
            Path(path).unlink()
        write(path, text)

    agent._files.write = too_late  # type: ignore[method-assign]
    node.use(agent)
    assert node.quota(node.layout.tier("besteffort")) == 100_000
    assert any("is gone" in line for line in node.said)
    agent.close()


def test_a_file_that_refuses_is_told_once_and_the_others_are_written(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    group = node.pod("be-1")
    agent = node.agent(ALL)
    write = agent._files.write

    def read_only(path: str, text: str) -> None:
        if path.endswith("cpu.idle"):
            raise PermissionError(1, "Operation not permitted")
        write(path, text)

    agent._files.write = read_only  # type: ignore[method-assign]
    for _ in range(4):
        node.use(agent)
    assert node.quota(node.layout.tier("besteffort")) == 200_000
    refused = [line for line in node.said if "refused" in line]
    assert refused == [f"{node.path(group, 'cpu.idle')}: '1' was refused: Operation not permitted"]
    agent.close()


@pytest.mark.parametrize("content", ["", "cpu  nan\n", "cpu  1 2 x\n", "\x00\x01"], ids=repr)
def test_where_the_node_is_unknown_what_is_in_force_stays(tmp_path: Path, content: str) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be-1")
    agent = node.agent(QUOTA)
    node.use(agent)
    node.use(agent)
    before = node.tree()
    (node.proc / "stat").write_text(content)
    for step in range(3):
        agent.tick(node.now + 1 + step)
    assert node.tree() == before
    agent.close()


def test_before_the_api_server_says_anything_pods_without_requests_give_way(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    offline = node.pod("be-1", told=False)
    agent = node.agent(ALL)
    node.use(agent)
    node.use(agent, **{"be-1": 500})
    assert node.quota(node.layout.tier("besteffort")) == 200_000
    assert node.path(offline, "cpu.idle").read_text() == "0\n"
    agent.close()


def test_a_static_cpu_manager_keeps_its_cpu_sets(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be-1")
    (tmp_path / "kubelet").mkdir()
    (tmp_path / "kubelet/cpu_manager_state").write_text('{"policyName": "static", "defaultCpuSet": "0-3"}')
    agent = node.agent(CPU_SET)
    node.use(agent)
    node.use(agent)
    assert node.path(node.layout.tier("besteffort"), "cpuset.cpus").read_text() == "\n"
    assert node.quota(node.layout.tier("besteffort")) == 300_000
    agent.close()


def test_memory_above_its_watermark_evicts_the_largest_best_effort_pod(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(1, systemd=False))
    groups = [
        node.pod("small"),
        node.pod("large"),
        node.pod("service", "burstable"),
        node.pod("liar", labels=BE, priority=9500),
    ]
    agent = node.agent(Settings(cpu_suppress=None, group_priority=None, memory_evict=MemoryEvictSettings()))
    node.use(agent)
    node.memory(used=690, pods=dict(zip(groups, (50, 100, 300, 200), strict=True)))
    node.use(agent)
    assert node.said == []
    node.memory(used=720)
    node.use(agent)
    assert [line.partition(":")[0] for line in node.said] == ["would evict default/pod-large"]
    agent.close()


def _order(agent: Any) -> list[str]:
    """The paths that an agent writes, as it does."""
    written: list[str] = []
    files: Files = agent._files
    write = files.write

    def noting(path: str, text: str) -> None:
        written.append(path)
        write(path, text)

    files.write = noting  # type: ignore[method-assign]
    return written


@both_versions
def test_beside_a_service_without_requests_the_pod_that_works_gets_what_others_leave(
    tmp_path: Path, shape: Shape
) -> None:
    node = Node(tmp_path, shape)
    groups = [node.pod(f"be-{number}") for number in range(4)]
    node.pod("ls-1", labels=LS)
    agent = node.agent(QUOTA)
    quotas = []
    for _ in range(16):
        node.use(agent, **{"be-0": 1900})
        quotas.append([node.quota(group) for group in groups])
    assert quotas[1] == [50_000] * 4
    assert quotas[-1] == [185_000, 5_000, 5_000, 5_000]
    for _ in range(16):
        node.use(agent, **{"be-0": 1000, "be-1": 1000})
    assert [node.quota(group) for group in groups] == [95_000, 95_000, 5_000, 5_000]
    agent.close()
