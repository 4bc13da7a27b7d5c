"""What the report shows of the set-ups: the figures side by side, then the day in charts."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Floats
from neaptide.model.qos import Band
from neaptide.simulator.report.charts import Chart, Series
from neaptide.simulator.report.decisions import Decision
from neaptide.simulator.report.figure import Draw
from neaptide.simulator.report.markup import Markup, element
from neaptide.simulator.report.scale import DAY, amount, dollars, duration, percent
from neaptide.simulator.report.slots import mean_in, sum_in, waiting_at
from neaptide.simulator.run import Result

CORE_HOUR = 3600.0
COLOURS = ("first", "second", "third", "fourth", "fifth", "sixth")
"""CSS classes of set-ups, from the last set-up backwards: the last one is what it is about."""


class SetUp(Struct, frozen=True, kw_only=True):
    """One way to run the work, and what came of it. `name` is short; `note` is a sentence."""

    name: str
    note: str
    result: Result
    decisions: list[Decision]


def colour(place: int, count: int) -> str:
    """The CSS class of the set-up at a place of `count`."""
    return COLOURS[(count - 1 - place) % len(COLOURS)]


# -- the table of figures ----------------------------------------------------------------------------------------------


def dollars_per_day(result: Result) -> float | None:
    """What the nodes cost in 24 hours; None where a price is unknown."""
    money = result.summary.money
    return None if money is None else money * DAY / (result.end - result.start)


def core_hours(result: Result) -> float:
    """Offline work that counts: what evictions lost is not in it."""
    return (result.summary.offline_cpu_seconds - result.summary.lost_cpu_seconds) / CORE_HOUR


def evicted_services(result: Result) -> int:
    """Evictions of pods that were no job's."""
    return sum(each.workload.kind != "Job" for each in result.evictions)


ROWS: tuple[tuple[str, str, Callable[[Result], str]], ...] = (
    ("Money", "US dollars a day, list prices", lambda run: dollars(dollars_per_day(run))),
    (
        "Nodes",
        "mean, and the most at once",
        lambda run: f"{amount(run.summary.nodes_mean)} · {amount(run.summary.nodes_most)}",
    ),
    ("CPU used", "of the nodes' capacity", lambda run: percent(run.summary.cpu_use_mean)),
    ("Offline work done", "core-hours", lambda run: amount(core_hours(run))),
    (
        "Jobs finished",
        "of those that arrived",
        lambda run: f"{run.summary.jobs_finished} of {run.summary.jobs_arrived}",
    ),
    ("Longest wait", "of an offline pod, to its start", lambda run: duration(run.summary.longest_wait)),
    ("Mean wait", "of offline pods", lambda run: duration(run.summary.mean_wait)),
    ("Contention", "minutes a service's pod lacked CPU", lambda run: amount(run.summary.contention_minutes)),
    ("Evictions", "pods stopped early; of services", lambda run: f"{run.summary.evictions} · {evicted_services(run)}"),
)


def comparison(set_ups: list[SetUp]) -> Markup:
    """The figures of all set-ups side by side."""
    heads = [
        element("th", element("span", each.name, class_=f"key {colour(place, len(set_ups))}"), scope="col")
        for place, each in enumerate(set_ups)
    ]
    rows = [
        element(
            "tr",
            element("th", label, element("small", note), scope="row"),
            *(element("td", written(each.result)) for each in set_ups),
        )
        for label, note, written in ROWS
    ]
    caption = element("caption", "The same work in each set-up")
    head = element("thead", element("tr", element("td"), *heads))
    return element("table", caption, head, element("tbody", *rows), class_="comparison")


# -- charts ------------------------------------------------------------------------------------------------------------


def nodes(set_ups: list[SetUp]) -> Draw:
    """How many nodes there were."""
    return _lines(
        set_ups,
        "Nodes",
        "Machines that were there, those of all clusters of a set-up together.",
        lambda each, edges: mean_in(each.result.timeline, each.result.timeline.nodes.sum(axis=1), edges),
    )


