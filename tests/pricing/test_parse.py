"""What can be read of a price catalogue is used, and everything else is reported with file, row, field, value and what is accepted."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import Catalogue, GpuPrice, InstancePrice, UnitPrice
from neaptide.pricing.load import load, shipped
from neaptide.pricing.parse import CatalogueError, parse_csv, parse_yaml, rows_of

COLUMNS = "instance_type,capacity_type,zone,price_per_hour,cpu_milli,memory_mib,pods,arch,gpu,gpu_model,source,date"
GOOD = "m5.large,on-demand,,0.096,1930,6903,29,amd64,0,,list,2026-01-19"
PRICE = "a number of US dollars per hour, from 0 to 1000000"
WHOLE = "a whole number from 1 to 1000000000000"


def of_csv(*lines: str) -> tuple[Catalogue, list[LeftOut]]:
    return parse_csv("\n".join((COLUMNS, *lines)), "prices.csv")


def row(**changed: str) -> str:
    return ",".join((dict(zip(COLUMNS.split(","), GOOD.split(","), strict=True)) | changed).values())


def test_a_csv_row_becomes_a_price() -> None:
    catalogue, left_out = of_csv(GOOD, "g4dn.xlarge,spot,us-east-1a,0.2,3920,14481,29,amd64,1,Tesla-T4,,")
    assert left_out == []
    assert catalogue.instances == (
        InstancePrice("m5.large", "on-demand", 0.096, "", 1930, 6903, 29, "amd64", 0, "", "list", "2026-01-19"),
        InstancePrice("g4dn.xlarge", "spot", 0.2, "us-east-1a", 3920, 14481, 29, "amd64", 1, "Tesla-T4"),
    )


def test_sizes_that_are_not_stated_are_unknown() -> None:
    catalogue, left_out = parse_csv(
        "price_per_hour, instance_type ,capacity_type\n0.5,big,spot\n\n , ,\n", "prices.csv"
    )
    assert (catalogue.instances, left_out) == ((InstancePrice("big", "spot", 0.5),), [])


@pytest.mark.parametrize(
    ("field", "value", "shown", "accepted"),
    [
        pytest.param("price_per_hour", "NaN", "NaN", PRICE, id="a price that is not a number"),
        pytest.param("price_per_hour", "-0.1", "-0.1", PRICE, id="a negative price"),
        pytest.param("price_per_hour", "inf", "inf", PRICE, id="an infinite price"),
        pytest.param("price_per_hour", "1e7", "1e7", PRICE, id="a price beyond reason"),
        pytest.param("price_per_hour", "$1", "$1", PRICE, id="a price with a sign of a currency"),
        pytest.param("price_per_hour", "", "", PRICE, id="a missing price"),
        pytest.param("capacity_type", "reserved", "reserved", "on-demand or spot", id="an unknown capacity type"),
        pytest.param("capacity_type", "", "", "on-demand or spot", id="a missing capacity type"),
        pytest.param("instance_type", " ", "", "a name of printable characters", id="a missing instance type"),
        pytest.param("zone", "a\x07", "a\x07", "a name of printable characters", id="a zone with a bell in it"),
        pytest.param("cpu_milli", "0", "0", WHOLE, id="a node without CPU"),
        pytest.param("cpu_milli", "1.5", "1.5", WHOLE, id="half a thousandth of a core"),
        pytest.param("memory_mib", "-1", "-1", WHOLE, id="negative memory"),
        pytest.param("memory_mib", "9" * 30, "9" * 30, WHOLE, id="more memory than int64 counts"),
        pytest.param("pods", "many", "many", WHOLE, id="pods in words"),
        pytest.param("gpu", "-1", "-1", "a whole number from 0 to 1000000000000", id="negative GPUs"),
        pytest.param(
            "arch", "x86", "x86", "amd64 or arm64 or arm or ppc64le or riscv64 or s390x", id="an unknown arch"
        ),
        pytest.param("date", "19.1.2026", "19.1.2026", "a date as 2026-01-31", id="a date in another form"),
        pytest.param("source", "x" * 500 + "\x07", "x" * 80 + "...", "printable text", id="a long value is cut"),
    ],
)
def test_a_wrong_field_leaves_its_row_out_and_the_others_in(field: str, value: str, shown: str, accepted: str) -> None:
    catalogue, left_out = of_csv(GOOD, row(**{"instance_type": "other", field: value}), row(instance_type="third"))
    assert [price.instance_type for price in catalogue.instances] == ["m5.large", "third"]
    assert left_out == [LeftOut("prices.csv", "line 3", field, shown, accepted)]


@pytest.mark.parametrize("slipped", ["9.6", "0.00096"])
def test_a_price_that_slipped_by_two_digits_is_left_out_with_what_its_family_says(slipped: str) -> None:
    larger = [
        row(instance_type=f"m5.{times}xlarge", price_per_hour=str(0.192 * times), cpu_milli=str(3920 * times))
        for times in (1, 2)
    ]
    catalogue, left_out = of_csv(row(price_per_hour=slipped), *larger)
    assert [price.instance_type for price in catalogue.instances] == ["m5.1xlarge", "m5.2xlarge"]
    assert len(left_out) == 1
    assert (left_out[0].object, left_out[0].field, left_out[0].value) == (
        "line 2",
        "price_per_hour",
        f"{float(slipped):g}",
    )
    assert left_out[0].accepted.startswith("about 0.09453, as others of its family")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([{}, {"zone": "a", "price_per_hour": "9.6"}], id="two prices, of which neither is usual"),
        pytest.param([{"zone": zone, "cpu_milli": ""} for zone in "abc"], id="sizes that are not known"),
        pytest.param([{"zone": "a"}, {"zone": "b"}, {"price_per_hour": "0"}], id="a node that costs nothing"),
        pytest.param(
            [{"zone": zone, "capacity_type": "spot", "price_per_hour": "0.004"} for zone in "abc"]
            + [{"zone": zone} for zone in "abc"],
            id="spot at a twentieth",
        ),
    ],
)
def test_prices_that_may_be_meant_are_used(rows: list[dict[str, str]]) -> None:
    catalogue, left_out = of_csv(*(row(**each) for each in rows))
    assert len(catalogue.instances) == len(rows)
    assert not left_out


def test_every_wrong_field_of_a_row_is_reported() -> None:
    _, left_out = of_csv(row(price_per_hour="nan", pods="x"))
    assert [problem.field for problem in left_out] == ["price_per_hour", "pods"]


def test_of_two_rows_that_say_the_same_the_first_counts() -> None:
    catalogue, left_out = of_csv(GOOD, row(price_per_hour="9"), row(zone="a"))
    assert catalogue.price("m5.large", "on-demand") == 0.096
    accepted = "one row for each instance_type, capacity_type, zone; line 2 has these"
    assert left_out == [LeftOut("prices.csv", "line 3", "instance_type", "m5.large, on-demand, all", accepted)]


def test_a_line_that_is_no_row_is_reported() -> None:
    catalogue, left_out = of_csv(GOOD + ",and,more", GOOD, "a" * 200_000)
    assert [(problem.object, problem.value) for problem in left_out] == [
        ("line 2", "14 cells"),
        ("line 4", "field larger than field limit (131072)"),
    ]
    assert len(catalogue.instances) == 1


def test_a_column_that_means_nothing_is_reported_and_the_rest_is_read() -> None:
    catalogue, left_out = parse_csv("instance_type,capacity_type,price_per_hour,zones\nbig,spot,1,a", "p.csv")
    assert len(catalogue.instances) == 1
    assert [(problem.object, problem.field) for problem in left_out] == [("line 1", "zones")]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("", "instance_type, price_per_hour, capacity_type", id="nothing"),
        pytest.param("instance_type,capacity_type\nm5.large,spot", "price_per_hour", id="no price"),
        pytest.param("instance_type,capacity_type,price_per_hour,zone,zone\n", "", id="a column twice"),
    ],
)
def test_a_csv_file_without_a_header_to_go_by_is_unreadable(text: str, field: str) -> None:
    with pytest.raises(CatalogueError, match="a header with each of instance_type") as error:
        parse_csv(text, "prices.csv")
    assert error.value.left_out.field == field


YAML = """
source: our own
date: 2026-02-01
capacity_type: on-demand
instance_types:
  - {instance_type: m5.large, price_per_hour: 0.096}
  - {instance_type: m5.large, price_per_hour: 0.03, capacity_type: spot, zone: a, source: ~, date: null}
