"""One pod through all the rules: `admit(pod, namespace, settings)` gives what to add to it, or why it is refused."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from neaptide.admission.draft import Draft, Operation
from neaptide.admission.protocols import Namespace, RefusedError, Rule
from neaptide.model.objects import MIRROR
from neaptide.model.scope import Scope


class RuleSetting(Struct, frozen=True):
    """A rule as one Policy configures it; `policy` is that Policy's name."""

    policy: str
    rule: Rule
    spec: Any
    scope: Scope = Scope()


class Verdict(Struct, frozen=True):
    """What becomes of a pod.

    Attributes:
        patch: what is added, in order.
        policies: the Policies that added something.
        warnings: sentences for the user.
        refusal: why it is not admitted; empty where it is.
    """

    patch: tuple[Operation, ...] = ()
    policies: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: str = ""


UNCHANGED = Verdict()


def admit(pod: dict[str, Any], namespace: Namespace, settings: Sequence[RuleSetting]) -> Verdict:
    """Pass a pod through the settings in their order; each sees the pod as those before have left it.

    What one adds may bring the pod into the scope of an earlier one, so they are passed until nothing is added: admitting
    the result again changes nothing.

    Args:
        pod: the pod as plain JSON values; it is changed.
        namespace: where it goes.
        settings: in the order of the registry, and of the Policies' names within a rule.
    """
    draft = Draft(pod)
    if MIRROR in draft.annotations:
        return UNCHANGED
    policies: list[str] = []
    try:
        while _pass_through(draft, namespace, settings, policies):
            pass
    except RefusedError as error:
        return Verdict(warnings=tuple(draft.warnings), refusal=str(error))
    return Verdict(tuple(draft.operations), tuple(dict.fromkeys(policies)), tuple(draft.warnings))


def _pass_through(draft: Draft, namespace: Namespace, settings: Sequence[RuleSetting], policies: list[str]) -> bool:
    """One pass; whether it added anything. Names the Policies that did in `policies`."""
    before = len(draft.operations)
    for setting in settings:
        scope = setting.scope
        if not (scope.covers_namespace(namespace.name, namespace.labels) and scope.covers_pod(draft.labels)):
            continue
        done = len(draft.operations)
        try:
            setting.rule.admit(draft, namespace, setting.spec)
        except RefusedError as error:
            raise RefusedError(f"{error} (Policy {setting.policy})") from error
        if len(draft.operations) > done:
            policies.append(setting.policy)
    return len(draft.operations) > before
