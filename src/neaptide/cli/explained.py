"""What every `explain` has in common: what is looked at, what was decided about it, and how that is shown."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from math import isnan
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from cyclopts import Parameter

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.cli.live_plan import LivePlan, dump_plan, live_plan, refuse_flags_of_dumps
from neaptide.cli.output import Output, emit
from neaptide.kube.decisions import Decision, Past, about, decisions, of_cycle
from neaptide.model.actions import Ref
from neaptide.model.problems import LeftOut

_SHOWN = 5
_COLUMNS = ("policy", "action", "target", "reason", "outcome")


@dataclass(frozen=True)
class Sources:
    """Flags of every `explain`: what is looked at."""

    dump: str | None = None
    """the cluster as a file or a directory of objects as JSON or YAML, or - for standard input; by default the cluster itself."""
    journal: Path | None = None
    """the directory of a loop's journal, for what was decided in the past. Alone it is all that is read; name the cluster or a dump besides to have both."""
    controller: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """the URL of a controller's journal, as https://localhost:9444 through `kubectl port-forward`, for what was decided in the past; may be repeated."""
    controller_ca: Path | None = None
    """what to know it by: `ca.crt` of the ConfigMap neaptide-journal-ca."""
    controller_token: Path | None = None
    """a file with the token to show it; by default the kubeconfig's."""
    policy: tuple[str, ...] = ()
    """ask this policy only; may be repeated. By default those that the cluster's Policies name, else all."""
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """policy.field=value sets a field of a policy; may be repeated."""
    prices: str | None = None
    """a price catalogue (YAML or CSV); by default the cluster's PriceCatalogues, else the public list prices."""
    usage: tuple[str, ...] = ()
    """a further file with PodMetrics and NodeMetrics; may be repeated."""
    now: str | None = None
    """the time to look at, as 2026-11-21T08:00:00Z; by default the newest time in the dump."""
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT

    def look(self) -> LivePlan | None:
        """The cluster or its dump, and what the policies want of it; None where only the past is asked for. Raises UsageError."""
        if self.dump is not None:
            return dump_plan(self.dump, self.policy, self.set_, self.prices, usage=self.usage, now=self.now)
        refuse_flags_of_dumps({"--usage": self.usage, "--now": self.now})
        if self.journal is not None and self.connection == DEFAULT:
            return None
        return live_plan(self.connection, self.policy, self.set_, self.prices)

    @property
    def where(self) -> str:
        """Where objects are looked for, for an error about one that is not there."""
        return self.dump or "the cluster"

    def past(self, wanted: Collection[Ref]) -> Past:
        """What journals say of some objects. Raises UsageError."""
        found = []
        if self.journal is not None:
            here = decisions(self.journal, about(wanted))
            if here is None:
                raise UsageError(
                    f"{self.journal}: no journal is there; accepted: a directory with journal.*.jsonl files"
                )
            found.append(here)
        if self.controller:
            from neaptide.cli.remote_journal import ask

            found += ask(self.controller, wanted, self.connection, self.controller_ca, self.controller_token)
        lines = sorted((each for past in found for each in past.decisions), key=lambda each: each.time)
        return Past(lines, [each for past in found for each in past.left_out])


LIVE = Sources()


class Explained(NamedTuple):
    """What was found out.

    Attributes:
        what: the key under which `facts` stand in JSON: `pod`, `node`, `workload`.
        facts: None where only the past was asked for.
        decisions: the past ones, then those of now.
        left_out: what could not be read.
        notes: sentences on what could not be seen.
    """

    what: str
    facts: Any
    decisions: list[Decision]
    left_out: list[LeftOut]
    notes: list[str]


def explained(
    sources: Sources, what: str, looked: LivePlan | None, facts: object, wanted: Collection[Ref]
) -> Explained:
    """The facts of an object with every decision about it: those of the past, and what is wanted now. Raises UsageError."""
    past = sources.past(wanted)
    if looked is None:
        return Explained(what, facts, past.decisions, past.left_out, [])
    present = list(of_cycle(looked.cycle, about(wanted)))
    left_out = past.left_out + looked.cluster.left_out
    return Explained(what, facts, past.decisions + present, left_out, looked.notes)


def conclude(found: Explained, output: Output) -> int:
    """Print decisions, or for programs everything; say on standard error what was not seen or read. The exit code."""
    if output == "table":
        _print_decisions(found.decisions)
    else:
        emit({found.what: found.facts, "decisions": found.decisions, "left_out": found.left_out}, output)
    for sentence in found.notes:
        print(f"neaptide: {sentence}", file=sys.stderr)
    if found.left_out:
        print(f"neaptide: {len(found.left_out)} left out, the first: {found.left_out[0]}", file=sys.stderr)
    return PARTIAL if found.left_out else OK


def find_node(sources: Sources, looked: LivePlan, name: str) -> int:
    """The row of a node. Raises UsageError."""
    nodes = looked.cluster.snapshot.nodes.by_name
    if name not in nodes:
        raise missing(sources, looked, f"node {name!r}", nodes, name)
    return nodes[name]


def missing(sources: Sources, looked: LivePlan, what: str, names: Collection[str], wanted: str) -> UsageError:
    """The error for an object that is not there, or cannot be seen."""
    unseen = "".join(f"; {note}" for note in looked.notes)
    return UsageError(f"{sources.where}: no {what} is there; accepted: {known(names, wanted)}{unseen}")


def known(names: Collection[str], wanted: str) -> str:
    """What names there are, for an error about one that is not there: the closest ones first."""
    if not names:
        return "nothing, for there is none"
    close = get_close_matches(wanted, names, _SHOWN) or sorted(names)[:_SHOWN]
    more = len(names) - len(close)
    return "one of " + ", ".join(close) + (f" and {more} more" if more else "")


def measured(usage: float) -> float | None:
    """A measured amount; None where nothing was measured (nan)."""
    return None if isnan(usage) else float(usage)


def _print_decisions(found: Sequence[Decision]) -> None:
    """The decisions about an object as a table, those that came again and again on one line; one sentence where there are none."""
    if found:
        runs = [list(run) for _, run in groupby(found, key=lambda each: msgspec.structs.replace(each, time=""))]
        rows = [
            {"time": run[0].time, "times": len(run)} | {name: getattr(run[0], name) for name in _COLUMNS}
            for run in runs
        ]
        emit(rows, "table", title=f"decisions ({len(found)})")
    else:
        print("No policy has anything to say about it.")
