"""The chart's CustomResourceDefinitions are those of the Structs."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs

from neaptide.admission.registry import RULES
from neaptide.kube.crds import price_catalogue
from neaptide.kube.crds.definitions import DEFINITIONS, Definition, text
from neaptide.kube.crds.policy import KINDS, PolicyObject, field_of
from neaptide.kube.crds.reference import page
from neaptide.kube.crds.types import Condition, transition
from neaptide.policies.registry import POLICIES
from neaptide.pricing.rows import GPU, INSTANCE, UNIT, Form

ROOT = Path(__file__).parents[3]
CRDS = ROOT / "charts" / "neaptide" / "files" / "crds"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
def test_the_chart_holds_what_the_structs_say(definition: Definition) -> None:
    """If this fails: `python -m neaptide.kube.crds.definitions charts/neaptide/files/crds`."""
    assert (CRDS / f"{definition.name}.yaml").read_text(encoding="utf-8") == text(definition)


def test_the_page_says_what_the_structs_say() -> None:
    """If this fails: `python -m neaptide.kube.crds.reference docs/api.md`."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page(text) == text


def test_the_chart_holds_no_definition_of_a_kind_that_is_no_more() -> None:
    assert sorted(each.stem for each in CRDS.iterdir()) == sorted(each.name for each in DEFINITIONS)


def test_every_policy_and_every_admission_rule_has_its_field() -> None:
    assert list(KINDS) == [field_of(name) for name in [each.name for each in POLICIES] + [each.name for each in RULES]]
    spec = spec_of(DEFINITIONS[0])
    assert set(KINDS) < set(spec["properties"])
    assert spec["properties"]["policy"]["enum"] == list(KINDS)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
def test_every_field_of_a_spec_is_described(definition: Definition) -> None:
    assert [name for name, each in spec_of(definition)["properties"].items() if not each.get("description")] == []


@pytest.mark.parametrize(
    ("row", "form"),
    [
        pytest.param(price_catalogue.InstanceRow, INSTANCE, id="instance types"),
        pytest.param(price_catalogue.UnitRow, UNIT, id="units"),
        pytest.param(price_catalogue.GpuRow, GPU, id="GPUs"),
    ],
)
def test_a_price_catalogue_has_the_rows_of_a_price_file(row: type[msgspec.Struct], form: Form) -> None:
    fields = {each.name: each for each in structs.fields(row)}
    assert fields.keys() == form.fields.keys()
    needed = {name for name, field in form.fields.items() if field.required} - {"capacity_type"}
    assert {name for name, each in fields.items() if each.required} == needed
    price = next(name for name in fields if name.startswith("price_"))
    limits = next(each for each in get_args(fields[price].type) if isinstance(each, msgspec.Meta))
    assert limits.ge is not None
    assert limits.le is not None
    for accepted in (limits.ge, limits.le):
        form.fields[price].parse(str(accepted))
    with pytest.raises(ValueError, match=r"\d"):
        form.fields[price].parse(str(limits.le * 1.01))


def test_a_price_catalogue_is_read_as_a_price_file_is() -> None:
    rows = [{"instance_type": "m5.large", "price_per_hour": 0.096}, {"instance_type": "m5.large", "price_per_hour": 1}]
    spec = {"capacity_type": "spot", "instance_types": rows}
    raw = msgspec.json.encode({"metadata": {"name": "ours"}, "spec": spec})
    catalogue, left_out = price_catalogue.read(raw)
    assert catalogue.price("m5.large", "spot") == 0.096
    assert [(each.file, each.object, each.value) for each in left_out] == [
        ("PriceCatalogue ours", "instance_types[1]", "m5.large, spot, all")
    ]


def test_a_policy_without_settings_of_its_own_has_the_defaults() -> None:
    for name, kind in KINDS.items():
        decoded = msgspec.convert({"spec": {"policy": name}}, PolicyObject)
        assert decoded.spec.own == kind.spec_type()
        assert decoded.spec.kind is kind


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = Condition("Ready", "True", "Read", "2026-01-01T00:00:00Z")
    again = structs.replace(first, last_transition_time="2026-01-02T00:00:00Z", observed_generation=2)
    broken = structs.replace(again, status="False", last_transition_time="2026-01-03T00:00:00Z")
    other = Condition("Conflict", "False", "Alone", "2026-01-01T00:00:00Z")
    after = transition((first, other), again)
    assert after == (structs.replace(again, last_transition_time="2026-01-01T00:00:00Z"), other)
    assert transition(after, broken) == (broken, other)
    assert transition((), first) == (first,)


def spec_of(definition: Definition) -> dict[str, Any]:
    """The schema of a kind's `spec`."""
    version: dict[str, Any] = definition.manifest()["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found
