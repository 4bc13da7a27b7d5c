"""Settings that the API server would refuse on every pod are refused before."""

from typing import Any

import pytest

from neaptide.admission.pod_defaults import PodDefaults, PodDefaultsSpec
from neaptide.model.problems import FieldError


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"labels": {"a~b": "x"}}, "labels", id="a label's name with a tilde"),
        pytest.param({"labels": {"a/b/c": "x"}}, "labels", id="two slashes"),
        pytest.param({"labels": {"a": "-x"}}, "labels[a]", id="a value that begins with a hyphen"),
        pytest.param({"labels": {"a": "x" * 64}}, "labels[a]", id="a value that is too long"),
        pytest.param({"annotations": {"": "x"}}, "annotations", id="an annotation without a name"),
    ],
)
def test_what_the_api_server_would_refuse_is_an_error_with_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as error:
        PodDefaultsSpec(**fields)
    assert error.value.field == field


def test_names_and_values_that_kubernetes_takes_are_taken() -> None:
    PodDefaultsSpec(
        labels={"koordinator.sh/qosClass": "BE", "a": ""}, annotations={"note": "any text, 'quoted' or not"}
    )


def test_settings_that_give_nothing_need_no_policy_of_the_api_server() -> None:
    assert PodDefaults().mutations(PodDefaultsSpec()) == []
