"""Decisions on a page: hour by hour what was decided and why, then each of them, to be searched."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from neaptide.model.columns import Floats
from neaptide.simulator.report.decisions import Decision, thin
from neaptide.simulator.report.figure import scrolled
from neaptide.simulator.report.markup import Markup, element
from neaptide.simulator.report.scale import amount, clock
from neaptide.simulator.report.sections import SetUp, colour


def by_hour(set_up: SetUp, edges: Floats) -> Markup:
    """What was decided between every two edges, alike decisions counted together, each kind with one of its reasons."""
    hours: defaultdict[int, list[Decision]] = defaultdict(list)
    for each in set_up.decisions:
        hours[min(int((each.time - edges[0]) // (edges[1] - edges[0])), len(edges) - 2)].append(each)
    shown = [
        _hour(hours[slot], f"{clock(float(edges[slot]))} to {clock(float(edges[slot + 1]), end=float(edges[-1]))}")
        for slot in sorted(hours)
    ]
    return element("div", *shown, class_="hours")


def _hour(decisions: Sequence[Decision], when: str) -> Markup:
    alike: defaultdict[tuple[str, str, str, str], list[Decision]] = defaultdict(list)
    for each in decisions:
        alike[each.by, each.what, each.result, each.code].append(each)
    who = Counter(each.by for each in decisions)
    counts = ", ".join(f"{by}\N{NO-BREAK SPACE}{count}" for by, count in sorted(who.items()))
    rows = [
        element(
            "li",
            element("b", f"{len(group)} \N{MULTIPLICATION SIGN} {by}: {what}"),
            f" {result.lower()} ({code}): ",
            element("span", group[0].reason),
        )
        for (by, what, result, code), group in sorted(alike.items())
    ]
    summary = element("summary", element("span", when, class_="when"), counts)
    return element("details", summary, element("ul", *rows))


def searchable(set_ups: Sequence[SetUp], *, most: int) -> Markup:
    """Decisions one by one with fields to filter them by; at most about `most` for each set-up."""
    shown = [(place, each) for place, set_up in enumerate(set_ups) for each in thin(set_up.decisions, most)]
    shown.sort(key=lambda pair: pair[1].time)
    total = sum(len(each.decisions) for each in set_ups)
    said = f"{amount(len(shown))} of {amount(total)} decisions are listed" + (
        ": rare kinds all, of common kinds a part, spread over the time." if len(shown) < total else "."
    )
    form = element(
        "form",
        element("label", "Search", element("input", type="search", name="text", placeholder="a node, a job, a reason")),
        _choice("Set-up", "setup", [each.name for each in set_ups]),
        _choice("Decided by", "by", sorted({each.by for _, each in shown})),
        _choice("Result", "result", sorted({each.result for _, each in shown})),
        element("output", aria_live="polite"),
        id="filter",
        role="search",
        hidden="hidden",
    )
    rows = [_row(set_ups[place].name, colour(place, len(set_ups)), each) for place, each in shown]
    listed = scrolled(element("ol", *rows, id="decisions"), "Decisions")
    return element("div", element("p", said), form, listed)


def _row(set_up: str, css: str, each: Decision) -> Markup:
    return element(
        "li",
        element("span", clock(each.time), class_="when"),
        element("span", element("b", each.by), element("small", set_up, class_=f"key {css}")),
        element("span", each.what, element("small", each.result)),
        element("div", element("code", each.target), element("p", each.reason)),
        data_setup=set_up,
        data_by=each.by,
        data_result=each.result,
    )


def _choice(label: str, name: str, values: Sequence[str]) -> Markup:
    options = [element("option", "all", value=""), *(element("option", each, value=each) for each in values)]
    return element("label", label, element("select", *options, name=name))
