"""What Structs check beyond their types, as the API server can check it: limits, and CEL rules with a sentence that helps.

CEL wants a bound on everything that a rule walks through, so lists and texts that rules read have one.
"""

from typing import Any

from msgspec import Struct, defstruct, field
from msgspec.structs import fields

from neaptide.admission.pod_defaults import PodDefaultsSpec
from neaptide.admission.registry import RULES
from neaptide.admission.virtual_nodes import VirtualNodesSpec
from neaptide.kube.crds.plan import PlanSpec
from neaptide.kube.crds.policy import KINDS, PolicySpec, Schedule, field_of
from neaptide.kube.crds.price_catalogue import PriceCatalogueSpec
from neaptide.model.objects import LabelSelector, Requirement
from neaptide.model.scope import Scope
from neaptide.policies.arbiter import Budgets
from neaptide.policies.colocation import ColocationStrategy
from neaptide.policies.reclaim import ReclaimSpec
from neaptide.policies.time_windows_spec import Rule, TimeWindowsSpec
from neaptide.policies.window_schedule import MAX_DURATION, WindowSpec

Schema = dict[str, Any]

_CRON_ITEM = r"(\\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?|[0-9A-Za-z]+#[0-9]|L"
_CRON = rf"^(({_CRON_ITEM})(,({_CRON_ITEM}))*)( +({_CRON_ITEM})(,({_CRON_ITEM}))*){{4}}$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_NAMESPACE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def rules(*rules: tuple[str, str]) -> Schema:
    """CEL expressions that must be true, each with what is said where it is not."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def _at_least(least: int, most: int) -> Schema:
    return {"minimum": least, "maximum": most}


def _one_policy() -> Schema:
    """Only the settings of the policy that is named; of an admission rule, nothing that is about a loop."""
    own = [
        (
            f"self.policy == '{name}' || !has(self.{name})",
            f"the field {name} is for `policy: {name}`: name that policy, or take the field away",
        )
        for name in KINDS
    ]
    of_admission = [
        (
            f"self.policy != '{name}' || !has(self.limits) && !has(self.schedule) && !(has(self.scope) && has(self.scope.nodeSelector))",
            f"{name} acts on pods before they are created: limits, schedule and scope.nodeSelector are not for it",
        )
        for name in (field_of(each.name) for each in RULES)
    ]
    return rules(*own, *of_admission)


def _unchanging(*names: str) -> dict[tuple[type[Struct], str], Schema]:
    return {
        (PlanSpec, name): rules(("self == oldSelf", "a Plan does not change, only `approved` does: make a new one"))
        for name in names
    }


NodeConfig: Any = defstruct(
    "NodeConfig",
    [
        ("name", str | None, None),
        ("node_selector", LabelSelector | None, None),
        *(
            (each.name, each.type | None, field(name=each.encode_name, default=None))
            for each in fields(ColocationStrategy)
        ),
    ],
    rename="camel",
    namespace={"__doc__": "Nodes by their labels, and the values that differ there."},
)

INSTEAD: dict[tuple[type[Struct], str], Any] = {(ReclaimSpec, "node_configs"): tuple[NodeConfig, ...]}
"""Types of fields that say more than a Struct's own."""

