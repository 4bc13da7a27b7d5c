"""What is shared of a cluster: none of its names, all of its structure."""

import re

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.anonymise import Anonymiser
from neaptide.model.any_object import AnyObject
from neaptide.model.build import build
from neaptide.model.colocation_profile import ClusterColocationProfile
from neaptide.model.manifests import Found, from_json
from neaptide.model.node_metric import FINDINGS, NodeMetric
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.gangs import POD_GROUP_LABEL, Gangs, Terms
from neaptide.placement.place import Placement
from neaptide.placement.profile import DEFAULT

SALT = b"salt"


def anonymised(items: list[AnyObject]) -> tuple[bytes, ClusterSnapshot]:
    """The text that is shared, and the cluster that it describes."""
    text = msgspec.json.encode({"kind": "List", "items": list(Anonymiser(SALT).documents(items))})
    found, left_out = from_json(text, "")
    assert left_out == []
    return text, cluster(found)


def cluster(found: list[Found]) -> ClusterSnapshot:
    snapshot, left_out = build(found)
    assert left_out == []
    return snapshot


def secretive(number: int, on: str, *, zone: bool) -> o.Pod:
    affinity = {
        "affinity": o.Affinity(
            pod_anti_affinity=o.PodAffinity(
                required_during_scheduling_ignored_during_execution=(
                    o.PodAffinityTerm(
                        topology_key="topology.kubernetes.io/zone" if zone else "acme.example/rack",
                        label_selector=o.LabelSelector({"app": f"secretapp{number % 3}"}),
                    ),
                )
            )
        ),
        "tolerations": (o.Toleration(key="acme.example/secretteam", operator="Equal", value="secretvalue"),),
        "node_selector": {"acme.example/secretteam": "secretvalue"} if number % 2 else {},
    }
    return pod(
        f"secretpod{number}",
        namespace=f"secretspace{number % 2}",
        node=on,
        labels={"app": f"secretapp{number % 3}"},
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": "secretconfig",
            "karpenter.sh/do-not-disrupt": "true",
        },
        owner=("ReplicaSet", f"secretowner{number % 3}"),
        spec=affinity,
        cpu="100m",
    )


def secret_cluster(pods: int, nodes: int) -> list[AnyObject]:
    def labels(number: int) -> dict[str, str]:
        zone = {
            "topology.kubernetes.io/zone": f"us-east-1{'ab'[number % 2]}",
            "acme.example/rack": f"secretrack{number}",
        }
        return zone | {"acme.example/secretteam": "secretvalue" if number % 2 else "othersecret"}

    taints = (o.Taint("acme.example/secretteam", "secretvalue", "NoSchedule"),)
    made: list[AnyObject] = [
        node(f"secretnode{number}", labels=labels(number), taints=taints if number % 3 == 0 else (), cpu="1")
        for number in range(nodes)
    ]
    return made + [
        secretive(number, f"secretnode{number % nodes}" if number % 4 == 0 else "", zone=number % 5 == 0)
        for number in range(pods)
    ]


def test_no_name_of_the_cluster_is_in_what_is_shared() -> None:
    text, _ = anonymised(secret_cluster(12, 4))
    assert re.findall(rb"\w*secret\w*|acme", text) == []


def test_names_that_every_cluster_has_and_what_policies_read_stay() -> None:
    text, shared = anonymised(
        [node("n", labels={"node.kubernetes.io/instance-type": "m7i.large"}), secretive(0, "n", zone=True)]
    )
    assert b"m7i.large" in text
    assert shared.pod_annotations(0) == {"karpenter.sh/do-not-disrupt": "true"}


@given(st.integers(1, 24), st.integers(1, 6))
def test_every_pod_can_go_to_the_same_nodes_as_before(pods: int, nodes: int) -> None:
    items = secret_cluster(pods, nodes)
    before, (_, after) = cluster([Found("", each) for each in items]), anonymised(items)
    hashed = Anonymiser(SALT)
    names = [hashed.text(name) for name in before.nodes.names]
    order = [after.nodes.by_name[name] for name in names]
    for key, row in before.pods.by_key.items():
        space, _, name = key.partition("/")
        other = after.pods.by_key[f"{hashed.text(space)}/{hashed.text(name)}"]
        feasible = [Placement(each, DEFAULT).feasible(pod) for each, pod in ((before, row), (after, other))]
        assert np.array_equal(feasible[0][: len(names)], feasible[1][order])


def test_a_static_pod_is_still_known_by_its_nodes_name() -> None:
    _, shared = anonymised([node("n1"), pod("kube-proxy-n1", node="n1", owner=None)])
    assert shared.pods.keys[0].endswith("-" + shared.nodes.names[0])


