"""Rights that end at a namespace, or that only read: what can be seen is seen, and what cannot is said."""

from msgspec.structs import replace
from tests.kube.live import speaking
from tests.testbed.asking import deployment, done

from neaptide.kube.streams import choose
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.credentials import Credentials
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.secret import Secret
from neaptide.testbed.cluster import Testbed


def account(testbed: Testbed, namespace: str) -> str:
    """The token of an account that may look at pods and Deployments of its namespace, and at nothing else."""
    done(testbed, "create", "serviceaccount", "reader", "-n", namespace)
    verbs, kinds = "--verb=get,list,watch", "--resource=pods,deployments.apps"
    done(testbed, "create", "role", "reader", "-n", namespace, verbs, kinds)
    done(
        testbed,
        "create",
        "rolebinding",
        "reader",
        "-n",
        namespace,
        "--role=reader",
        f"--serviceaccount={namespace}:reader",
    )
    return done(testbed, "create", "token", "reader", "-n", namespace).strip()


def test_who_may_look_at_one_namespace_only_sees_that_and_is_told_what_is_missing(
    control_plane: Testbed, namespace: str
) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 1))
    token = account(control_plane, namespace)

    async def ask(_: Client) -> tuple[set[str], list[str], list[str]]:
        cluster = load(control_plane.kubeconfig)
        narrow = replace(cluster, credentials=Credentials(token=Secret(token.encode())), namespace=namespace)
        async with Client(narrow) as client:
            streams = (await choose(client, namespace))[0]
            async with World(client, namespace=namespace) as world:
                await world.ready()
                deployments = [str(ref) for ref in world.cache.snapshot.workloads.refs if ref.kind == "Deployment"]
                kinds = {f"{each.resource.plural} in {each.namespace}" for each in streams}
                return kinds, world.cache.unseen, deployments

    kinds, unseen, deployments = speaking(control_plane, ask)
    assert kinds == {f"pods in {namespace}", f"deployments in {namespace}"}
    assert deployments == [f"Deployment {namespace}/web"]
    assert "could not see nodes: list and watch are not allowed" in unseen
    assert f"could not see {PODS.plural} outside of the namespace {namespace}" in unseen