def money(set_ups: list[SetUp]) -> Draw:
    """What they cost."""
    return _lines(
        set_ups,
        "Money per hour",
        "US dollars an hour for the machines that were there or on their way.",
        lambda each, edges: mean_in(each.result.timeline, each.result.timeline.money_per_hour, edges),
        form=dollars,
    )


def work(set_ups: list[SetUp]) -> Draw:
    """Offline work that was done so far."""

    def done(each: SetUp, edges: Floats) -> Floats:
        seconds = each.result.timeline.offline_cpu_seconds - each.result.timeline.lost_cpu_seconds
        total: Floats = np.cumsum(sum_in(each.result.timeline, seconds, edges)) / CORE_HOUR
        return total

    return _lines(set_ups, "Offline work done", "Core-hours since the start, less what evictions lost.", done)


def waiting(set_ups: list[SetUp]) -> Draw:
    """Offline work that waits."""

    def held(each: SetUp, edges: Floats) -> Floats:
        return waiting_at([wait for wait in each.result.waits if wait.offline], (edges[1:] + edges[:-1]) / 2)

    return _lines(set_ups, "Offline work waiting", "Pods of jobs that were wanted and had not started.", held)


def contention(set_ups: list[SetUp]) -> Draw:
    """When services lacked CPU."""
    return _lines(
        set_ups,
        "Contention of services",
        "Minutes in which a service's pod got less CPU than it wanted, summed over pods.",
        lambda each, edges: sum_in(each.result.timeline, each.result.timeline.contention_minutes, edges),
        bars=True,
    )


def evictions(set_ups: list[SetUp]) -> Draw:
    """When pods were stopped before their time."""
    return _lines(
        set_ups,
        "Evictions",
        "Pods stopped before their time, by policies, nodes and the cloud.",
        lambda each, edges: sum_in(each.result.timeline, each.result.timeline.evictions, edges),
        bars=True,
    )


def utilisation(set_up: SetUp, *, top: float) -> Draw:
    """CPU of one set-up by band: used as areas, requested as lines above each other; `top` in cores."""
    timeline = set_up.result.timeline
    bands = [band for band in sorted(Band, reverse=True) if timeline.cpu_requested[:, band].any()]

    def draw(edges: Floats) -> Chart:
        used = [mean_in(timeline, timeline.cpu_used[:, band], edges) / 1000 for band in bands]
        asked = np.cumsum([mean_in(timeline, timeline.cpu_requested[:, band], edges) / 1000 for band in bands], axis=0)
        capacity = mean_in(timeline, timeline.cpu_capacity, edges) / 1000
        names = [band.name.lower() for band in bands]
        sums = [" + ".join(names[: place + 1]) for place in range(len(bands))]
        return Chart(
            title=f"CPU: {set_up.name}",
            summary=f"Cores; {percent(set_up.result.summary.cpu_use_mean)} of the capacity was used, mean over time.",
            edges=edges,
            areas=tuple(Series(f"{name} used", each, name) for name, each in zip(names, used, strict=True)),
            lines=(
                *(
                    Series(f"{name} requested", each, f"{band} asked")
                    for name, band, each in zip(sums, names, asked, strict=True)
                ),
                Series("capacity", capacity, "capacity"),
            ),
            top=top,
        )

    return draw


def most_cores(set_ups: list[SetUp]) -> float:
    """The top that charts of utilisation share."""
    return max(
        float(max(each.result.timeline.cpu_capacity.max(), each.result.timeline.cpu_requested.sum(axis=1).max())) / 1000
        for each in set_ups
    )


def _lines(
    set_ups: list[SetUp],
    title: str,
    summary: str,
    measure: Callable[[SetUp, Floats], Floats],
    *,
    form: Callable[[float | None], str] = amount,
    bars: bool = False,
) -> Draw:
    """A chart with one line, or one bar a slot, for each set-up."""

    def draw(edges: Floats) -> Chart:
        series = tuple(
            Series(each.name, measure(each, edges), colour(place, len(set_ups))) for place, each in enumerate(set_ups)
        )
        if bars:
            return Chart(title=title, summary=summary, edges=edges, bars=series, format=form)
        return Chart(title=title, summary=summary, edges=edges, lines=series, format=form)

    return draw
