"""The CustomResourceDefinitions of `neaptide.io`, made from the Structs; `python -m` this module with a directory writes them."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec import Struct, structs

from neaptide.kube.crds import described
from neaptide.kube.crds.plan import PlanObject
from neaptide.kube.crds.policy import PolicyObject
from neaptide.kube.crds.price_catalogue import PriceCatalogueObject
from neaptide.kube.crds.schema import schema_of
from neaptide.kube.crds.types import GROUP, VERSION

MODULE = "neaptide.kube.crds.definitions"
_READY = '.status.conditions[?(@.type=="Ready")].status'


class _Plain(yaml.SafeDumper):
    """Writes what stands in several places in each of them."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


class Column(NamedTuple):
    """What `kubectl get` shows; a wide column only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


class Definition(NamedTuple):
    """A kind of the API."""

    struct: type[Struct]
    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        return str(next(each.default for each in structs.fields(self.struct) if each.name == "kind"))

    @property
    def name(self) -> str:
        return f"{self.plural}.{GROUP}"

    def manifest(self) -> dict[str, Any]:
        """The CustomResourceDefinition."""
        schema = schema_of(self.struct)
        properties = {name: schema["properties"][name] for name in ("spec", "status")}
        columns = (*self.columns, Column("Age", ".metadata.creationTimestamp", "date"))
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name, "annotations": {"helm.sh/resource-policy": "keep"}},
            "spec": {
                "group": GROUP,
                "scope": "Cluster",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                    "shortNames": [self.short],
                    "categories": ["neaptide"],
                },
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [_column(each) for each in columns],
                        "schema": {
                            "openAPIV3Schema": {
                                "description": described.summary(self.struct),
                                "type": "object",
                                "required": ["spec"],
                                "properties": {
                                    "apiVersion": {"type": "string"},
                                    "kind": {"type": "string"},
                                    "metadata": {"type": "object"},
                                    **properties,
                                },
                            }
                        },
                    }
                ],
            },
        }


DEFINITIONS = (
    Definition(
        PolicyObject,
        "policies",
        "npol",
        (
            Column("Policy", ".spec.policy"),
            Column("Mode", ".spec.mode"),
            Column("Ready", _READY),
            Column("Actions", ".status.lastPlan.actions", "integer"),
            Column("USD/h", ".status.lastPlan.moneyPerHour", "number"),
            Column("Done", ".status.lastPlan.done", "integer", wide=True),
            Column("Refused", ".status.lastPlan.refused", "integer", wide=True),
            Column("Planned", ".status.lastPlan.time", "date", wide=True),
        ),
    ),
    Definition(
        PriceCatalogueObject,
        "pricecatalogues",
        "npc",
        (
            Column("Ready", _READY),
            Column("Rows", ".status.rows", "integer"),
            Column("Left out", ".status.leftOut", "integer"),
            Column("Date", ".spec.date"),
            Column("Source", ".spec.source", wide=True),
        ),
    ),
    Definition(
        PlanObject,
        "plans",
        "nplan",
        (
            Column("Phase", ".status.phase"),
            Column("Approved", ".spec.approved", "boolean"),
            Column("Evictions", ".spec.evictions", "integer"),
            Column("USD/h now", ".spec.money.now", "number"),
            Column("USD/h planned", ".spec.money.planned", "number"),
            Column("USD/h bound", ".spec.money.bound", "number", wide=True),
            Column("Expires", ".spec.expires", "string"),
            Column("Message", ".status.message", wide=True),
        ),
    ),
)


def text(definition: Definition) -> str:
    """A CustomResourceDefinition as the YAML that is kept in the chart."""
    content = yaml.dump(definition.manifest(), Dumper=_Plain, sort_keys=False, width=120)
    return f"# Made from the Structs by `python -m {MODULE} DIRECTORY`.\n{content}"


def _column(column: Column) -> dict[str, Any]:
    found = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return found | ({"priority": 1} if column.wide else {})


if __name__ == "__main__":
    for each in DEFINITIONS:
        (Path(sys.argv[1]) / f"{each.name}.yaml").write_text(text(each), encoding="utf-8")
