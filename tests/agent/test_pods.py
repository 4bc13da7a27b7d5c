import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.trees import Node, Shape, pod, tell

from neaptide.agent.layout import Listing
from neaptide.agent.pods import NodePods, Pod, reading
from neaptide.kubeapi.watch import Changed, Listed, Relisted, Removed, Synced


def test_what_a_relist_does_not_tell_is_gone_once_it_is_complete() -> None:
    pods = NodePods()
    tell(pods, [pod("a"), pod("b")])
    assert pods.synced
    pods.take(Relisted("410"))
    pods.take(Listed(msgspec.json.encode({"items": [pod("b")]})))
    assert set(pods.by_uid) == {"a", "b"}
    pods.take(Changed(_raw(pod("c"))))
    pods.take(Synced("2"))
    assert set(pods.by_uid) == {"b", "c"}
    pods.take(Removed(_raw(pod("b"))))
    assert set(pods.by_uid) == {"c"}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"metadata": {"labels": 7}}', b'{"spec": {"priority": "x"}}'], ids=repr
)
def test_a_pod_that_cannot_be_decoded_is_one_that_nobody_told_of(content: bytes) -> None:
    pods = NodePods()
    pods.take(Changed(msgspec.Raw(content)))
    pods.take(Listed(content))
    assert pods.by_uid == {}


def test_a_static_pod_is_known_by_the_name_of_its_group() -> None:
    pods = NodePods()
    tell(pods, [pod("api-uid", annotations={"kubernetes.io/config.hash": "group-uid"})])
    assert set(pods.by_uid) == {"group-uid"}


@pytest.mark.parametrize(
    ("meta", "protected"),
    [
        ({}, False),
        ({"annotations": {"kubernetes.io/config.mirror": "x"}}, True),
        ({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, True),
        ({"annotations": {"karpenter.sh/do-not-disrupt": "false"}}, False),
        ({"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}, True),
        ({"priority": 2_000_000_000}, True),
    ],
    ids=["a usual one", "static", "do not disrupt", "may be disrupted", "not safe to evict", "the system's"],
)
def test_some_pods_are_never_evicted(meta: dict[str, Any], *, protected: bool) -> None:
    found = msgspec.convert(pod("a", **meta), Pod)
    assert _reading(found).protected is protected


def test_a_pod_of_a_daemon_set_is_never_evicted() -> None:
    owned = pod("a")
    owned["metadata"]["ownerReferences"] = [{"kind": "DaemonSet", "name": "x"}]
    assert _reading(msgspec.convert(owned, Pod)).protected


@pytest.mark.parametrize(
    ("text", "milli"), [("1500", 1500), ("2k", 2000), ("3M", 3_000_000), ("2Ki", 2048), ("x", 0), ("1.5", 2)]
)
def test_batch_cpu_is_what_a_best_effort_pod_requests(text: str, milli: int) -> None:
    found = msgspec.convert(pod("a", requests={"kubernetes.io/batch-cpu": text, "cpu": "7"}), Pod)
    assert _reading(found).cpu_request == milli


@pytest.mark.parametrize("best_effort", [True, False])
def test_a_pod_that_calls_itself_best_effort_and_is_taken_for_a_service_does_not_go_as_best_effort(
    *, best_effort: bool
) -> None:
    found = msgspec.convert(pod("a", labels={"koordinator.sh/qosClass": "BE"}), Pod)
    assert (_reading(found, best_effort=best_effort).qos == "BE") is best_effort


def _reading(found: Pod, *, best_effort: bool = True) -> Any:
    return reading(found, best_effort=best_effort)


def _raw(found: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(found))


@pytest.mark.parametrize("below", [False, True], ids=["a pod", "a container"])
def test_one_that_took_the_place_of_another_is_seen_though_the_kernel_moves_no_time(
    tmp_path: Path, *, below: bool
) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    group, listing = node.pod("old"), Listing()
    above = Path(node.layout.directory(group if below else node.layout.tier("besteffort")))
    there = above.stat()
    assert len(list(node.layout.pods(listing))) == 1
    assert node.layout.below(group, listing) == [f"{group}/c1"]
    (above / ("c1" if below else "podold")).rename(above / ("c2" if below else "podnew"))
    os.utime(above, ns=(there.st_atime_ns, there.st_mtime_ns))
    if below:
        listing.review()
        assert node.layout.below(group, listing) == [f"{group}/c2"]
    else:
        assert any("podnew" in names for names in node.layout.names(listing))
        assert [pod.uid for pod in node.layout.pods(listing)] == ["new"]