def test_another_salt_gives_other_names() -> None:
    assert Anonymiser(b"a").text("web") != Anonymiser(b"b").text("web")


def test_domains_that_only_look_like_well_known_ones_are_hashed() -> None:
    owner = o.OwnerReference(kind="Pipeline", name="p", api_version="ml.secretcorp.example/v1", controller=True)
    labels = {"secretcorp-k8s.io/team": "a", "secretk8s.io/team": "a", "topology.kubernetes.io/zone": "z"}
    plain = pod("web", labels=labels)
    item = msgspec.structs.replace(plain, metadata=msgspec.structs.replace(plain.metadata, owner_references=(owner,)))
    text, _ = anonymised([item])
    assert b"secret" not in text
    assert b"topology.kubernetes.io/zone" in text
    assert re.search(rb'"apiVersion":"x[0-9a-f]{12}/v1"', text)


ANNOTATIONS = {
    "karpenter.sh/do-not-disrupt": "true",
    "controller.kubernetes.io/pod-deletion-cost": "-5",
    "karpenter.sh/secret-free-text": "secretvalue",
    "koordinator.sh/note": "contact secretteam",
    "scheduling.koordinator.sh/reservation-affinity": '{"name":"secretroom","reservationSelector":{"acme.example/team":"secretteam"}}',
    "scheduling.koordinator.sh/reservation-allocated": "secret, and no JSON",
}


def test_annotations_keep_only_values_that_are_known_to_be_harmless() -> None:
    text, shared = anonymised([pod("web", annotations=ANNOTATIONS)])
    assert re.findall(rb"\w*secret[a-z]+e\w*|secret,|acme", text) == []
    kept = shared.pod_annotations(0)
    assert {key for key, value in kept.items() if value == ANNOTATIONS[key]} == set(list(ANNOTATIONS)[:2])
    affinity = msgspec.json.decode(kept["scheduling.koordinator.sh/reservation-affinity"])
    assert affinity["name"] == Anonymiser(SALT).text("secretroom")


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
GANG = "gang.scheduling.koordinator.sh/"


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans()), min_size=1, max_size=8))
def test_pods_of_a_gang_are_still_one_gang_and_gangs_that_go_together_still_do(
    members: list[tuple[str, str, bool]],
) -> None:
    together = msgspec.json.encode(sorted({f"{space}/{gang}" for space, gang, _ in members})).decode()
    terms = {
        GANG + "min-available": "1",
        GANG + "waiting-time": "90s",
        GANG + "mode": "NonStrict",
        GANG + "groups": together,
    }
    items: list[AnyObject] = [
        pod(
            f"p{number}",
            namespace=space,
            labels={POD_GROUP_LABEL: gang} if labelled else {},
            annotations=terms | {GANG + "name": gang},
        )
        for number, (space, gang, labelled) in enumerate(members)
    ]
    before, (_, after) = cluster([Found("", each) for each in items]), anonymised(items)
    hashed = Anonymiser(SALT)

    def renamed(gang: str) -> str:
        return "/".join(map(hashed.text, gang.split("/")))

    was, now = Gangs(before), Gangs(after)
    for key in before.pods.by_key:
        gang = was.saw(key)
        assert gang is not None
        now.saw(renamed(key))
        assert now.gang_of(after.pods.by_key[renamed(key)]) == renamed(gang)
    for gang in {f"{space}/{name}" for space, name, _ in members}:
        wanted, found = was.terms(gang), now.terms(renamed(gang))
        assert isinstance(wanted, Terms)
        assert found == wanted._replace(together=tuple(sorted(map(renamed, wanted.together))))


def test_what_tells_classes_and_steps_stays_and_names_in_metrics_and_profiles_go() -> None:
    finding = {FINDINGS: {"step": "MOVE", "culprit": "team/job", "evidence": "job goes up and down with it"}}
    pods = [{"name": "web", "namespace": "team", "podUsage": {"resources": {"cpu": "1m"}}, "extensions": finding}]
    metric = msgspec.convert({"metadata": {"name": "n"}, "status": {"podsMetric": pods}}, NodeMetric)
    profile = msgspec.convert(
        {
            "metadata": {"name": "spark"},
            "spec": {"qosClass": "BE", "probability": "30%", "labels": {"team": "crunchers"}},
        },
        ClusterColocationProfile,
    )
    text = msgspec.json.encode(list(Anonymiser(b"salt").documents([metric, profile]))).decode()
    assert all(word in text for word in ('"MOVE"', '"BE"', '"30%"', '"1m"'))
    assert not any(word in text for word in ("team", "web", "job", "spark", "crunchers"))
