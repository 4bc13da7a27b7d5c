"""Policies of admission as settings of the pipeline, and the objects at the API server that bring pods to it."""

import base64
import contextlib
from collections.abc import Collection, Iterable, Sequence

import msgspec
import structlog
from msgspec import Struct, field

from neaptide.admission.cel import objects_of
from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.pod_defaults import PodDefaultsSpec
from neaptide.admission.registry import RULES
from neaptide.kube.crds.policy import PolicyObject
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.errors import Conflict, Invalid, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import MUTATING_POLICIES, MUTATING_POLICY_BINDINGS, MUTATING_WEBHOOKS, Resource
from neaptide.loop import Mode
from neaptide.model.objects import Metadata
from neaptide.model.problems import FieldError

OWNED = {"app.kubernetes.io/managed-by": "neaptide"}
"""Labels of the objects that are written, and taken away, from here."""
_TRIES = 5


def rule_settings(raws: Iterable[bytes], priority_classes: Collection[str]) -> list[RuleSetting]:
    """The settings of the Policies of admission that are enforced, in the registry's order and then by name.

    One that gives a priority class which is not there is left out until it is: with it the API server would refuse every pod.
    """
    order = {rule.name: position for position, rule in enumerate(RULES)}
    found = []
    for raw in raws:
        try:
            policy = msgspec.json.decode(raw, type=PolicyObject)
        except (msgspec.MsgspecError, FieldError):
            continue  # its status says so (kube/configuration.py)
        spec = policy.spec
        if spec.mode is Mode.ENFORCE and spec.policy in order and missing_class(spec.own, priority_classes) is None:
            rule = RULES[order[spec.policy]]
            found.append(RuleSetting(policy.metadata.name, rule, spec.own, spec.scope))
    return sorted(found, key=lambda each: (order[each.rule.name], each.policy))


def missing_class(spec: Struct, priority_classes: Collection[str]) -> str | None:
    """The priority class that a rule would give and that does not exist."""
    wanted = spec.priority_class_name if isinstance(spec, PodDefaultsSpec) else ""
    return wanted if wanted and wanted not in priority_classes else None


async def say_in_cel(client: Client, settings: Sequence[RuleSetting]) -> None:
    """Have the API server do what CEL can say of the settings, and take away what was said of others before. Raises ApiError."""
    wanted = objects_of(settings)
    for resource in (MUTATING_POLICIES, MUTATING_POLICY_BINDINGS):
        there = await _owned(client, resource)
        for item in wanted:
            if item["kind"] == resource.kind:
                item["metadata"]["labels"] = OWNED
                name = item["metadata"]["name"]
                if name in there:
                    await client.apply(resource, name, item, force=True)
                else:
                    await client.create(resource, item)
    names = {(item["kind"], item["metadata"]["name"]) for item in wanted}
    for resource in (MUTATING_POLICY_BINDINGS, MUTATING_POLICIES):
        for name in await _owned(client, resource):
            if (resource.kind, name) not in names:
                with contextlib.suppress(NotFound):
                    await client.delete(resource, name)


async def trust(client: Client, configuration: str, bundle: bytes) -> None:
    """Have the API server trust an authority for all webhooks of a MutatingWebhookConfiguration. Raises ApiError."""
    text = base64.b64encode(bundle).decode()
    for left in reversed(range(_TRIES)):
        raw = await client.get(MUTATING_WEBHOOKS, configuration)
        found = msgspec.json.decode(raw, type=_Configuration)
        wrong = [number for number, hook in enumerate(found.webhooks) if hook.client_config.ca_bundle != text]
        if not wrong:
            return
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version},
            *({"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": text} for number in wrong),
        ]
        try:
            await client.patch(MUTATING_WEBHOOKS, configuration, patch, kind=Patch.JSON)
        except (Conflict, Invalid):  # a failed test of a JSON Patch is 422
            if not left:
                raise
        else:
            structlog.get_logger().info("webhook trusted", configuration=configuration, webhooks=len(wrong))
            return


class _ClientConfig(Struct, rename="camel"):
    ca_bundle: str = field(name="caBundle", default="")


class _Webhook(Struct, rename="camel"):
    client_config: _ClientConfig = field(default_factory=_ClientConfig)


class _Configuration(Struct, rename="camel"):
    metadata: Metadata = field(default_factory=Metadata)
    webhooks: list[_Webhook] = []


class _Object(Struct):
    metadata: Metadata = field(default_factory=Metadata)


async def _owned(client: Client, resource: Resource) -> list[str]:
    selector = ",".join(f"{key}={value}" for key, value in OWNED.items())
    pages = [page async for page in client.list(resource, label_selector=selector)]
    return [item.metadata.name for page in pages for item in items_of(page, _Object)]