OF_STRUCTS: dict[type[Struct], Schema] = {
    PolicySpec: _one_policy(),
    LabelSelector: {"x-kubernetes-map-type": "atomic"},
    Requirement: {"required": ["key", "operator"]}
    | rules(
        (
            "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
            "In and NotIn need values, Exists and DoesNotExist must have none",
        )
    ),
    TimeWindowsSpec: rules(
        (
            "!has(self.rules) || self.rules.all(a, !has(a.name) || a.name == '' || self.rules.exists_one(b, has(b.name) && b.name == a.name))",
            "every rule needs a name that no other rule has (or none)",
        )
    ),
    Rule: rules(
        (
            "has(self.valley) || (has(self.windows) && size(self.windows) > 0)",
            "a rule needs at least one window, or a valley: without them nothing would ever run",
        )
    ),
    PodDefaultsSpec: rules(
        (
            "has(self.priorityClassName) || has(self.labels) || has(self.annotations)",
            "at least one of priorityClassName, labels and annotations: without them nothing would be given",
        ),
    ),
    PlanSpec: rules(
        ("self.expires > self.created", "expires must be later than created"),
        (
            "!has(oldSelf.approved) || !oldSelf.approved || self.approved",
            "an approved Plan stays approved: delete it to stop it",
        ),
    ),
    PriceCatalogueSpec: rules(
        (
            "has(self.instance_types) || has(self.units) || has(self.gpus)",
            "at least one of the lists instance_types, units and gpus",
        ),
        *(
            (
                f"has(self.capacity_type) || !has(self.{rows}) || self.{rows}.all(row, has(row.capacity_type))",
                f"every row of {rows} needs a capacity_type, or the catalogue one for all of them",
            )
            for rows in ("instance_types", "units", "gpus")
        ),
    ),
}

OF_FIELDS: dict[tuple[type[Struct], str], Schema] = {
    (Scope, "namespaces"): {
        "maxItems": 256,
        "items": {"type": "string", "maxLength": 63, "pattern": _NAMESPACE},
    },
    (Requirement, "operator"): {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
    (Requirement, "key"): {"minLength": 1, "maxLength": 317},
    (Requirement, "values"): {"maxItems": 256},
    (LabelSelector, "match_expressions"): {"maxItems": 64},
    (Schedule, "windows"): {"maxItems": 32},
    (WindowSpec, "schedule"): {"maxLength": 128}
    | rules((f"self.matches('{_CRON}')", "a cron expression of five fields such as `0 22 * * MON-FRI`")),
    (WindowSpec, "duration_seconds"): {"minimum": 0, "exclusiveMinimum": True, "maximum": int(MAX_DURATION)},
    # getHours fails for a time zone that there is none of, and the refusal names it.
    (WindowSpec, "time_zone"): {"minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z]"}
    | rules(
        (
            "timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
            "an IANA time zone such as Europe/Berlin",
        )
    ),
    (Budgets, "evictions_per_cycle"): _at_least(0, 100_000),
    (Budgets, "evictions_per_node"): _at_least(0, 100_000),
    (Budgets, "evictions_per_workload_percent"): _at_least(0, 100),
    (Budgets, "evictions_per_workload_per_hour"): _at_least(0, 100_000),
    (Budgets, "minimum_stay_seconds"): _at_least(0, 10**7),
    (Budgets, "ownership_seconds"): _at_least(0, 10**7),
    (ReclaimSpec, "node_configs"): {"maxItems": 64},
    (TimeWindowsSpec, "rules"): {"maxItems": 64},
    (Rule, "name"): {"maxLength": 128},
    (Rule, "windows"): {"maxItems": 16},
    (PodDefaultsSpec, "priority_class_name"): {"maxLength": 253, "pattern": _SUBDOMAIN},
    (PodDefaultsSpec, "labels"): {
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": _LABEL_VALUE},
    }
    | rules((f"self.all(key, size(key) <= 317 && key.matches('{_LABEL_KEY}'))", "every key must be that of a label")),
    (PodDefaultsSpec, "annotations"): {"maxProperties": 64},
    (VirtualNodesSpec, "labels"): {
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": _LABEL_VALUE},
    }
    | rules((f"self.all(key, size(key) <= 317 && key.matches('{_LABEL_KEY}'))", "every key must be that of a label")),
    (VirtualNodesSpec, "annotations"): {"maxProperties": 64},
    (VirtualNodesSpec, "provider"): {"maxLength": 63, "pattern": _LABEL_VALUE},
    **_unchanging("created", "expires", "digest", "money", "evictions", "actions"),
}
