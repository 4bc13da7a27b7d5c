"""What is refused, where a pod goes, with whose name an image is pulled, and how variables are put in."""

import base64
import json
from typing import Any

import pytest
from tests.virtualnode.containerd.pods import pod, shell

from neaptide.virtualnode.provider import OutOfStockError, ProviderError
from neaptide.virtualnode.providers.containerd.environment import expand
from neaptide.virtualnode.providers.containerd.hosts import HostSpec, choose, parse_hosts
from neaptide.virtualnode.providers.containerd.images import credentials, policy_of, registry_of
from neaptide.virtualnode.providers.containerd.provider import settings_of
from neaptide.virtualnode.providers.containerd.refusals import refusal

GIB = 2**30


def main(**fields: Any) -> dict[str, Any]:
    return {"containers": [shell("main", "true", **fields)]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"hostNetwork": True}, "spec.hostNetwork", id="the host's network"),
        pytest.param({"runtimeClassName": "gvisor"}, "spec.runtimeClassName", id="another runtime"),
        pytest.param({"hostAliases": [{"ip": "1.2.3.4"}]}, "spec.hostAliases", id="host aliases"),
        pytest.param({"unheardOf": {}}, "spec.unheardOf", id="a field of a later Kubernetes"),
        pytest.param({"os": {"name": "windows"}}, "spec.os", id="Windows"),
        pytest.param({"securityContext": {"fsGroup": 5}}, "spec.securityContext.fsGroup", id="a group of files"),
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath", id="hostPath"
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]},
            "spec.volumes[0].emptyDir.medium",
            id="tmpfs",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {}}]}}]},
            "spec.volumes[0].projected.sources[0].clusterTrustBundle",
            id="a source that is not projected here",
        ),
        pytest.param(main(livenessProbe={}), "spec.containers[0].livenessProbe", id="a probe"),
        pytest.param(main(lifecycle={}), "spec.containers[0].lifecycle", id="a hook"),
        pytest.param(main(restartPolicy="Always"), "spec.containers[0].restartPolicy", id="a sidecar"),
        pytest.param(main(ports=[{"hostPort": 80}]), "spec.containers[0].ports[0].hostPort", id="a port of the host"),
        pytest.param(
            main(securityContext={"privileged": True}), "spec.containers[0].securityContext.privileged", id="privileged"
        ),
        pytest.param(
            main(resources={"limits": {"nvidia.com/gpu": "1"}}),
            "spec.containers[0].resources.limits[nvidia.com/gpu]",
            id="a GPU",
        ),
        pytest.param(
            main(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "x"}]),
            "spec.containers[0].volumeMounts[0].subPath",
            id="a part of a volume",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(fields: dict[str, Any], named: str) -> None:
    assert refusal(pod(**fields)) == f"the provider containerd does not support {named}"


def test_every_obstacle_is_named_at_once() -> None:
    said = refusal(pod(hostPID=True, **main(readinessProbe={}, startupProbe={})))
    assert all(each in said for each in ("spec.hostPID", "readinessProbe", "startupProbe"))


def test_what_the_api_server_sets_on_every_pod_is_no_obstacle() -> None:
    usual = {
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 30,
        **main(
            terminationMessagePath="/dev/termination-log",
            terminationMessagePolicy="File",
            resources={"requests": {"cpu": "1", "memory": "1Gi"}},
            ports=[{"containerPort": 80, "protocol": "TCP"}],
            volumeMounts=[{"name": "t", "mountPath": "/t", "readOnly": True}],
        ),
    }
    assert refusal(pod(**usual)) == ""


def host(name: str, cpu: str, memory: str = "64Gi", **fields: Any) -> HostSpec:
    return HostSpec(name=name, cpu=cpu, memory=memory, **fields)


def test_a_pod_goes_where_it_fits_most_tightly_and_not_where_hosts_are_draining() -> None:
    hosts = [host("large", "32"), host("small", "4", "8Gi"), host("leaving", "2", "4Gi", draining=True)]
    asked = {"cpu": 2000, "memory": 4 * GIB, "pods": 1}
    assert choose(hosts, {}, asked).name == "small"
    assert choose(hosts, {"small": {"cpu": 3000}}, asked).name == "large"
    with pytest.raises(OutOfStockError, match="none is that large"):
        choose(hosts, {}, {"cpu": 64_000, "memory": GIB, "pods": 1})
    with pytest.raises(OutOfStockError, match="no host of the pool answers"):
        choose([], {}, asked)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("hosts: [{cpu: '4'}]", "missing required field `name`", id="no name"),
        pytest.param("hosts: [{name: a, cpu: many}]", "many", id="no amount"),
        pytest.param("hosts: [{name: a}, {name: a}]", "twice", id="one name twice"),
        pytest.param("hosts: [", "accepted: hosts: a list", id="no YAML"),
    ],
)
def test_a_pool_that_is_none_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ProviderError, match=said):
        parse_hosts(text, "pool.yaml")


def test_settings_that_are_none_are_refused_with_what_is_accepted() -> None:
    with pytest.raises(ProviderError, match="accepted: hosts, hostsFile, owner, rate, burst"):
        settings_of({"host": []})


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("perl", ("docker.io", "library/perl")),
        ("team/perl:5", ("docker.io", "team/perl:5")),
        ("quay.io/team/perl:5", ("quay.io", "team/perl:5")),
        ("localhost:5000/perl", ("localhost:5000", "perl")),
    ],
)
def test_the_registry_of_an_image(image: str, expected: tuple[str, str]) -> None:
    assert registry_of(image) == expected


def test_the_longest_matching_entry_of_a_pull_secret_is_tried_first() -> None:
    def entry(user: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{user}:secret".encode()).decode()}

    auths = {
        "quay.io": entry("all"),
        "https://quay.io/team": entry("team"),
        "https://index.docker.io/v1/": entry("hub"),
    }
    secret = {".dockerconfigjson": json.dumps({"auths": auths}).encode()}
    assert [each.username for each in credentials("quay.io/team/perl:5", [secret])] == ["team", "all"]
    assert [each.username for each in credentials("quay.io/teams/perl:5", [secret])] == ["all"]
    assert [each.username for each in credentials("perl", [secret])] == ["hub"]
    assert credentials("perl", [{".dockerconfigjson": b"no JSON"}, {}]) == []


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"image": "perl"}, "Always"),
        ({"image": "perl:latest"}, "Always"),
        ({"image": "perl:5"}, "IfNotPresent"),
        ({"image": "localhost:5000/perl"}, "Always"),
        ({"image": "perl@sha256:0"}, "IfNotPresent"),
        ({"image": "perl", "imagePullPolicy": "Never"}, "Never"),
    ],
)
def test_when_an_image_is_pulled(container: dict[str, str], expected: str) -> None:
    assert policy_of(container) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)b", "1b"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A $", "$A $"), ("$$$(A)", "$1"), ("$(A", "$(A")],
)
def test_variables_are_put_in_as_kubernetes_does_it(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected
