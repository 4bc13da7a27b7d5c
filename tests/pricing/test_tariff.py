"""What virtual capacity is rounded up to, and what it costs."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.pricing.tariff import Size
from neaptide.pricing.tariff_files import SHIPPED, TariffError, load, parse

GIB = 2**30


def requests(vcpu: float, gib: float, **more: int) -> dict[str, int]:
    return {"cpu": round(vcpu * 1000), "memory": round(gib * GIB), **more}


@pytest.mark.parametrize(
    ("tariff", "asked", "expected"),
    [
        pytest.param("eci", {}, (2, 4), id="ECI counts 2 vCPU and 4 GiB where nothing is asked for"),
        pytest.param("eci", requests(16, 32), (16, 32), id="ECI sells 16 and 32 as it is"),
        pytest.param("eci", requests(7, 13), (8, 16), id="ECI rounds both up"),
        pytest.param("eci", requests(0.1, 0.1), (0.25, 0.5), id="ECI's smallest"),
        pytest.param("eci", requests(5, 40), (8, 64), id="ECI: more memory for 8 vCPU is cheaper than 12 vCPU"),
        pytest.param("eci", requests(65, 1), None, id="nothing of ECI is large enough"),
        pytest.param("fargate", {}, (0.25, 0.5), id="Fargate's smallest where nothing is asked for"),
        pytest.param("fargate", requests(0.25, 0.5), (0.25, 1), id="Fargate: 256 MiB more pass the size"),
        pytest.param("fargate", requests(0.25, 0.25), (0.25, 0.5), id="Fargate: 256 MiB more just fit"),
        pytest.param("fargate", requests(1, 8), (2, 9), id="Fargate: more memory takes more vCPU"),
        pytest.param("fargate", requests(4, 29.75), (4, 30), id="Fargate: the largest of 4 vCPU"),
        pytest.param("fargate", requests(16, 32), (16, 40), id="Fargate steps by 8 GiB for 16 vCPU"),
        pytest.param("fargate", requests(1, 2, **{"nvidia.com/gpu": 1}), None, id="no GPU is sold"),
        pytest.param("fargate", requests(1, 1, pods=1), (1, 2), id="that a pod is one pod is no matter"),
    ],
)
def test_a_request_is_rounded_up_to_what_is_sold(
    tariff: str, asked: dict[str, int], expected: tuple[float, float] | None
) -> None:
    size = load(tariff).size_for(asked)
    assert size == (None if expected is None else Size(round(expected[0] * 1000), round(expected[1] * 1024)))


@pytest.mark.parametrize("name", SHIPPED)
@given(cpu=st.integers(0, 70_000), memory=st.integers(0, 600 * GIB), more=st.integers(0, 8 * GIB))
def test_what_is_paid_for_holds_the_request_and_asking_for_more_costs_no_less(
    name: str, cpu: int, memory: int, more: int
) -> None:
    tariff = load(name)
    size, larger = (
        tariff.size_for({"cpu": cpu, "memory": memory}),
        tariff.size_for({"cpu": cpu, "memory": memory + more}),
    )
    if size is None:
        assert larger is None or not (cpu or memory)
        return
    assert size.cpu_milli >= cpu
    assert size.memory_mib * 2**20 >= memory + tariff.overhead_mib * 2**20 or not (cpu or memory)
    if larger is not None and (cpu or memory):
        assert (tariff.price_per_hour(larger) or 0) >= (tariff.price_per_hour(size) or 0)


def test_the_price_is_that_of_the_rounded_size_and_a_minimum_counts() -> None:
    eci, fargate = load("eci"), load("fargate")
    assert eci.price_per_hour(Size(16_000, 32 * 1024)) == pytest.approx(16 * 0.02772 + 32 * 0.003456)
    assert fargate.cost(Size(1000, 2048), 10) == pytest.approx((0.04048 + 2 * 0.004445) * 60 / 3600)
    assert eci.cost(Size(1000, 2048), 10) == pytest.approx((0.02772 + 2 * 0.003456) * 10 / 3600)


def test_an_unknown_price_is_not_zero() -> None:
    assert load("fargate").price_per_hour(Size(1000, 2048), spot=True) is None
    own = parse("name: own\nsizes: [{vcpu: 1, gib: [2]}]", "own.yaml")
    assert own.price_per_hour(own.sizes[0]) is None
    assert own.cost(own.sizes[0], 60) is None


def test_spot_costs_its_share() -> None:
    text = "{name: own, sizes: [{vcpu: 1, gib: [1]}], price_per_vcpu_hour: 1, price_per_gib_hour: 1, spot_share: 0.3}"
    assert parse(text, "own.yaml").price_per_hour(Size(1000, 1024), spot=True) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("name: own", "missing required field `sizes`", id="no sizes"),
        pytest.param("[1, 2]", "accepted: a mapping with name, sizes", id="a list"),
        pytest.param("name: [", "accepted: one YAML document", id="no YAML"),
        pytest.param("{name: own, sizes: [{vcpu: -1, gib: [1]}]}", r"\$.sizes\[0\].vcpu", id="negative"),
        pytest.param(
            "{name: own, sizes: [{vcpu: 1, gib: [1]}], spot: 1}", "unknown field `spot`", id="a misspelt field"
        ),
        pytest.param("{name: own, sizes: [{vcpu: 1, gib: {from: 4, to: 2, step: 1}}]}", "from 4 to 2", id="backwards"),
    ],
)
def test_a_file_that_is_no_tariff_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(TariffError, match=said):
        parse(text, "own.yaml")


def test_a_file_of_ones_own_is_read_and_a_missing_one_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("{name: own, sizes: [{vcpu: 0.5, gib: {from: 1, to: 2, step: 0.5}}]}")
    assert [size.memory_mib for size in load(tmp_path / "own.yaml").sizes] == [1024, 1536, 2048]
    with pytest.raises(TariffError, match="accepted: eci, fargate, or a YAML file"):
        load(tmp_path / "absent.yaml")
    assert not math.isnan(load("eci").price_per_vcpu_hour or math.nan)