units:
  - {family: "*", price_per_vcpu_hour: 0.03, price_per_gib_hour: 0.004}
  - {family: n1, price_per_vcpu_hour: 0.02, price_per_gib_hour: 0.003, zone: no}
gpus:
  - {gpu_model: T4, price_per_gpu_hour: 0.35, also: [Tesla-T4]}
"""


def test_a_yaml_catalogue_has_instance_types_units_and_gpus_with_common_defaults() -> None:
    catalogue, left_out = parse_yaml(YAML, "prices.yaml")
    assert left_out == []
    common = {"source": "our own", "date": "2026-02-01"}
    assert catalogue.instances == (
        InstancePrice("m5.large", "on-demand", 0.096, source="our own", date="2026-02-01"),
        InstancePrice("m5.large", "spot", 0.03, "a"),
    )
    assert catalogue.units == (
        UnitPrice("*", "on-demand", 0.03, 0.004, **common),
        UnitPrice("n1", "on-demand", 0.02, 0.003, "no", **common),
    )
    assert catalogue.gpus == (GpuPrice("T4", "on-demand", 0.35, also=("Tesla-T4",), **common),)


def test_a_yaml_list_alone_is_one_of_instance_types() -> None:
    catalogue, left_out = parse_yaml("- {instance_type: big, capacity_type: spot, price_per_hour: 1}", "prices.yaml")
    assert (catalogue.instances, left_out) == ((InstancePrice("big", "spot", 1.0),), [])


@pytest.mark.parametrize(
    ("text", "name", "field", "value"),
    [
        pytest.param("- {instance_type: b, price_per_hour: .nan, capacity_type: spot}", "instance_types[1]", "price_per_hour", ".nan", id="NaN as YAML writes it"),
        pytest.param("- {instance_type: b, price_per_hour: [1], capacity_type: spot}", "instance_types[1]", "price_per_hour", "a list", id="a list of prices"),
        pytest.param("- 7", "instance_types[1]", "", "7", id="a number for a row"),
        pytest.param("- {instance_type: b, price_per_hour: 1, capacity_type: spot, colour: red}", "instance_types[1]", "colour", "red", id="an unknown field"),
        pytest.param("units: [{price_per_vcpu_hour: 1, price_per_gib_hour: 1, capacity_type: spot}]", "units[0]", "family", "", id="a unit without a family"),
        pytest.param("units: {n1: 1}", "", "units", "a mapping", id="a mapping for a list"),
        pytest.param("gpus: [{gpu_model: T4, price_per_gpu_hour: 1, capacity_type: spot, also: Tesla}]", "gpus[0]", "also", "Tesla", id="a name for a list of names"),
        pytest.param("prices: []", "", "prices", "a list", id="an unknown section"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_yaml_is_left_out_and_the_rest_is_used(text: str, name: str, field: str, value: str) -> None:
    good = "instance_types:\n- {instance_type: a, price_per_hour: 1, capacity_type: spot}\n"
    catalogue, left_out = parse_yaml(good + text, "prices.yaml")
    assert catalogue.price("a", "spot") == 1
    assert catalogue.price("b", "spot") is None
    assert [(problem.object, problem.field, problem.value) for problem in left_out] == [(name, field, value)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("instance_types: [", id="a list without an end"),
        pytest.param("7", id="a number"),
        pytest.param("", id="nothing"),
        pytest.param("{? [a] : b}", id="a list for a key"),
        pytest.param("\x07", id="a bell"),
        pytest.param("[" * 1_000_000, id="deeper than can be followed"),
        pytest.param("a: *nobody", id="an alias of nothing"),
    ],
)
def test_a_yaml_file_that_is_no_catalogue_is_unreadable(text: str) -> None:
    with pytest.raises(CatalogueError) as error:
        parse_yaml(text, "prices.yaml")
    assert error.value.left_out.file == "prices.yaml"


@given(text=st.text() | st.text(alphabet='{}[]:,-\n "&*?~abc01.').map(lambda text: "instance_types:\n" + text))
def test_any_text_is_read_or_refused_and_stops_nothing(text: str) -> None:
    for parse in (parse_csv, parse_yaml):
        try:
            catalogue, left_out = parse(text, "any")
        except CatalogueError:
            continue
        assert all(problem.file == "any" and problem.accepted for problem in left_out)
        assert all(0 <= price.price_per_hour <= 1e6 for price in catalogue.instances)


@given(st.lists(st.lists(st.text(max_size=8) | st.sampled_from(["spot", "0.1", "nan"]), max_size=14), max_size=8))
def test_any_rows_beside_a_good_one_leave_the_good_one_in(rows: list[list[str]]) -> None:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in rows]
    catalogue, _ = of_csv(GOOD, *quoted)
    assert catalogue.price("m5.large", "on-demand") == 0.096


def test_files_are_read_by_what_their_names_end_in(tmp_path: Path) -> None:
    path = tmp_path / "prices.CSV"
    path.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join((COLUMNS, GOOD, row(instance_type="ü"))).encode("latin-1", "replace")
    )
    catalogue, left_out = load(path)
    assert catalogue.price("m5.large", "on-demand") == 0.096
    assert [problem.field for problem in left_out] == ["instance_type"]
    for name in ("prices.yaml", "prices.yml", "prices.json"):
        (tmp_path / name).write_text('[{"instance_type": "a", "capacity_type": "spot", "price_per_hour": 1}]')
        assert load(tmp_path / name)[0].price("a", "spot") == 1


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("nowhere.csv", "No such file or directory", "a file that can be read"),
        ("prices.txt", ".txt", "a file that ends in .csv, .yaml, .yml, .json"),
        ("prices", "", "a file that ends in .csv, .yaml, .yml, .json"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_says_why(
    tmp_path: Path, name: str, value: str, accepted: str
) -> None:
    with pytest.raises(CatalogueError) as error:
        load(tmp_path / name)
    assert error.value.left_out == LeftOut(str(tmp_path / name), "", "", value, accepted)


def test_the_catalogue_that_ships_is_clean_and_says_where_its_prices_are_from() -> None:
    catalogue = shipped()
    assert catalogue.price("m5.large", "on-demand") == 0.096
    assert catalogue.price("p3.2xlarge", "on-demand", "us-east-1a") == 3.06
    assert catalogue.price("m5.large", "spot") is None
    assert all(price["source"] for rows in rows_of(catalogue).values() for price in rows)
    assert all(price.cpu_milli and price.memory_mib and price.pods for price in catalogue.instances)
