"""How the peer figure counts what devices can give of what schedulers have granted by sums or by name."""

import json
from typing import Any

from benchmarks.scheduler_gpus import ALLOCATED, CORE, GPU, Granted, by_annotation, by_order


def bound(name: str, node: str, asked: dict[str, str], said: dict[int, int] | None = None) -> dict[str, Any]:
    gpus = [{"minor": minor, "resources": {CORE: str(share)}} for minor, share in (said or {}).items()]
    annotations = {} if said is None else {ALLOCATED: json.dumps({"gpu": gpus})}
    spec = {"nodeName": node, "containers": [{"resources": {"requests": asked}}]}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec, "status": {}}


def test_what_is_granted_by_sums_counts_as_far_as_single_devices_can_give_it() -> None:
    pods = [
        bound(f"p{each}", "a", {CORE: "60"}) for each in range(3)
    ]  # 180 of 200, and no device has 60 left for the third
    assert by_order(pods, {"a": 2}) == Granted(1200, 600)
    whole = [*pods[:1], bound("w", "a", {CORE: "200"})]
    assert by_order(whole, {"a": 2}) == Granted(600, 2000)


def test_what_is_named_counts_unless_a_device_is_given_twice_or_is_not_there() -> None:
    half = bound("h", "a", {CORE: "50"}, {0: 50})
    assert by_annotation([half, bound("w", "a", {GPU: "1"}, {1: 100})], {"a": 2}) == Granted(1500, 0)
    assert by_annotation([half, bound("w", "a", {GPU: "1"}, {0: 100})], {"a": 2}) == Granted(1000, 500)
    assert by_annotation([bound("w", "a", {GPU: "1"}, {5: 100})], {"a": 2}) == Granted(0, 1000)
    assert by_annotation([bound("w", "a", {GPU: "1"})], {"a": 2}) == Granted(0, 1000)
