"""The command line as a table. A command's module is imported when the command runs, and not before."""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from cyclopts import App, CycloptsError, Parameter

from neaptide import __version__
from neaptide.cli.exits import INTERRUPTED, OK, PARTIAL, USAGE, UsageError


class Command(NamedTuple):
    """One command: its words, where its function is, a line of help, and examples as they are typed."""

    words: str
    function: str
    help: str
    examples: tuple[str, ...]


COMMANDS = (
    Command(
        "demo",
        "neaptide.cli.demo:demo",
        "Run a mixed day on real data in three set-ups; compare them in a table and in a report. Takes about a minute.",
        ("neaptide demo", "neaptide demo --short --directory /tmp/demo", "neaptide demo --seed 2 --picture demo.svg"),
    ),
    Command(
        "demo-virtual",
        "neaptide.cli.demo_virtual:demo_virtual",
        "Play on a testbed: a job larger than the cluster starts on a virtual node. Wants root and containerd.",
        ("neaptide demo-virtual",),
    ),
    Command(
        "plan",
        "neaptide.cli.plan:plan",
        "Show what the policies would do with a cluster, and what that saves. Changes nothing.",
        (
            "neaptide plan",
            "neaptide plan --context production --exit-code",
            "neaptide plan dump.json",
            "neaptide plan dump.json --set reclaim.cpuReclaimThresholdPercent=70",
            "kubectl get nodes,pods -A -o json | neaptide plan - --policy reclaim",
            "neaptide plan manifests/ --prices prices.yaml --output json",
        ),
    ),
    Command(
        "run",
        "neaptide.cli.run:run",
        "Run the controller: do, cycle after cycle, what the cluster's Policy objects say.",
        (
            "neaptide run --journal /var/lib/neaptide --listen :8080",
            "neaptide run --context production --dry-run",
            "neaptide run --policy reclaim --set reclaim.coldStartSeconds=0 --enforce",
        ),
    ),
    Command(
        "spot-rescheduler",
        "neaptide.cli.spot_rescheduler:spot_rescheduler",
        "Move pods from on-demand to spot nodes, with the command line and the decisions of the k8s-spot-rescheduler.",
        (
            "neaptide spot-rescheduler --spot-node-label=example.com/spot",
            "neaptide spot-rescheduler --node-drain-delay=10m --dry-run",
            "neaptide spot-rescheduler dump.json --output json",
        ),
    ),
    Command(
        "agent",
        "neaptide.cli.agent:agent",
        "Keep one node: best-effort pods use what services leave. Everything is as before when it ends.",
        (
            "neaptide agent --node node-1 --dry-run",
            "neaptide agent --node node-1 --rules rules.yaml",
            "neaptide agent --restore",
        ),
    ),
    Command(
        "virtual-node",
        "neaptide.cli.virtual_node:virtual_node",
        "Keep virtual nodes: nodes that are no machines, whose pods a provider runs and charges by the second.",
        (
            "neaptide virtual-node --name virtual --provider simulated",
            "neaptide virtual-node --name virtual --provider simulated --ledger ledger/",
            "neaptide virtual-node --name v --nodes 3 --provider simulated --label zone=b",
        ),
    ),
    Command(
        "apply",
        "neaptide.cli.apply:apply",
        "Plan, show, ask, and carry out: by the controller where one runs, else from here.",
        ("neaptide apply", "neaptide apply --policy reclaim --yes"),
    ),
    Command(
        "approve",
        "neaptide.cli.apply:approve",
        "Approve a Plan that the controller recommends, and follow it.",
        ("neaptide approve plan-20261122t050000z", "neaptide approve plan-20261122t050000z --yes"),
    ),
    Command(
        "advise grace",
        "neaptide.cli.advise:grace",
        "Propose how long nodes should wait for protected work, from how long the jobs of a cluster really take.",
        (
            "neaptide advise grace jobs.json",
            "kubectl get nodes,jobs -A -o json | neaptide advise grace - --price 1.2",
        ),
    ),
    Command(
        "advise pools",
        "neaptide.cli.advise_pools:pools",
        "Propose separate node pools for short and long jobs, with what they save and the objects for them.",
        (
            "neaptide advise pools jobs.json",
            "kubectl get nodes,jobs,pods -A -o json | neaptide advise pools - --price 1.2",
            "neaptide advise pools jobs.json --manifests-to pools.yaml",
        ),
    ),
    Command(
        "explain pod",
        "neaptide.cli.explain_pod:explain_pod",
        "Say why a pod is where it is, where else it could be and why not elsewhere.",
        (
            "neaptide explain pod default/web-0",
            "neaptide explain pod web-0 --dump dump.json --node node-7",
            "neaptide explain pod web-0 --journal journal/",
        ),
    ),
    Command(
        "explain node",
        "neaptide.cli.explain_node:explain_node",
        "Say what a node holds, what of it is requested, used and reclaimed, and what the policies make of it.",
        (
            "neaptide explain node node-1",
            "neaptide explain node node-1 --dump dump.json --output json",
        ),
    ),
    Command(
        "explain workload",
        "neaptide.cli.explain_workload:explain_workload",
        "Say where a workload's pods are and could be, when it may run, and what the policies make of it.",
        (
            "neaptide explain workload deployment/web",
            "neaptide explain workload job/default/report --dump dump.json",
        ),
    ),
    Command(
        "top",
        "neaptide.cli.top:top",
        "Show a cluster live in the terminal: nodes, use, money, and what is being done.",
        ("neaptide top", "neaptide top --every 5 --context production", "neaptide top --once --output json"),
    ),
    Command(
        "doctor",
        "neaptide.cli.doctor:doctor",
        "Examine a cluster: what is installed, which rights are missing, who else acts there, what is unsafe, and the fix.",
        ("neaptide doctor", "neaptide doctor --context production --output json"),
    ),
    Command(
        "snapshot save",
        "neaptide.cli.snapshot:save",
        "Write what policies read of a cluster to a file.",
        ("neaptide snapshot save cluster.json", "neaptide snapshot save - --context production >cluster.json"),
    ),
    Command(
        "snapshot load",
        "neaptide.cli.snapshot_load:load",
        "Put a dump into a cluster whose nodes are played, to try things on it.",
        (
            "neaptide snapshot load cluster.json",
            "neaptide snapshot load shared.json --context neaptide-testbed",
        ),
    ),
    Command(
        "snapshot anonymise",
        "neaptide.cli.snapshot:anonymise",
        "Write a dump with every name hashed and its structure kept, so that it can be shared.",
        (
            "neaptide snapshot anonymise cluster.json shared.json",
            "neaptide snapshot anonymise cluster.json - --salt secret",
        ),
    ),
    Command(
        "simulate",
        "neaptide.cli.simulate:simulate",
        "Run a scenario: a cluster, its services and jobs, and the policies, on a clock of their own.",
        (
            "neaptide simulate scenario.yaml",
            "neaptide simulate scenario.yaml --report report.html",
            "neaptide simulate scenario.yaml --journal journal/ --output json",
        ),
    ),
    Command(
        "bill",
        "neaptide.cli.bill:bill",
        "Print what virtual nodes cost, from their ledger: by namespace, workload or day, and as FOCUS.",
        (
            "neaptide bill --ledger /var/lib/neaptide/ledger",
            "neaptide bill --ledger ledger/ --by workload --since 2026-11-01",
            "neaptide bill --ledger ledger/ --focus november.csv",
        ),
    ),
    Command(
        "prices check",
        "neaptide.cli.prices:check",
        "Read a price catalogue, print the prices that can be used and say what is wrong with the others.",
        ("neaptide prices check prices.csv", "neaptide prices check prices.yaml --output json"),
    ),
    Command(
        "replay openb",
        "neaptide.cli.replay:openb",
        "Replay the published GPU packing experiment, on its data or on other workloads of the same form.",
        (
            "neaptide replay openb",
            "neaptide replay openb --policy FGD --policy BestFit --seeds 1-10",
            "neaptide replay openb --trace DIR --workload FILE.csv --output json",
        ),
    ),
    Command(
        "testbed up",
        "neaptide.cli.testbed:up",
        "Bring a Kubernetes control plane up on this machine, with nodes of the types, zones and prices wanted.",
        (
            "neaptide testbed up --nodes 1000",
            "neaptide testbed up --name second --node-types m7i.large r7i.large",
        ),
    ),
    Command(
        "testbed status",
        "neaptide.cli.testbed:status",
        "Show how its components are.",
        ("neaptide testbed status", "neaptide testbed status --name second --output json"),
    ),
    Command(
        "testbed kubectl",
        "neaptide.cli.testbed:kubectl",
        "Run kubectl on it.",
        ("neaptide testbed kubectl -- get nodes -o wide", "neaptide testbed kubectl --name second -- get pods"),
    ),
    Command(
        "testbed logs",
        "neaptide.cli.testbed:logs",
        "Print what one of its components has logged.",
        ("neaptide testbed logs kube-scheduler --follow", "neaptide testbed logs audit --lines 5"),
    ),
    Command(
        "testbed down",
        "neaptide.cli.testbed:down",
        "End its processes; its data stays for the next time.",
        ("neaptide testbed down", "neaptide testbed down --name second --purge"),
    ),
    Command(
        "testbed build",
        "neaptide.cli.testbed:build",
        "Build its programs, once, and print where they are.",
        ("neaptide testbed build", "neaptide testbed build --with helm"),
    ),
    Command(
        "testbed proxy",
        "neaptide.cli.testbed_proxy:proxy",
        "Stand before its API server and make faults, until interrupted.",
        (
            "neaptide testbed proxy --delay 200ms --throttle 64Ki",
            "neaptide testbed proxy --path watch= --cut-events 1",
            "neaptide testbed proxy --methods POST --answer 429 --chance 0.3",
            "neaptide testbed proxy --cut-after 10Ki --reset",
        ),
    ),
    Command(
        "testbed colocation",
        "neaptide.cli.testbed_colocation:colocation",
        "Show what offline jobs do to a service on one real node, with and without the agent.",
        (
            "sudo neaptide testbed colocation",
            "sudo neaptide testbed colocation --rounds 5 --seconds 30",
        ),
    ),
)
_GROUPS = {
    "advise": "Propose settings from what a cluster shows.",
    "explain": "Say why: why here, why not there, what was decided and what became of it.",
    "prices": "What nodes cost.",
    "snapshot": "A cluster as a file.",
    "replay": "Published experiments, again.",
    "testbed": "A real Kubernetes control plane on this machine, to try things on.",
}

_STANDARD_INPUT = "/dev/stdin"


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Whatever is wrong with the input ends as one sentence on standard error."""
    tokens = [_STANDARD_INPUT if each == "-" else each for each in arguments]
    try:
        code = _app()(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except (UsageError, CycloptsError) as error:
        print(f"neaptide: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of our output (`head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PARTIAL
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def _app() -> App:
    app = App(
        name="neaptide",
        version=f"neaptide {__version__}",
        help="Runs online services and offline jobs on the same Kubernetes nodes, safely, on as little capacity as possible.",
        help_epilogue="\nEvery command has --help with examples.",
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=lambda value: value or None),
        result_action="return_value",
    )
    groups = {name: App(name=name, help=text) for name, text in _GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for command in COMMANDS:
        above, _, name = command.words.rpartition(" ")
        examples = "\n".join(("Examples:", *(f"  {each}" for each in command.examples), ""))
        parent = groups[above] if above else app
        parent.command(command.function, name=name, help=command.help, help_epilogue=examples)
    return app
