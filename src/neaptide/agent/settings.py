"""Settings of the agent: those of the rules, by the fields of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec

from neaptide.noderules.cpu_burst import BurstSettings
from neaptide.noderules.cpu_evict import CpuEvictSettings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.noderules.disk import DiskSettings
from neaptide.noderules.group_priority import PrioritySettings
from neaptide.noderules.interference import InterferenceSettings
from neaptide.noderules.memory_evict import MemoryEvictSettings
from neaptide.noderules.memory_qos import MemoryQosSettings
from neaptide.noderules.slo_share import SloSettings

Rule = TypeVar("Rule", bound=NamedTuple)


class SettingsError(ValueError):
    """Settings that cannot be used: where, what was there, and what is accepted."""


class BindingSettings(NamedTuple):
    """The rule has no settings: pods have the CPUs that the scheduler wrote down for them, or, where it is null, they do not."""


class ReclaimedSettings(NamedTuple):
    """The rule has no settings: limits of reclaimed memory and CPU are enforced, or, where it is null, they are not."""


class Settings(NamedTuple):
    """One field for each rule, None where it is off; `reserved_cpu` is what is kept for the system, in milli-cores, where the node says less."""

    cpu_suppress: SuppressSettings | None = SuppressSettings()
    group_priority: PrioritySettings | None = PrioritySettings()
    memory_evict: MemoryEvictSettings | None = None
    cpu_evict: CpuEvictSettings | None = None
    cpu_burst: BurstSettings | None = None
    memory_qos: MemoryQosSettings | None = None
    disk: DiskSettings | None = None
    interference: InterferenceSettings | None = None
    cpu_binding: BindingSettings | None = BindingSettings()
    reclaimed_limits: ReclaimedSettings | None = ReclaimedSettings()
    slo_share: SloSettings | None = SloSettings()
    reserved_cpu: int = 0


_RULES: dict[str, type[Any]] = {
    "cpu_suppress": SuppressSettings,
    "group_priority": PrioritySettings,
    "memory_evict": MemoryEvictSettings,
    "cpu_evict": CpuEvictSettings,
    "cpu_burst": BurstSettings,
    "memory_qos": MemoryQosSettings,
    "disk": DiskSettings,
    "interference": InterferenceSettings,
    "cpu_binding": BindingSettings,
    "reclaimed_limits": ReclaimedSettings,
    "slo_share": SloSettings,
}
_CHOICES = {
    "cpu_suppress.policy": ("cpuset", "cfsQuota"),
    "group_priority.use": ("auto", "idle", "weight"),
    "cpu_burst.policy": ("none", "cpuBurstOnly", "cfsQuotaBurstOnly", "auto"),
    "cpu_evict.policy": ("evictByRealLimit", "evictByAllocatable"),
}

_MOST = 2.0**63 - 1
_BOUNDS = {
    "min_percent": (0.0, 100.0),
    "low_percent": (0.0, 100.0),
    "throttling_percent": (0.0, 100.0),
    "pressure_percent": (0.0, 100.0),
    "least_percent": (1.0, 100.0),
    "shrink": (0.0, 10.0),
    "grow": (0.0, 10.0),
    "above": (0.0, 10.0),
    "below": (0.0, 10.0),
    "most_shrink": (0.0, 1.0),
    "most_grow": (0.0, 1.0),
    "least": (0.0, 1.0),
    "most": (0.0, 1.0),
    "weight": (1.0, 10_000.0),
    "confidence": (0.0, 1.0),
    "suppress_to": (0.0, 1.0),
    "window": (3.0, 10_000.0),
    "sample_seconds": (0.1, 3600.0),
    "window_seconds": (1.0, 86_400.0),
    "period_seconds": (-1.0, 86_400.0),
}
"""Of numbers of the rules that have an end of their own."""
_AT_LEAST_1 = ("disk.", "memory_qos.", "slo_share.")


def settings(content: object) -> Settings:
    """Settings from a mapping such as `{"cpu_suppress": {"policy": "cfsQuota"}}`; a rule is off where it is null.

    Raises:
        SettingsError: a name or a value is not accepted.
    """
    found: dict[str, Any] = {}
    for name, value in _mapping(content, "the settings").items():
        if name == "reserved_cpu":
            found[name] = _value(value, int, name)
        elif name in _RULES:
            found[name] = None if value is None else _rule(_RULES[name], _mapping(value, name), name)
        else:
            raise SettingsError(f"{name!r} is not accepted; accepted: {', '.join((*_RULES, 'reserved_cpu'))}")
    return Settings(**found)


def _rule(kind: type[Any], fields: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 - each rule has its own settings
    hints = get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        if name not in hints:
            raise SettingsError(f"{where}.{name} is not accepted; accepted: {', '.join(hints)}")
        values[name] = _value(value, hints[name], f"{where}.{name}")
        choices = _CHOICES.get(f"{where}.{name}")
        if choices and value not in choices:
            raise SettingsError(f"{where}.{name}: {value!r} is not accepted; accepted: {', '.join(choices)}")
    return kind(**values)


def _value(value: object, kind: Any, where: str) -> Any:  # noqa: ANN401 - a type annotation and a value of it
    """A value of a field; one that has fields itself, from a mapping."""
    if isinstance(kind, type) and hasattr(kind, "_fields"):
        return _rule(kind, _mapping(value, where), where)
    found = _converted(value, kind, where)
    low, high = _BOUNDS.get(where.rpartition(".")[2], (1.0 if where.startswith(_AT_LEAST_1) else 0.0, _MOST))
    for number in (found,) if isinstance(found, int | float) else ():
        if not low <= number <= high:
            raise SettingsError(f"{where}: {value!r} is not accepted; accepted: {low:g} to {high:g}")
    return found


def _mapping(content: object, where: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where}: {content!r} is not accepted; accepted: a mapping")
    return content


def _converted(value: object, kind: Any, where: str) -> Any:  # noqa: ANN401 - a type annotation and a value of it
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {value!r} is not accepted: {error}") from error
