"""What the tests of the charts share: Helm without and with a cluster, and a controller as the chart's account."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.charts.helm import Helm
from tests.charts.scenes import VALUES, Scene, installed

from neaptide.testbed.cluster import Testbed


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture
def helm_in(tmp_path: Path) -> Callable[[Path], Helm]:
    """Helm with a cluster."""
    return lambda kubeconfig: Helm(tmp_path / "helm", kubeconfig)


@pytest.fixture
def scene(
    own_control_plane: Testbed, helm_in: Callable[[Path], Helm], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    """The charts with the values that the test names, VALUES by default."""
    helm, values = helm_in(own_control_plane.kubeconfig), getattr(request, "param", VALUES)
    made = installed(own_control_plane, helm, tmp_path, values)
    yield made
    made.end()
