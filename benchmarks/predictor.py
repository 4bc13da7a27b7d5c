"""What a peak predictor reclaims of real series, and how often use goes beyond what it said, beside published rules and an oracle.

Machines hold eight pods each, made of real series (predictor_series); pods request exactly their own maximum, so that what is reclaimed comes from
peaks that do not coincide and from valleys alone, and the first six hours are not counted. The figure's peer is Koordinator's predictor, which the
policy `reclaim` has. A violation is use above the prediction: at the next sample, or at any within the next hour.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figure import Figure, Peer
from benchmarks.predictor_rules import RULES, Rule, ahead
from benchmarks.predictor_series import Machines, of_cpu_usage, of_genai

_COLD = 6 * 3600.0
_HOUR = 3600.0


def measure() -> Iterator[Figure]:
    """Percent of what is requested that is reclaimed, and percent of samples with a violation; nothing without NEAPTIDE_TRACES."""
    traces = os.environ.get("NEAPTIDE_TRACES")
    loaders: dict[str, Callable[[Path], Machines]] = {"cpu_usage": of_cpu_usage, "genai": of_genai}
    for name, load in loaders.items() if traces else ():
        machines = load(Path(traces or "", name))
        found = {name: _scores(machines, rule) for name, rule in RULES.items()}
        for rule, scores in found.items():
            for what, value in scores.items():
                peer = Peer("koordinator", found["koordinator"][what])
                yield Figure(f"predictor.{machines.name}.{rule}.{what}", value, "%", peer)


def _scores(machines: Machines, rule: Rule) -> dict[str, float]:
    predicted = rule(machines)
    whole, request = machines.used.sum(axis=1), machines.request.sum(axis=1)[:, None]
    hour = max(round(_HOUR / machines.step), 1)
    counted = slice(round(_COLD / machines.step), -hour)
    beyond = {"next": ahead(whole, 1) > predicted, "hour": ahead(whole, hour) > predicted}
    return {
        "reclaimed": 100 * float((1 - predicted / request)[:, counted].mean()),
        "violations_next": 100 * float(beyond["next"][:, counted].mean()),
        "violations_hour": 100 * float(beyond["hour"][:, counted].mean()),
        "violations_hour_worst_machine": 100 * float(beyond["hour"][:, counted].mean(axis=1).max()),
    }


GROUPS = {"predictor": measure}
