"""The scene of the virtual node, as `make demo-virtual` plays it."""

from decimal import Decimal, getcontext
from pathlib import Path

import pytest
from tests.realnodes import _require

from neaptide.testbed.scenes.virtual import MANIFEST, PERL, play

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "pi.yaml"


def test_the_manifest_is_the_one_that_the_docs_show() -> None:
    assert MANIFEST.read_bytes() == EXAMPLE.read_bytes()


@pytest.mark.slow
def test_a_job_larger_than_its_cluster_runs_on_the_virtual_node_and_its_seconds_are_billed(tmp_path: Path) -> None:
    _require()
    if missing := [each for each in PERL.host if not Path(each).exists()]:
        pytest.skip(f"not on this machine: {', '.join(missing)}; as root: make system-deps")
    said: list[str] = []
    digits = play(tmp_path, said.append).strip()
    assert digits == pi(2000)
    told = "\n".join(said)
    for event in ("FailedScheduling", "VirtualNodeOverflow", "Scheduled", "Pulled", "Created", "Started"):
        assert event in told
    assert "vk/Job/pi" in said[-1]


def pi(digits: int) -> str:
    """By Machin's formula, to so many digits in all."""
    getcontext().prec = digits + 20
    found = 16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)
    getcontext().prec = digits
    return str(+found)


def arctan_of_inverse(number: int) -> Decimal:
    term = total = Decimal(1) / number
    divisor, sign, square = 1, 1, number * number
    while term:
        term /= square
        divisor, sign = divisor + 2, -sign
        before, total = total, total + sign * term / divisor
        if before == total:
            break
    return total
