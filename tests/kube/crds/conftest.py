"""The shared control plane with Neaptide's kinds in it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from neaptide.kube.crds.definitions import DEFINITIONS, Definition
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import component_named
from neaptide.testbed.server import RefusedError, Server

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Create = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def api(control_plane: Testbed) -> Iterator[Server]:
    """A connection to an API server that serves the three kinds."""
    with Server(component_named("kube-apiserver"), control_plane.site) as server:
        made = [each for each in DEFINITIONS if not server.is_ready(f"{_DEFINITIONS}/{each.name}")]
        for each in made:
            server.call("POST", _DEFINITIONS, each.manifest())
        for each in DEFINITIONS:
            while not server.is_ready(path_of(each)):
                pass
        yield server
        for each in made:
            server.call("DELETE", f"{_DEFINITIONS}/{each.name}")


@pytest.fixture
def create(api: Server) -> Create:
    """Asks the API server what it would store of a kind and a spec (nothing is stored), as strictly as kubectl does."""

    def ask(kind: str, spec: object) -> dict[str, Any]:
        definition = next(each for each in DEFINITIONS if each.kind == kind)
        body = {"apiVersion": "neaptide.io/v1alpha1", "kind": kind, "metadata": {"name": "test"}, "spec": spec}
        answer = api.call("POST", f"{path_of(definition)}?dryRun=All&fieldValidation=Strict", body)
        return msgspec.json.decode(answer, type=dict[str, Any])

    return ask


@pytest.fixture
def refusal(create: Create) -> Callable[[str, object], str]:
    """What the API server says to a spec, which it must refuse."""

    def ask(kind: str, spec: object) -> str:
        with pytest.raises(RefusedError) as found:
            create(kind, spec)
        return str(found.value)

    return ask


def path_of(definition: Definition) -> str:
    return f"/apis/neaptide.io/v1alpha1/{definition.plural}"
