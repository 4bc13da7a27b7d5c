"""A Job in a real container on a virtual node of a real control plane: kubectl's words, and the bill."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done
from tests.virtualnode.containerd.pods import shell
from tests.virtualnode.virtual import Outside, on, outside

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.pricing.tariff import Size
from neaptide.pricing.tariff_files import shipped
from neaptide.records.ledger import Ledger, leases_of
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.virtualnode.billing import Bill
from neaptide.virtualnode.providers.containerd.hosts import HostSpec
from neaptide.virtualnode.providers.containerd.objects import ApiObjects
from neaptide.virtualnode.providers.containerd.provider import Containerd, ContainerdSpec

NODE = "virtual-containerd"


@pytest.fixture
def beside(control_plane: Testbed) -> Iterator[Outside]:
    with outside() as made:
        yield made
        done(control_plane, "delete", "node", NODE, "--ignore-not-found", "--wait=false")


def test_a_job_runs_in_a_real_container_and_is_billed_for_its_rounded_size(
    control_plane: Testbed, container_host: ContainerHost, namespace: str, beside: Outside, tmp_path: Path
) -> None:
    host = HostSpec(
        name="host",
        endpoint=container_host.endpoint,
        root=str(container_host.root),
        state="/var/lib/under-kubelet",
        cgroup_parent=container_host.cgroup_parent,
        cpu="32",
        memory="64Gi",
    )
    client = Client(load(control_plane.kubeconfig))
    beside.do(client.__aenter__())
    provider = Containerd(ContainerdSpec(hosts=(host,), owner="under-kubelet"), ApiObjects(client))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"who": "world"}}
    container = shell(
        "main",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; echo hello $who",
        envFrom=[{"secretRef": {"name": "s"}}],
        resources={"requests": {"cpu": "16", "memory": "32Gi"}},
    )
    template = on(NODE, "x", containers=[container])
    spec = {"backoffLimit": 4, "template": {"metadata": {}, "spec": template["spec"]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "greets"}, "spec": spec}
    waits = on(NODE, "waits", containers=[shell("main", "sleep 1000")], terminationGracePeriodSeconds=0)
    inside = f"--namespace={namespace}"
    with beside.kubelet(control_plane, NODE, provider):
        make(control_plane, secret, job, waits, namespace=namespace)
        eventually(lambda: found(control_plane, "job", "greets", namespace)["status"].get("succeeded") == 1, "it ends")
        assert done(control_plane, "logs", "job/greets", inside) == f"{namespace}\nhello world\n"
        eventually(
            lambda: found(control_plane, "pod", "waits", namespace)["status"].get("phase") == "Running",
            "the other runs",
        )
        assert done(control_plane, "exec", "waits", inside, "--", "cat", "/etc/hostname") == "waits\n"
        with Ledger(tmp_path) as ledger:
            beside.do(Bill(ledger, shipped("eci"), provider, NODE).settled())
        done(control_plane, "delete", "job/greets", "pod/waits", inside, "--timeout=90s")
        eventually(lambda: beside.do(provider.pods()) == [], "nothing stays")
    beside.do(provider.close())
    beside.do(client.__aexit__())
    leases = {each.opened.workload: each for each in leases_of(tmp_path).values()}
    billed = leases["Job/greets"]
    assert Size(billed.opened.cpu_milli, billed.opened.memory_mib) == Size(16_000, 32 * 1024)
    assert billed.ended is not None
    assert leases["Pod/waits"].ended is None
    assert json.dumps(billed.opened.price_per_hour) == json.dumps(
        shipped("eci").price_per_hour(Size(16_000, 32 * 1024))
    )
