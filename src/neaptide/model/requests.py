"""What a pod asks for, as kube-scheduler computes it.

Init containers, sidecars (init containers with restartPolicy Always), overhead, pod-level resources, in-place resize.
Source: k8s.io/component-helpers/resource/helpers.go and kubernetes/pkg/scheduler/framework/types.go, v1.36.
"""

from collections.abc import Callable, Iterable, Mapping

from neaptide.model.objects import Container, PodSpec
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, LARGEST_AMOUNT, for_resource

DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 2**20

Amounts = dict[str, int]
Requests = tuple[dict[str, str], ...]
"""Of which the largest counts."""
_AmountsOf = Callable[[Container], Amounts]


def amounts_in(field: str, quantities: Mapping[str, str], limits: Mapping[str, str] = {}) -> Amounts:
    """Quantities as integers; of `limits` those that have no quantity count. Raises FieldError."""
    amounts = {}
    for resource, text in ({**limits, **quantities} if limits else quantities).items():
        try:
            amount = for_resource(resource, text)
        except ValueError as error:
            raise FieldError(f"{field}[{resource}]", text, ACCEPTED) from error
        if amount < 0:
            raise FieldError(f"{field}[{resource}]", text, "a quantity that is not negative")
        if amount > LARGEST_AMOUNT:
            raise FieldError(f"{field}[{resource}]", text, f"a quantity of at most {LARGEST_AMOUNT}")
        amounts[resource] = amount
    return amounts


def effective_requests(spec: PodSpec, resized: Mapping[str, Requests] = {}) -> Amounts:
    """The amounts that a node must have free, by resource: milli-CPU, bytes, counts.

    Args:
        spec: the pod's spec; a limit without a request counts as the request, as the API server defaults it.
        resized: what an in-place resize lets count instead of the spec's requests, by container, and by "" of the pod itself.

    Raises:
        FieldError: a quantity is malformed or negative.
    """
    total = _aggregate(spec, lambda each: _container(each, resized))
    total.update(_pod_level(spec, resized))
    _add(total, amounts_in("spec.overhead", spec.overhead))
    return {resource: amount for resource, amount in total.items() if amount}


def scoring_requests(spec: PodSpec, resized: Mapping[str, Requests] = {}) -> tuple[int, int]:
    """(milli-CPU, bytes) for scores: a container that names no request counts 100m and 200Mi. Raises FieldError."""
    pod_level, overhead = _pod_level(spec, resized), amounts_in("spec.overhead", spec.overhead)
    known: set[str] = set()
    if pod_level:  # as in v1.36, what such a pod's total names has no default in any of its containers
        known = {*pod_level, *overhead, *_aggregate(spec, lambda each: _container(each, resized))}

    def counted(container: Container) -> Amounts:
        amounts = _container(container, resized)
        return {
            "cpu": amounts.get("cpu", 0 if "cpu" in known else DEFAULT_MILLI_CPU),
            "memory": amounts.get("memory", 0 if "memory" in known else DEFAULT_MEMORY),
        }

    total = _aggregate(spec, counted)
    total.update({resource: amount for resource, amount in pod_level.items() if resource in total})
    return tuple(total.get(each, 0) + overhead.get(each, 0) for each in ("cpu", "memory"))  # type: ignore[return-value] # two names, two amounts


def total_limits(spec: PodSpec) -> Amounts:
    """The sum of the containers' limits; a resource that some container leaves unlimited is absent. Raises FieldError."""
    running = [*spec.containers, *(each for each in spec.init_containers if each.restart_policy == "Always")]
    limits = [amounts_in(f"container {each.name!r} limits", each.resources.limits) for each in running]
    if spec.resources is not None and spec.resources.limits:
        return amounts_in("spec.resources.limits", spec.resources.limits)
    if not limits:
        return {}
    common = set.intersection(*(set(each) for each in limits))
    return {resource: sum(each[resource] for each in limits) for resource in sorted(common)}


def kubernetes_qos(spec: PodSpec) -> str:
    """Kubernetes' own class of a pod: Guaranteed, Burstable or BestEffort."""
    guaranteed, named = True, False
    for container in (*spec.containers, *spec.init_containers):
        requests, limits = container.resources.requests, container.resources.limits
        for resource in ("cpu", "memory"):
            limit = for_resource(resource, limits.get(resource, "0"))
            request = for_resource(resource, requests.get(resource, limits.get(resource, "0")))
            named = named or bool(request or limit)
            guaranteed = guaranteed and bool(limit) and request == limit
    if not named:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _aggregate(spec: PodSpec, amounts_of: _AmountsOf) -> Amounts:
    """Running containers and sidecars together, or the most that any moment of initialisation needs."""
    running: Amounts = {}
    for container in spec.containers:
        _add(running, amounts_of(container))
    sidecars: Amounts = {}
    initial: Amounts = {}
    for container in spec.init_containers:
        moment = dict(sidecars)
        _add(moment, amounts_of(container))
        if container.restart_policy == "Always":
            _add(running, amounts_of(container))
            sidecars = moment
        _raise_to(initial, moment)
    _raise_to(running, initial)
    return running


def _container(container: Container, resized: Mapping[str, Requests]) -> Amounts:
    where = f"container {container.name!r} resources"
    if container.name in resized:
        return _largest(f"{where} and status", resized[container.name])
    return amounts_in(where, container.resources.requests, container.resources.limits)


def _pod_level(spec: PodSpec, resized: Mapping[str, Requests]) -> Amounts:
    """The pod's own requests, which stand for the sum of its containers'."""
    if spec.resources is None:
        return {}
    asked = amounts_in("spec.resources", spec.resources.requests, spec.resources.limits)
    counted = _largest("spec.resources and status", resized[""]) if "" in resized else asked
    names = [each for each in asked if each in ("cpu", "memory") or each.startswith("hugepages-")]
    return {resource: counted.get(resource, 0) for resource in names}


def _largest(where: str, quantities: Iterable[Mapping[str, str]]) -> Amounts:
    found: Amounts = {}
    for each in quantities:
        _raise_to(found, amounts_in(where, each))
    return found


def _add(total: Amounts, amounts: Mapping[str, int]) -> None:
    for resource, amount in amounts.items():
        total[resource] = total.get(resource, 0) + amount


def _raise_to(total: Amounts, amounts: Mapping[str, int]) -> None:
    for resource, amount in amounts.items():
        total[resource] = max(total.get(resource, 0), amount)
