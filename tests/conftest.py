"""What every test may ask for: the public traces, a control plane, and skips that are listed, never silent."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.skips import MACHINE_CANNOT

pytest_plugins = ["tests.controlplane", "tests.realnodes"]

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("default")


@pytest.fixture(scope="session")
def traces() -> Path:
    """The directory with the public traces, one folder a data set (NEAPTIDE_TRACES)."""
    found = os.environ.get("NEAPTIDE_TRACES")
    if not found:
        pytest.skip("NEAPTIDE_TRACES is not set: tests on the whole public traces need a copy of them")
    return Path(found)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def] # noqa: ANN201 - pluggy's wrapper type is not public
    """With NO_SKIP=1 a skipped test has failed, unless it wants what the machine's sandbox forbids."""
    report = yield
    forbidden = MACHINE_CANNOT in str(call.excinfo and call.excinfo.value)
    if report.skipped and os.environ.get("NO_SKIP") == "1" and not forbidden and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} was skipped, and NO_SKIP=1 allows no skips: {call.excinfo and call.excinfo.value}"
        )
    return report
